"""The requests that ``paystar conform`` makes, each with what it sends and why it moves no money."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date, timedelta
from typing import Any, Literal

from attrs import define, evolve, field, frozen

from paystar_async.client import Paystar
from paystar_async.credentials import Application, Gateway, Wallet
from paystar_async.errors import InvalidResponse, StatusError
from paystar_async.models.base import Call, fields_of
from paystar_async.models.gateway import CreatePayment, InquirePayment, VerifyPayment
from paystar_async.models.identity import MatchCard, MatchIban, MatchMobile
from paystar_async.models.inquiry import AccountToIban, CardToIban, InquireIban
from paystar_async.models.keys import RefreshApplicationKey, RefreshInquiryKey, RefreshWalletKey
from paystar_async.models.transfers import FindTransfers, GetBalance, GetStatement
from paystar_async.models.wallet import FindWalletTransfers, GetWalletBalance

CREATE_AMOUNT = 5_000
"""Rial of the order that ``--create`` creates: the smallest amount."""
_STATEMENT_DAYS = 7

Account = Literal["application", "wallet", "gateway"]
Send = Callable[[Call[Any]], Awaitable[Any]]


@define(kw_only=True)
class ProbeContext:
    """The accounts, clients and values that probes use.

    Attributes:
        application: the application, with the refresh token only if keys may be refreshed.
        wallet: the wallet, likewise.
        gateway: the gateway.
        make_client: returns a client for other credentials; its keys are in memory.
        send: waits, then sends one request with the configured credentials.
        wait: waits for the rate limit.
        subject: values for inquiries and identity checks, by field name.
        callback: the callback URL of created orders.
        order_id: the id of the created order.
    """

    application: Application | None
    wallet: Wallet | None
    gateway: Gateway | None
    make_client: Callable[..., Paystar]
    send: Send
    wait: Callable[[], Awaitable[None]]
    subject: Mapping[str, Any] = field(factory=dict[str, Any])
    callback: str | None = None
    order_id: str = field(factory=lambda: _unknown_id())

    def example(self, request: type[Call[Any]]) -> Call[Any]:
        """Return a request with the subject's values, or examples that no person and no account has."""
        values = {info.name: self._value(info) for info in fields_of(request) if info.required}
        return request(**values)

    def _value(self, info: Any) -> Any:
        return self.subject.get(info.name, info.field_type.example if info.field_type else None)

    @asynccontextmanager
    async def client(self, **credentials: Any) -> AsyncGenerator[Send]:
        """Return a function that sends with other credentials, in a client of its own."""
        await self.wait()
        async with self.make_client(**credentials) as paystar:
            yield paystar.send


@frozen
class Probe:
    """A request, or a few that belong together.

    Attributes:
        name: its name in the record, by which a later run skips it.
        account: the account it needs.
        announcement: what is sent, and why nothing moves.
        send: sends it; refusals raise.
        needs: the option without which it is not sent.
    """

    name: str
    account: Account
    announcement: str
    send: Callable[[ProbeContext], Awaitable[object]]
    needs: Literal["refresh", "create"] | None = None


def _unknown_id() -> str:
    """Return an id that no transfer, payment or account has."""
    return f"conform-{uuid.uuid4().hex[:12]}"


def _example_sender(request: type[Call[Any]]) -> Callable[[ProbeContext], Awaitable[object]]:
    return lambda context: context.send(context.example(request))


async def _send_pages(context: ProbeContext) -> None:
    for call in (FindTransfers(limit=10), FindTransfers(limit=1), FindTransfers(limit=1, skip=1)):
        await context.send(call)


async def _send_statement(context: ProbeContext) -> None:
    account = context.subject.get("account_number", _example(GetBalance, "account_number"))
    today = date.today()
    await context.send(
        GetStatement(account_number=account, from_date=today - timedelta(_STATEMENT_DAYS), to_date=today)
    )


def _example(request: type[Call[Any]], name: str) -> Any:
    return next(info.field_type.example for info in fields_of(request) if info.name == name and info.field_type)


async def _send_wrong_key(context: ProbeContext) -> None:
    if context.application is not None:
        wrong = evolve(context.application, api_key=f"{_unknown_id()}-wrong", refresh_token=None)
        async with context.client(application=wrong) as send:
            await send(FindTransfers(limit=1))


async def _send_wrong_wallet_key(context: ProbeContext) -> None:
    if context.wallet is not None:
        wrong = evolve(context.wallet, inquiry_key=f"{_unknown_id()}-wrong", refresh_inquiry_key=None)
        async with context.client(wallet=wrong) as send:
            await send(GetWalletBalance())


async def _send_wrong_gateway(context: ProbeContext) -> None:
    if context.gateway is not None:
        async with context.client(gateway=evolve(context.gateway, id=f"{_unknown_id()}-wrong")) as send:
            await send(InquirePayment(ref_num=_unknown_id()))


async def _send_direct(context: ProbeContext) -> None:
    if context.gateway is not None:
        async with context.client(gateway=evolve(context.gateway, direct=True)) as send:
            await send(InquirePayment(ref_num=_unknown_id()))


async def _send_unknown_verify(context: ProbeContext) -> None:
    card: Any = _example(VerifyPayment, "card_number")
    await context.send(
        VerifyPayment(ref_num=_unknown_id(), amount=CREATE_AMOUNT, card_number=card, tracking_code="123456")
    )


def _order(context: ProbeContext, order_id: str) -> CreatePayment:
    return CreatePayment(amount=CREATE_AMOUNT, order_id=order_id, callback=context.callback or "")


async def _send_order(context: ProbeContext) -> None:
    response = await context.send(_order(context, context.order_id))
    for amount in (None, CREATE_AMOUNT):  # unsigned and signed
        with suppress(StatusError, InvalidResponse):
            await context.send(InquirePayment(ref_num=response.value.ref_num, amount=amount))
    await context.send(_order(context, context.order_id))


async def _send_wrong_signature(context: ProbeContext) -> None:
    if context.gateway is not None and context.gateway.sign_key is not None:
        wrong = evolve(context.gateway, sign_key=f"{uuid.uuid4().hex}{uuid.uuid4().hex}")
        async with context.client(gateway=wrong) as send:
            await send(_order(context, f"{context.order_id}-wrong"))


_READ = "reads only"
_REFRESHES: Sequence[tuple[str, Account, type[Call[Any]]]] = (
    ("application", "application", RefreshApplicationKey),
    ("wallet", "wallet", RefreshWalletKey),
    ("inquiry", "wallet", RefreshInquiryKey),
)

PROBES: Sequence[Probe] = (
    Probe("transfers.find pages", "application", f"list transfers, three times – {_READ}", _send_pages),
    Probe(
        "transfers.find unknown",
        "application",
        f"look up an unknown track_id – {_READ}",
        lambda context: context.send(FindTransfers(track_id=_unknown_id())),
    ),
    Probe(
        "transfers.balance",
        "application",
        f"read a balance (the example account, or your subject's) – {_READ}",
        lambda context: context.send(context.example(GetBalance)),
    ),
    Probe("transfers.statement", "application", f"read a week of a statement – {_READ}", _send_statement),
    *(
        Probe(
            f"{service}.{request.__name__}",
            "application",
            f"{(request.__doc__ or '').partition('.')[0]} (an example, or your subject's values) – {_READ}; "
            "Paystar may charge its fee",
            _example_sender(request),
        )
        for service, request in (
            ("identity", MatchMobile),
            ("identity", MatchCard),
            ("identity", MatchIban),
            ("inquiry", AccountToIban),
            ("inquiry", CardToIban),
            ("inquiry", InquireIban),
        )
    ),
    Probe("wrong key", "application", "list transfers with a wrong api_key – is refused", _send_wrong_key),
    Probe(
        "wallet.balance",
        "wallet",
        f"read the wallet's balance – {_READ}",
        lambda context: context.send(GetWalletBalance()),
    ),
    Probe(
        "wallet.find unknown",
        "wallet",
        f"look up an unknown track_id in the wallet – {_READ}",
        lambda context: context.send(FindWalletTransfers(track_id=_unknown_id())),
    ),
    Probe(
        "wrong wallet key",
        "wallet",
        "read the wallet's balance with a wrong inquiry_key – is refused",
        _send_wrong_wallet_key,
    ),
    Probe(
        "gateway.inquiry unsigned",
        "gateway",
        f"look up an unknown ref_num without a signature – {_READ}",
        lambda context: context.send(InquirePayment(ref_num=_unknown_id())),
    ),
    Probe(
        "gateway.verify unknown",
        "gateway",
        "verify an unknown ref_num – is refused: no payment has it",
        _send_unknown_verify,
    ),
    Probe(
        "wrong gateway",
        "gateway",
        "look up an unknown ref_num with a wrong gateway id – is refused",
        _send_wrong_gateway,
    ),
    Probe("direct path", "gateway", f"look up an unknown ref_num at the direct path – {_READ}", _send_direct),
    *(
        Probe(
            f"refresh {name}",
            account,
            f"refresh the {name} key; the new key is stored in PAYSTAR_KEYS",
            _example_sender(request),
            "refresh",
        )
        for name, account, request in _REFRESHES
    ),
    Probe(
        "gateway.create",
        "gateway",
        f"create an order of {CREATE_AMOUNT:,} Rial twice, and look it up – it is never paid",
        _send_order,
        "create",
    ),
    Probe(
        "wrong signature",
        "gateway",
        f"create an order of {CREATE_AMOUNT:,} Rial with a wrong signature – is refused, and never paid",
        _send_wrong_signature,
        "create",
    ),
)
"""Every probe, in the order in which they are sent."""
