"""The dashboard: the sandbox's state and its controls. It shows no secret, and in full only its own numbers."""

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import attrs
from attrs import frozen
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from paystar_async.sandbox.authentication import REFRESHABLE_REALMS
from paystar_async.sandbox.faults import FaultKind
from paystar_async.sandbox.ledger import AnyTransfer, LedgerEntry, TransferLedger
from paystar_async.sandbox.pages.language import Language, request_language
from paystar_async.sandbox.pages.render import render_page
from paystar_async.sandbox.pages.request_search import RESULTS, WITH_FAULT, find_requests, pretty_json, result_tone
from paystar_async.sandbox.pages.texts import FAULTS
from paystar_async.sandbox.settings import Settings
from paystar_async.sandbox.state import AdjustableClock, SandboxState
from paystar_async.sandbox.test_data import Person
from paystar_async.table import TABLE
from paystar_async.values.banks import bank_by_card
from paystar_async.values.masking import mask_account, mask_iban

MAX_ROWS = 50
"""Rows of a table."""
CLOCK_STEPS_SECONDS = (60, 600, 3_600, 86_400)
"""Steps of the buttons that put the clock forward."""
CALLS = tuple(endpoint.id for endpoint in TABLE if endpoint.kind == "call")


@frozen(kw_only=True)
class TransferRow:
    """A transfer as a row of the dashboard."""

    executed_at: float
    track_id: str
    source: str
    target: str
    amount: int
    status: str
    executions: int


def dashboard_page(state: SandboxState, request: HttpRequest) -> HttpResponse:
    """Return the dashboard with the current state."""
    language = request_language(request)
    text, result = request.query_params.get("q", ""), request.query_params.get("result", "")
    state.run_due()
    bank = state.bank
    return render_page(
        "dashboard.html",
        language,
        allow_scripts=True,
        timestamp=language.format_timestamp,
        toman=language.format_toman,
        duration=language.format_duration,
        now=state.clock.time(),
        steps=CLOCK_STEPS_SECONDS if isinstance(state.clock, AdjustableClock) else (),
        request_count=sum(state.request_counts.values()),
        executed_count=sum(line.count for line in state.ledger.values()),
        repeated_count=sum(line.count > 1 for line in state.ledger.values()),
        orders=[
            {
                "payment": payment,
                "shop": urlsplit(payment.request.callback).netloc,
                "status": str(bank.payments.status(payment)),
            }
            for payment in islice(bank.payments.newest(), MAX_ROWS)
        ],
        order_count=sum(1 for _ in bank.payments.newest()),
        verified_count=sum(payment.verified for payment in bank.payments.newest()),
        transfers=list(islice(transfer_rows(state), MAX_ROWS)),
        requests=list(find_requests(state.request_log.newest(), text, result)),
        logged_count=sum(1 for _ in state.request_log.newest()),
        search={"q": text, "result": result},
        results=(*RESULTS, WITH_FAULT),
        pretty_json=pretty_json,
        people=[(person, bank_of(person, language)) for person in state.people],
        application=state.application.id,
        wallet=state.wallet.hashid,
        signed=state.settings.gateway_signed,
        deposits=bank.deposits.balances(),
        # Not bank.wallet.balance(): the first call opens the wallet, and the opening balance may still be set.
        wallet_balance=bank.wallet.balances().get(state.wallet.hashid, state.settings.wallet_opening),
        keys=[(str(realm), bank.keys.seconds_left(realm), bank.keys.refreshes[realm]) for realm in REFRESHABLE_REALMS],
        key_lifetime=bank.keys.lifetime,
        calls=CALLS,
        kinds=[(str(kind), FAULTS[kind] if language is Language.FA else kind.doc) for kind in FaultKind],
        faults=list(state.faults.active),
        global_kinds={str(fault.kind) for fault in state.faults.active if fault.endpoint is None},
        settings=list(setting_controls(state.settings, language)),
        result_tone=result_tone,
    )


def bank_of(person: Person, language: Language) -> str:
    """Return the name of the bank of a person's card."""
    bank = bank_by_card(person.card)
    return "" if bank is None else bank.name_fa if language is Language.FA else bank.name


def transfer_rows(state: SandboxState) -> Iterable[TransferRow]:
    """Return the transfers of the deposit accounts and of the wallet, newest first."""
    bank = state.bank
    deposits = (
        _transfer_row(entry, mask_account(entry.account), entry.transfer.destination_account, bank.deposits)
        for entry in islice(bank.deposits.newest(), MAX_ROWS)
    )
    wallet = (
        _transfer_row(entry, entry.account, entry.transfer.destination_number, bank.wallet)
        for entry in islice(bank.wallet.newest(), MAX_ROWS)
    )
    return merge(deposits, wallet, key=lambda row: row.executed_at, reverse=True)


def _transfer_row(
    entry: LedgerEntry[AnyTransfer], source: str, target: str, ledger: TransferLedger[AnyTransfer]
) -> TransferRow:
    return TransferRow(
        executed_at=entry.executed_at,
        track_id=entry.transfer.track_id,
        source=source,
        target=mask_iban(target) if target.upper().startswith("IR") else mask_account(target),
        amount=entry.transfer.amount,
        status=entry.status,
        executions=ledger.execution_count(entry.transfer.track_id),
    )


@frozen(kw_only=True)
class SettingControl:
    """A setting in the dashboard's form; ``control`` is a checkbox, a select, a text or a number."""

    name: str
    description: str
    value: object
    control: str
    choices: tuple[object, ...]


def setting_controls(settings: Settings, language: Language) -> Iterator[SettingControl]:
    """Yield each setting as a control of the form."""
    for attribute in attrs.fields(Settings):
        value: Any = getattr(settings, attribute.name)
        choices = attribute.metadata["choices"]
        yield SettingControl(
            name=attribute.name,
            description=attribute.metadata["en" if language is Language.EN else "fa"],
            value=f"{value:g}" if isinstance(value, float) else value,
            control="select" if choices else _CONTROLS.get(attribute.type or str, "number"),
            choices=choices,
        )


_CONTROLS: Mapping[type[Any], str] = {bool: "checkbox", str: "text"}
