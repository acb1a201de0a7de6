"""Every public callable, called with a wrong value for each parameter in turn: an error for people, and no effect."""

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import frozen

from paystar_async import (
    Application,
    Callback,
    Crypto,
    Gateway,
    GetWalletBalance,
    ManualClock,
    PaymentPage,
    Paystar,
    Policy,
    Rial,
    Secret,
    Toman,
    Transfer,
    Wallet,
    WalletTransfer,
    new_track_id,
)
from paystar_async.blocking import BlockingPaystar
from paystar_async.conform import ShapeRecorder
from paystar_async.errors import PaystarError
from paystar_async.keys import DatabaseKeyStore, MemoryKeyStore, RedisKeyStore
from paystar_async.models.base import fields_of
from paystar_async.payouts import Batch
from paystar_async.sandbox import Sandbox
from paystar_async.storage import PostgresDatabase, SqliteDatabase
from paystar_async.table import TABLE

IBAN = "IR580540105180021273113007"
WRONG: Mapping[str, Callable[[], object]] = {
    "none": lambda: None,
    "empty": lambda: "",
    "persian": lambda: "۵۰۰۰۰",
    "nul": lambda: "a\0b",
    "bytes": lambda: b"x",
    "true": lambda: True,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "huge": lambda: 10**5000,
    "fraction": lambda: 1.5,
    "float": lambda: 50_000.0,
    "nan": lambda: float("nan"),
    "list": lambda: [None],
    "mapping": lambda: {1: 2},
    "object": object,
    "class": lambda: Sandbox,
    "function": lambda: WRONG.get,
    "naive": lambda: datetime(2026, 1, 1),
    "delta": lambda: timedelta(seconds=5),
    "folder": lambda: Path("/"),
    "generator": lambda: (item for item in (1, 2)),
}
"""The wrong values, each created anew."""

TEXT = "persian"
OPTIONAL_TEXT = "none persian"
SECONDS = "fraction float"
NOT_USED = " ".join(WRONG)


@frozen
class Shop:
    """A client of a sandbox, with an order that is paid and a batch."""

    sandbox: Sandbox
    paystar: Paystar
    callback: Callback
    batch: Batch
    folder: Path


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    sandbox = Sandbox(settle_seconds=0)
    paystar = Paystar(
        application=sandbox.application,
        gateway=sandbox.gateway,
        wallet=sandbox.wallet,
        engine=sandbox.engine(),
        database=tmp_path / "paystar.db",
    )
    async with paystar:
        started = await paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        batch = await paystar.payouts.submit([transfer(track_id="paid")], batch_id="b-1")
        await batch.wait()
        yield Shop(sandbox, paystar, Callback.parse(sandbox.pay(started.url)), batch, tmp_path)


def transfer(**values: Any) -> Transfer:
    fields: dict[str, Any] = {"destination_account": IBAN, "destination_firstname": "Ali", "track_id": new_track_id()}
    fields |= {"amount": 50_000, "deposit": "0100000000001", "destination_lastname": "Reza"}
    return Transfer(**fields | values)


def wallet_transfer() -> WalletTransfer:
    names = {"destination_firstname": "Ali", "destination_lastname": "Reza"}
    return WalletTransfer(amount=50_000, destination_number=IBAN, track_id=new_track_id(), **names)


Parameters = Mapping[str, tuple[object, str]]
"""The parameters of a call: a right value of each, and the names of the values in ``WRONG`` that are right as well."""

CONSTRUCTORS: Mapping[Callable[..., object], Parameters] = {
    Application: {
        "id": ("app", "persian zero negative"),
        "access_password": ("p", "persian nul"),
        "api_key": (None, "none"),
        "refresh_token": (None, "none persian nul"),
    },
    Gateway: {"id": ("gw", ""), "sign_key": (None, "none persian nul"), "direct": (False, "true")},
    Wallet: {
        "hashid": ("w", "persian zero negative"),
        "password": ("p", "persian nul"),
        "sign_key": ("k", "persian nul"),
    },
    Policy: {
        "chunk": (20, ""),
        "concurrency": (4, ""),
        "rate": (None, "none fraction float"),
        "quiet_window": (900.0, SECONDS),
        "resend": (False, "true"),
        "look_before_send": ("always", ""),
    },
    Callback: {
        "status": ("1", TEXT),
        "order_id": ("o", TEXT),
        "ref_num": ("r", TEXT),
        "transaction_id": (None, "none empty persian"),
        "card_number": (None, "none empty persian"),
        "hashed_card_number": (None, "none empty persian"),
        "tracking_code": (None, "none empty persian"),
    },
    Rial: {"amount": (5, "zero")},
    Toman: {"amount": (5, "zero")},
    Secret: {"text": ("x", "empty persian nul")},
    Crypto: {"keys": ([Crypto.new_key()], "")},
    ManualClock: {"start": (0.0, "zero negative fraction float")},
    Paystar: {
        "application": (None, "none"),
        "gateway": (None, "none"),
        "wallet": (None, "none"),
        "base_url": ("https://core.example/api", ""),
        "timeout": (30.0, SECONDS),
        "max_retries": (3, "zero"),
        "concurrency": (16, ""),
        "checks": ("shape", ""),
        "keys": (None, "none persian folder"),
        "database": (None, "none persian folder"),
        "crypto": (None, "none"),
        "engine": ("auto", ""),
        "proxy": (None, "none empty"),
        "middleware": ((), ""),
        "clock": (None, "none"),
        "on_event": (None, "none class function"),
    },
    MemoryKeyStore: {"clock": (None, "none")},
    DatabaseKeyStore: {"database": ("keys.db", "persian folder"), "crypto": (None, "none"), "clock": (None, "none")},
    RedisKeyStore: {
        "server": ("redis://localhost:1/0", ""),
        "prefix": ("p", "empty persian nul"),
        "crypto": (None, "none"),
        "timeout": (1.0, SECONDS),
    },
    SqliteDatabase: {
        "path": ("p.db", "persian folder"),
        "clock": (None, "none"),
        "busy_timeout": (5.0, "zero fraction float"),
    },
    PostgresDatabase: {"url": ("postgresql://localhost:1/x", ""), "connections": (4, "")},
    ShapeRecorder: {
        "path": ("shapes.jsonl", "persian folder"),
        "max_bytes": (4000, "fraction float huge"),
        "clock": (None, "none"),
    },
    Sandbox: {"seed": (0, "zero negative"), "clock": (None, "none"), "key_life": (60.0, SECONDS)},
    BlockingPaystar.from_client: {"client": (Paystar(), "")},
}

_OTHER_NAMES = {"keys": "an encryption key", "url": "URL", "server": "URL"}
"""How an error names a parameter otherwise."""


def is_named(error: PaystarError, name: str) -> bool:
    """Return True if an error names a parameter."""
    return any(text in str(error) for text in (name, _OTHER_NAMES.get(name, name)))


@pytest.mark.parametrize("constructor", CONSTRUCTORS, ids=lambda constructor: constructor.__qualname__)
def test_constructor_refuses_wrong_values(constructor: Callable[..., object]) -> None:
    parameters = CONSTRUCTORS[constructor]
    keyword = {name: value for name, (value, _) in parameters.items()}
    constructor(**keyword)
    for name, (_, accepted) in parameters.items():
        for kind, make in WRONG.items():
            if kind not in accepted.split():
                with pytest.raises(PaystarError) as caught:
                    constructor(**{**keyword, name: make()})
                assert is_named(caught.value, name), (name, kind, str(caught.value))


@pytest.mark.parametrize("endpoint", TABLE, ids=str)
def test_request_refuses_wrong_values(endpoint: Any) -> None:
    items = {Transfer: [transfer()], WalletTransfer: [wallet_transfer()]}
    examples = {
        field.name: items.get(field.item) if field.item else field.field_type.example
        for field in fields_of(endpoint.request)
        if field.field_type is not None
    }
    for name in examples:
        for kind in ("bytes", "true", "nan", "fraction", "object", "list", "mapping", "class", "function", "huge"):
            with pytest.raises(PaystarError, match=name):
                endpoint.request(**{**examples, name: WRONG[kind]()})


class Jobs:
    """A queue and a dispatcher that do nothing."""

    async def advance_later(self, chunk_id: str, seconds: float) -> None: ...
    async def continue_elsewhere(self, chunk_id: str) -> None: ...
    async def wake(self, chunk_ids: object, connection: object = None) -> None: ...
    def start(self) -> None: ...
    async def aclose(self) -> None: ...


def _callback(shop: Shop) -> Callback:
    return shop.callback


def _ref_num(shop: Shop) -> str:
    return shop.callback.ref_num


def _export_path(shop: Shop) -> Path:
    return shop.folder / "batch.csv"


def _new_id(_: Shop) -> str:
    return new_track_id()


def _new_transfers(_: Shop) -> list[Transfer]:
    return [transfer()]


def _jobs(_: Shop) -> Jobs:
    return Jobs()


def _handler(_: Shop) -> Callable[..., object]:
    return print


CALLS: Mapping[str, Parameters] = {
    "payments.start": {
        "amount": (50_000, ""),
        "order_id": (_new_id, TEXT),
        "callback": ("https://shop.example/back", ""),
        "timeout": (None, "none fraction float"),
    },
    "payments.confirm": {
        "callback": (_callback, ""),
        "amount": (50_000, "none"),
        "order_id": ("o-1", "none persian zero negative"),
    },
    "payments.find": {"order_id": ("o-1", TEXT)},
    "payments.orders": {"limit": (10, ""), "state": (None, "none")},
    "payments.sweep": {"limit": (10, "")},
    "payments.sweeping": {"every": (5.0, SECONDS)},
    "payments.on_verified": {
        "handler": (_handler, "none class function"),
        "timeout": (5.0, "fraction"),
    },
    "transfers.wait": {
        "track_id": ("paid", ""),
        "deposit": (None, "none persian"),
        "timeout": (1.0, SECONDS),
    },
    "transfers.iterate": {
        "deposit": (None, "none persian"),
        "page": (100, ""),
        "timeout": (5.0, "none fraction float"),
    },
    "transfers.batch": {"transfers": (_new_transfers, ""), "chunk": (20, "huge")},
    "wallet.wait": {"track_id": ("paid", ""), "timeout": (0.01, SECONDS)},
    "wallet.balance": {"timeout": (5.0, "none fraction float")},
    "keys.replace": {
        "realm": ("wallet", ""),
        "token": ("t", ""),
        "refresh_token": (None, "none persian nul"),
        "expires_at": (datetime(2030, 1, 1, tzinfo=UTC), "none"),
    },
    "send": {"value": (GetWalletBalance(), ""), "timeout": (5.0, "none fraction float")},
    "page": {"value": (PaymentPage(token="x"), "")},
    "payouts.plan": {"transfers": (_new_transfers, "list generator"), "sheet": (None, "none")},
    "payouts.submit": {
        "transfers": (_new_transfers, ""),
        "batch_id": (_new_id, TEXT),
        "connection": (None, "none"),
        "policy": (None, "none"),
        "planned": (None, "none"),
        "sheet": (None, "none"),
    },
    "payouts.batch": {"batch_id": ("b-1", "")},
    "payouts.batches": {"limit": (10, "")},
    "payouts.reconcile": {"window": (60.0, "fraction float delta")},
    "payouts.advance": {"chunk_id": ("x", TEXT)},
    "payouts.advance_in_turn": {
        "chunk_id": ("x", TEXT),
        "jobs": (_jobs, ""),
        "seconds": (1.0, SECONDS),
    },
    "payouts.use": {"dispatcher": (_jobs, "")},
    "payouts.pause": {"deposit": ("0100000000009", "none persian")},
    "payouts.resume": {"deposit": ("0100000000009", "none persian")},
    "payouts.review": {"limit": (10, "")},
    "payouts.resolve": {
        "track_id": ("paid", NOT_USED),
        "verdict": ("success", ""),
        "ref_code": (None, OPTIONAL_TEXT),
        "note": ("", "empty persian"),
        "product": (None, "none"),
    },
    "payouts.find": {"track_id": ("paid", ""), "product": (None, "none")},
    "payouts.history": {"track_id": ("paid", ""), "product": (None, "none")},
    "batch.wait": {"timeout": (1.0, "none fraction float")},
    "batch.transfers": {"states": ("success", "")},
    "batch.export": {"path": (_export_path, "persian folder")},
    "sandbox.fail": {
        "endpoint": ("wallet.balance", "none"),
        "kind": ("html", ""),
        "rate": (1.0, "zero"),
        "times": (0, "none zero"),
        "seconds": (1.0, "zero fraction float"),
    },
    "sandbox.heal": {"endpoint": (None, "none"), "kind": (None, "none")},
    "sandbox.advance": {"seconds": (0, "zero fraction float")},
    "sandbox.set_balance": {"account": ("0100000000001", "persian nul"), "amount": (5, "zero")},
    "sandbox.pay": {"token": (_ref_num, NOT_USED), "choice": ("pay", NOT_USED)},
    "sandbox.decide_transfer": {"track_id": ("paid", ""), "status": ("success", "")},
    "sandbox.expire_key": {"realm": ("wallet", "none")},
    "sandbox.break_assumption": {"assumption": ("list-order", "")},
}

POSITIONAL = {"callback", "handler", "value", "states", "realm"}


async def call(shop: Shop, name: str, values: Mapping[str, object]) -> None:
    """Call a method of the client, the batch or the sandbox to its end."""
    target: Any = shop if name.startswith(("batch.", "sandbox.")) else shop.paystar
    for part in name.split("."):
        target = getattr(target, part)
    positional = [value for key, value in values.items() if key in POSITIONAL and name != "payments.start"]
    keyword = {key: value for key, value in values.items() if key not in POSITIONAL or name == "payments.start"}
    result: object = target(*positional, **keyword)
    if inspect.isasyncgen(result):
        async for _ in result:
            pass
    elif inspect.isawaitable(result):
        await result
    elif hasattr(result, "__aenter__"):
        async with cast("AbstractAsyncContextManager[object]", result):
            pass


@pytest.mark.parametrize("name", CALLS)
async def test_call_refuses_wrong_values(name: str, shop: Shop) -> None:
    parameters = CALLS[name]
    for parameter, (_, accepted) in parameters.items():
        for kind, make in WRONG.items():
            if kind in accepted.split():
                continue
            values = {key: value(shop) if callable(value) else value for key, (value, _) in parameters.items()}
            values[parameter] = make()
            requests, records = dict(shop.sandbox.request_counts), await count_records(shop.paystar)
            with pytest.raises(PaystarError) as caught:
                await call(shop, name, values)
            assert is_named(caught.value, parameter) or name.startswith("sandbox."), (
                parameter,
                kind,
                str(caught.value),
            )
            assert (dict(shop.sandbox.request_counts), await count_records(shop.paystar)) == (requests, records), kind


async def count_records(paystar: Paystar) -> tuple[int, int, int]:
    """Return the numbers of stored orders, payments and transfers."""
    orders = await paystar.payments.orders()
    transfers = await paystar.payouts.totals()
    return len(orders), sum(len(order.attempts) for order in orders), sum(total.count for total in transfers.values())


def test_every_public_flow_is_called() -> None:
    paystar = Paystar()
    flows = {"payments": paystar.payments, "payouts": paystar.payouts, "transfers": paystar.transfers}
    methods = {
        f"{service}.{name}"
        for service, flow in flows.items()
        for name, method in inspect.getmembers(flow, inspect.ismethod)
        if not name.startswith("_") and set(inspect.signature(method).parameters)
    }
    endpoints = {endpoint.id for endpoint in TABLE}
    assert methods - endpoints - CALLS.keys() == {"payments.close", "payments.run"}
