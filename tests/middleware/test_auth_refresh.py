"""The auth middleware with unusual refresh responses, and with a server that rejects every key."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from paystar_async import Paystar, WalletTransfer
from paystar_async.errors import InvalidResponse, NotSent, PaystarError
from paystar_async.keys import lease
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.refresher import FAILURE_COOLDOWN_SECONDS
from paystar_async.keys.store import KeyId, KeyRecord
from tests.keys.backends import LossyMemoryStore
from tests.support import (
    REFRESHES,
    Engine,
    EventRecorder,
    KeyServer,
    QuickClock,
    Raw,
    Reply,
    Script,
    Sent,
    client,
    in_turn,
    ok,
    refused,
    tehran_time,
    wait_all_tasks_blocked,
)

HOUR = 3600.0
DAY = 24 * HOUR
PAYOUT = WalletTransfer(
    amount=1, destination_number="IR" + "0" * 24, destination_firstname="A", destination_lastname="B", track_id="t-1"
)


class RealmCase:
    """A realm whose keys are refreshed: the field names of its response, and a call that uses its key."""

    def __init__(self, name: str, account: str, prefix: str, call: Callable[[Paystar], Any]) -> None:
        self.id = KeyId(name, account)
        self.token, self.expiry = f"{prefix}_key", f"{prefix}_key_expire_date"
        self.refresh_token = "refresh_inquiry_key" if prefix == "inquiry" else "refresh_token"
        self.call = call

    def refresh(self, paystar: Paystar) -> Any:
        return getattr(paystar.keys, f"refresh_{self.id.realm}_key")()


REALMS = (
    RealmCase("application", "app-1", "api", lambda paystar: paystar.transfers.balance(account_number="0100000000001")),
    RealmCase("wallet", "w123", "api", lambda paystar: paystar.wallet.settle(transfers=[PAYOUT])),
    RealmCase("inquiry", "w123", "inquiry", lambda paystar: paystar.wallet.balance()),
)
each_realm = pytest.mark.parametrize("realm", REALMS, ids=lambda realm: realm.id.realm)
PHP_DATE = {"date": "2026-11-29 10:00:00.000000", "timezone_type": 3, "timezone": "Asia/Tehran"}
INVALID_VALUES: tuple[object, ...] = (
    {},
    PHP_DATE,
    [],
    ["x"],
    "",
    " ",
    True,
    False,
    0,
    -5,
    1.5,
    2**63,
    10**400,
    -(10**400),
    float("nan"),
    None,
)

BROKEN_BODIES: dict[str, str | bytes] = {
    "a long integer": '{"status": 1, "data": DATA, "time": ' + "9" * 5000 + "}",
    "a name that occurs twice": '{"status": 1, "message": "a", "data": DATA, "message": "b"}',
    "deep nesting": '{"status": 1, "data": DATA, "trace": ' + "[" * 70 + "]" * 70 + "}",
    "a text that is not UTF-8": b'{"status": 1, "message": "\xe3\xe6\xdd\xde", "data": {PAIR}}',
    "a warning before the JSON": '<br />\n<b>Warning</b>: x in y\n{"status": 1, "data": DATA}',
    "a page behind the JSON": '{"status": "ok", "data": DATA}<br />',
    "an end that is missing": '{"status": 1, "data": DATA, "mess',
    "a list around the data": '{"status": 1, "data": [DATA]}',
    "an object around the data": '{"status": 1, "data": {"result": {"0": DATA}}}',
    "fields beside the status": b'{"status": 1, PAIR}',
    "a list around the envelope": '[{"status": 1, "data": DATA}]',
    "a status that is true": '{"status": true, "data": DATA}',
    "a status that is a float": '{"status": 1.0, "data": DATA}',
    "a mark before the JSON, twice": '\ufeff\ufeff{"status": 1, "data": DATA}',
}
"""Successful responses in which a person sees the new pair, and a strict parser does not."""


class RefreshFixture:
    """A client and a server that responds to refreshes with ``data`` and records the refresh tokens."""

    def __init__(self, realm: RealmCase, data: dict[str, object]) -> None:
        self.clock = QuickClock()
        self.realm, self.data = realm, data
        self.sent_tokens: list[str] = []
        self.refreshes: Script = lambda _: ok({realm.token: f"key-{len(self.sent_tokens)}", **self.data})
        self.engine = Engine(self._respond)
        self.store = MemoryKeyStore(self.clock)
        self.paystar = client(self.engine, clock=self.clock, keys=self.store, max_retries=0)

    def _respond(self, sent: Sent) -> Reply | Awaitable[Reply]:
        if sent.path.endswith(REFRESHES):
            self.sent_tokens.append(sent.fields[self.realm.refresh_token])
            return self.refreshes(sent)
        return ok({"balance": 1, "total_amount": 1, "available_amount": 1})

    @property
    def bearer(self) -> str:
        return self.engine.sent[-1].bearer

    async def record(self) -> KeyRecord:
        record = await self.store.load(self.realm.id)
        assert record is not None
        return record


@each_realm
@pytest.mark.parametrize("value", INVALID_VALUES, ids=lambda value: repr(value)[:24])
async def test_refresh_with_invalid_expiry_assumes_a_day(realm: RealmCase, value: object) -> None:
    fixture = RefreshFixture(realm, {realm.expiry: value, realm.refresh_token: "refresh-new"})

    await realm.refresh(fixture.paystar)
    await realm.call(fixture.paystar)

    assert fixture.bearer == "key-1"
    record = await fixture.record()
    assert record.expires_at == fixture.clock.time() + DAY
    await realm.refresh(fixture.paystar)
    assert fixture.sent_tokens == ["refresh-0", "refresh-new"]


@each_realm
@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
async def test_refresh_broken_response_keeps_its_pair(realm: RealmCase, body: str | bytes) -> None:
    fixture = RefreshFixture(realm, {})
    pair = json.dumps({realm.token: "key-new", realm.refresh_token: "refresh-new"})
    text = body.replace("DATA", pair).encode() if isinstance(body, str) else body.replace(b"PAIR", pair[1:-1].encode())
    fixture.refreshes = in_turn((200, {}, text), ok({realm.token: "key-2"}))

    await realm.refresh(fixture.paystar)
    await realm.call(fixture.paystar)

    assert fixture.bearer == "key-new"
    await realm.refresh(fixture.paystar)
    assert fixture.sent_tokens == ["refresh-0", "refresh-new"]


@each_realm
@pytest.mark.parametrize("code", [0xD800, 0xFFFD, 1])
async def test_refresh_unsendable_refresh_token_keeps_old_token(realm: RealmCase, code: int) -> None:
    fixture = RefreshFixture(realm, {realm.refresh_token: f"refresh-{chr(code)}-1"})

    await realm.refresh(fixture.paystar)
    await realm.refresh(fixture.paystar)

    assert fixture.sent_tokens == ["refresh-0", "refresh-0"]


@each_realm
async def test_refresh_numeric_refresh_token_is_kept(realm: RealmCase) -> None:
    fixture = RefreshFixture(realm, {realm.refresh_token: 2**63})

    await realm.refresh(fixture.paystar)
    await realm.refresh(fixture.paystar)

    assert fixture.sent_tokens == ["refresh-0", str(2**63)]


@each_realm
@pytest.mark.parametrize(
    "value", [value for value in INVALID_VALUES if value != 2**63], ids=lambda value: repr(value)[:24]
)
async def test_refresh_with_invalid_refresh_token_keeps_old_token(realm: RealmCase, value: object) -> None:
    fixture = RefreshFixture(realm, {realm.refresh_token: value})

    assert getattr(await realm.refresh(fixture.paystar), realm.refresh_token) is None
    await realm.call(fixture.paystar)

    assert fixture.bearer == "key-1"
    await realm.refresh(fixture.paystar)
    assert fixture.sent_tokens == ["refresh-0", "refresh-0"]


@each_realm
async def test_refresh_returns_invalid_fields_in_extra(realm: RealmCase) -> None:
    invalid_fields: dict[str, object] = {realm.expiry: {"date": "2026"}, realm.refresh_token: False, "note": [None]}
    fixture = RefreshFixture(realm, invalid_fields)

    value = await realm.refresh(fixture.paystar)

    assert value.extra == invalid_fields
    assert getattr(value, realm.expiry) is None
    assert getattr(value, realm.refresh_token) is None
    assert getattr(value, realm.token).reveal() == "key-1"


@each_realm
async def test_refresh_returns_parsed_fields(realm: RealmCase) -> None:
    fixture = RefreshFixture(
        realm, {realm.expiry: "2026-01-01 12:00:00", realm.refresh_token: "refresh-new", "more": "canary"}
    )

    value = await realm.refresh(fixture.paystar)

    assert getattr(value, realm.expiry) == "2026-01-01 12:00:00"
    assert getattr(value, realm.refresh_token).reveal() == "refresh-new"
    assert value.extra == {"more": "canary"}
    assert "canary" not in repr(value)
    assert "refresh-new" not in repr(value)


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("kind", [int, float])
async def test_refresh_numeric_expiry_is_unix_time(scale: int, kind: type[float]) -> None:
    fixture = RefreshFixture(REALMS[0], {})
    fixture.data[REALMS[0].expiry] = kind((fixture.clock.time() + 2 * HOUR) * scale)

    await REALMS[0].refresh(fixture.paystar)

    assert (await fixture.record()).expires_at == fixture.clock.time() + 2 * HOUR


async def test_refresh_expiry_with_blanks_is_parsed() -> None:
    fixture = RefreshFixture(REALMS[0], {})
    fixture.data[REALMS[0].expiry] = f" {tehran_time(fixture.clock.time() + 2 * HOUR)}\n"

    await REALMS[0].refresh(fixture.paystar)

    assert (await fixture.record()).expires_at == fixture.clock.time() + 2 * HOUR


@each_realm
@pytest.mark.parametrize(("key", "bearer"), [(" key-new\n", "key-new"), (12345, "12345")])
async def test_refresh_key_with_blanks_is_stripped(realm: RealmCase, key: object, bearer: str) -> None:
    fixture = RefreshFixture(realm, {realm.token: key, realm.refresh_token: " refresh-new\n"})

    await realm.refresh(fixture.paystar)
    await realm.call(fixture.paystar)

    assert fixture.bearer == bearer
    await realm.refresh(fixture.paystar)
    assert fixture.sent_tokens == ["refresh-0", "refresh-new"]


@each_realm
@pytest.mark.parametrize("key", [None, "", " ", {}, ["key"], True, 1.5, "two\nlines", "کلید"], ids=repr)
async def test_refresh_without_valid_key_keeps_new_refresh_token(realm: RealmCase, key: object) -> None:
    """The old refresh token may be spent; the next refresh needs the new refresh token of the response."""
    fixture = RefreshFixture(realm, {realm.token: key, realm.refresh_token: "refresh-new"})

    with pytest.raises(InvalidResponse) as error:
        await realm.refresh(fixture.paystar)

    assert error.value.executed == "maybe"
    record = await fixture.record()
    assert record.token is not None
    assert record.token.reveal() == "key-0"
    assert record.refresh_token is not None
    assert record.refresh_token.reveal() == "refresh-new"
    assert not record.refresh_rejected
    del fixture.data[realm.token]
    await realm.refresh(fixture.paystar)
    assert fixture.sent_tokens == ["refresh-0", "refresh-new"]


@pytest.mark.parametrize("data", [None, [], "x", 5, [{"api_key": None}]], ids=repr)
async def test_refresh_without_data_keeps_stored_record(data: object) -> None:
    clock, store = QuickClock(), MemoryKeyStore()
    paystar = client(Engine(in_turn(ok(data))), clock=clock, keys=store, max_retries=0)

    with pytest.raises(InvalidResponse) as error:
        await REALMS[0].refresh(paystar)

    assert error.value.executed == "maybe"
    record = await store.load(REALMS[0].id)
    assert record is not None
    assert (record.token, record.refresh_rejected, record.lease_owner) == (record.token, False, None)
    assert record.refresh_token is not None
    assert record.refresh_token.reveal() == "refresh-0"


class RejectingFixture:
    """Clients of one store, and a server that refreshes every key and rejects all keys until ``accepts`` is set."""

    def __init__(self, clients: int = 1, store: Any = None) -> None:
        self.clock = QuickClock()
        self.server = KeyServer(self.clock, script=self._respond)
        self.server.keys["key-0"] = float("inf")
        self.accepts = False
        self.engine = Engine(self.server)
        self.events = EventRecorder()
        self.store: Any = store or LossyMemoryStore(self.clock)
        self.clients = [
            client(self.engine, clock=self.clock, keys=self.store, on_event=self.events, max_retries=0)
            for _ in range(clients)
        ]

    def _respond(self, sent: Sent) -> Raw:
        return ok({"balance": 1}) if self.accepts else refused(4, "invalid token", http=400)

    @property
    def refreshes(self) -> int:
        return len(self.engine.sent_to("refresh-api-key"))

    @property
    def sent_tokens(self) -> list[str]:
        return [sent.fields["refresh_token"] for sent in self.engine.sent_to("refresh-api-key")]

    async def call(self, paystar: Paystar | None = None) -> str:
        """Make a call; return the name of its error, or ``accepted``."""
        try:
            await (paystar or self.clients[0]).transfers.balance(account_number="0100000000001")
        except PaystarError as error:
            return type(error).__name__
        return "accepted"


async def test_rejected_key_is_refreshed_once_per_cooldown() -> None:
    fixture = RejectingFixture()

    results = [await fixture.call() for _ in range(150)]

    assert set(results) == {"InvalidToken"}
    assert fixture.refreshes == 1
    for cooldown in range(1, 4):
        fixture.clock.advance(FAILURE_COOLDOWN_SECONDS)
        assert {await fixture.call() for _ in range(50)} == {"InvalidToken"}
        assert fixture.refreshes == 1 + cooldown


async def test_rejected_key_of_concurrent_calls_is_refreshed_once() -> None:
    fixture = RejectingFixture()

    for _ in range(3):
        assert set(await asyncio.gather(*(fixture.call() for _ in range(50)))) == {"InvalidToken"}

    assert fixture.refreshes == 1


async def test_rejected_key_of_processes_is_refreshed_per_cooldown() -> None:
    """One more refresh at first: the first key refreshed by another process may have been valid for a while."""
    fixture = RejectingFixture(clients=6)

    for cooldown in range(4):
        for _ in range(10):
            results = await asyncio.gather(*(fixture.call(paystar) for paystar in fixture.clients))
            assert set(results) == {"InvalidToken"}
        assert fixture.refreshes <= 2 + cooldown
        fixture.clock.advance(FAILURE_COOLDOWN_SECONDS)


async def test_accepted_key_later_rejected_is_refreshed_at_once() -> None:
    fixture = RejectingFixture()
    fixture.accepts = True
    for number in range(1, 4):
        fixture.server.keys.clear()  # revoked early, also right after the refresh
        assert await fixture.call() == "accepted"
        assert fixture.refreshes == number


@pytest.mark.parametrize("was_accepted", [True, False])
async def test_refresh_returning_rejected_key_has_cooldown(was_accepted: bool) -> None:
    fixture = RejectingFixture()

    async def return_same_key() -> Raw:
        return ok({"api_key": "key-0"})

    fixture.server.before_refresh, fixture.accepts = return_same_key, was_accepted
    await fixture.call()
    fixture.accepts = False

    assert {await fixture.call() for _ in range(50)} == {"InvalidToken"}
    assert fixture.refreshes == 1


async def test_keys_replace_ends_refresh_cooldown() -> None:
    fixture = RejectingFixture(clients=2)
    await fixture.call()
    fixture.accepts = True
    fixture.server.keys = {"key-panel": float("inf")}

    await fixture.clients[1].keys.replace("application", token="key-panel")

    assert [await fixture.call(paystar) for paystar in fixture.clients] == ["accepted"] * 2
    assert fixture.refreshes == 1


async def test_manual_refresh_has_no_cooldown() -> None:
    fixture = RejectingFixture()
    await fixture.call()

    await fixture.clients[0].keys.refresh_application_key()

    assert fixture.refreshes == 2


async def test_refused_refresh_of_rejected_key_has_cooldown() -> None:
    fixture = RejectingFixture()
    fixture.server.keys.clear()

    async def refuse() -> Raw:
        return refused(7, "not allowed", http=400)

    fixture.server.before_refresh = refuse
    assert {await fixture.call() for _ in range(50)} == {"IpNotAllowed"}
    assert fixture.refreshes == 1
    assert fixture.events.names == ["key_refresh_failed"]

    fixture.clock.advance(FAILURE_COOLDOWN_SECONDS)
    fixture.server.before_refresh, fixture.accepts = None, True
    assert await fixture.call() == "accepted"


async def test_refused_refresh_of_expired_key_has_cooldown() -> None:
    fixture = RejectingFixture(clients=2)
    fixture.accepts = True
    await fixture.clients[0].keys.refresh_application_key()
    fixture.clock.advance(25 * HOUR)

    async def refuse() -> Raw:
        return refused(7, "not allowed", http=400)

    fixture.server.before_refresh = refuse
    assert {await fixture.call() for _ in range(50)} == {"IpNotAllowed"}
    assert fixture.refreshes == 2

    fixture.server.before_refresh = None  # the refresh of another process succeeds
    assert [await fixture.call(paystar) for paystar in (fixture.clients[1], fixture.clients[0])] == ["accepted"] * 2
    assert fixture.refreshes == 3


@pytest.mark.parametrize("supports_before_send", [True, False])
async def test_refresh_after_lease_end_is_not_sent(monkeypatch: pytest.MonkeyPatch, supports_before_send: bool) -> None:
    class SlowStore(MemoryKeyStore):
        """A store that responds to ``acquire_lease`` only after the process was stopped for a while."""

        async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
            record = await super().acquire_lease(key, version, owner, ttl)
            fixture.clock.advance(stopped_seconds)
            return record

    fixture = RejectingFixture(store=SlowStore(QuickClock()))
    monkeypatch.setattr(fixture.engine, "supports_before_send", supports_before_send)
    fixture.accepts, stopped_seconds = True, lease.LEASE_SECONDS + 1

    with pytest.raises(NotSent, match="lease"):
        await fixture.clients[0].keys.refresh_application_key()

    assert fixture.refreshes == 0
    stopped_seconds = 0.0
    await fixture.clients[0].keys.refresh_application_key()
    assert fixture.refreshes == 1


async def test_auth_lost_record_is_restored_without_spent_token() -> None:
    """As after a FLUSHALL while a client has the newest pair in memory."""
    fixture = RejectingFixture()
    fixture.accepts = True
    await fixture.clients[0].keys.refresh_application_key()
    fixture.store.lose()
    await fixture.clients[0].keys.refresh_application_key()
    await wait_all_tasks_blocked()

    assert await fixture.call() == "accepted"
    assert fixture.sent_tokens == ["refresh-0", "refresh-1"]
    assert fixture.events.names == ["key_refreshed", "key_replaced", "key_refreshed"]


def test_auth_lost_record_is_restored_by_next_loop() -> None:
    """As with a client that is used in several ``asyncio.run``."""
    fixture = RejectingFixture()
    fixture.accepts = True

    async def refresh() -> None:
        await fixture.clients[0].keys.refresh_application_key()
        await fixture.clients[0].aclose()

    asyncio.run(refresh())
    fixture.store.lose()
    asyncio.run(refresh())

    assert fixture.sent_tokens == ["refresh-0", "refresh-1"]
