"""The dashboard: what goes on in the sandbox, and the switches. It shows no secret and no number of a person."""

import json
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import attrs
from attrs import frozen
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse

from paystar_async.sandbox.authentication import RENEWABLE
from paystar_async.sandbox.faults import FaultKind
from paystar_async.sandbox.ledger import Asked, Entry, TransferLedger
from paystar_async.sandbox.pages.language import Language, accepted_language, language_of
from paystar_async.sandbox.pages.render import page
from paystar_async.sandbox.pages.texts import FAULTS
from paystar_async.sandbox.request_log import LoggedRequest
from paystar_async.sandbox.settings import Settings
from paystar_async.sandbox.state import Advancing, SandboxState
from paystar_async.table import TABLE
from paystar_async.values.mask import mask_account, mask_iban

SHOWN = 50
"""Rows of a table at the most."""
STEPS = (60, 600, 3_600, 86_400)
"""Seconds the clock's buttons put it forward by."""
CALLS = tuple(row.id for row in TABLE if row.kind == "call")


@frozen(kw_only=True)
class Moved:
    """A transfer as the dashboard shows it."""

    at: float
    track_id: str
    source: str
    target: str
    amount: int
    status: str
    times: int


def dashboard(world: SandboxState, request: HttpRequest) -> HttpResponse:
    """The dashboard, as of now."""
    accepted = accepted_language(request.headers.get("accept-language", ""))
    language = language_of(request.query_params.get("lang"), accepted)
    world.catch_up()
    bank = world.bank
    moved = list(islice(transfers(world), SHOWN))
    return page(
        "dashboard.html",
        language,
        runs=True,
        at=language.day_and_time,
        toman=language.toman,
        now=world.clock.time(),
        steps=STEPS if isinstance(world.clock, Advancing) else (),
        seen=sum(world.requests.values()),
        executed=sum(line.count for line in world.ledger.values()),
        twice=sum(line.count > 1 for line in world.ledger.values()),
        orders=[
            {"payment": one, "shop": urlsplit(one.asked.callback).netloc, "status": str(bank.payments.status(one))}
            for one in islice(bank.payments.newest(), SHOWN)
        ],
        verified=sum(one.verified for one in bank.payments.newest()),
        created=sum(1 for _ in bank.payments.newest()),
        transfers=moved,
        exchanges=list(world.journal.newest()),
        pretty=pretty,
        application=world.application.id,
        wallet=world.wallet.hashid,
        signed=world.settings.gateway_signed,
        deposits=bank.deposits.accounts(),
        # A look at the balance would open the wallet, and its opening may still be set.
        wallet_balance=bank.wallet.accounts().get(world.wallet.hashid, world.settings.wallet_opening),
        keys=[(str(realm), bank.keys.left(realm), bank.keys.refreshes[realm]) for realm in RENEWABLE],
        key_life=bank.keys.life,
        calls=CALLS,
        kinds=[(str(kind), FAULTS[kind] if language is Language.FA else kind.doc) for kind in FaultKind],
        faults=list(world.faults.ordered),
        everywhere={str(one.kind) for one in world.faults.ordered if one.endpoint is None},
        settings=list(behaviour(world.settings, language)),
        tone=tone,
        span=language.span,
    )


def transfers(world: SandboxState) -> Iterable[Moved]:
    """The transfers of the deposit accounts and of the wallet, newest first."""
    bank = world.bank
    deposits = (
        _moved(entry, mask_account(entry.account), entry.asked.destination_account, bank.deposits)
        for entry in islice(bank.deposits.newest(), SHOWN)
    )
    wallet = (
        _moved(entry, entry.account, entry.asked.destination_number, bank.wallet)
        for entry in islice(bank.wallet.newest(), SHOWN)
    )
    return merge(deposits, wallet, key=lambda one: one.at, reverse=True)


def _moved(entry: Entry[Asked], source: str, target: str, book: TransferLedger[Asked]) -> Moved:
    return Moved(
        at=entry.at,
        track_id=entry.asked.track_id,
        source=source,
        target=mask_iban(target) if target.upper().startswith("IR") else mask_account(target),
        amount=entry.asked.amount,
        status=entry.status,
        times=book.times(entry.asked.track_id),
    )


@frozen(kw_only=True)
class Switch:
    """A setting as the dashboard's form shows it; ``control`` is a checkbox, a select, a text or a number."""

    name: str
    about: str
    value: object
    control: str
    choices: tuple[object, ...]


def behaviour(settings: Settings, language: Language) -> Iterator[Switch]:
    """Yield each setting as the form shows it."""
    for attribute in attrs.fields(Settings):
        value: Any = getattr(settings, attribute.name)
        choices = attribute.metadata["choices"]
        yield Switch(
            name=attribute.name,
            about=attribute.metadata["en" if language is Language.EN else "fa"],
            value=f"{value:g}" if isinstance(value, float) else value,
            control="select" if choices else _CONTROLS.get(attribute.type or str, "number"),
            choices=choices,
        )


_CONTROLS: Mapping[type[Any], str] = {bool: "checkbox", str: "text"}


def tone(exchange: LoggedRequest) -> str:
    """How a call went, in a word the style sheet knows."""
    if exchange.status in (1, "ok"):
        return "good"
    return "wait" if exchange.reply and exchange.reply.http < 500 else "bad"


def pretty(value: object) -> str:
    """A masked value as people read JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
