"""What the auth middleware makes of a refresh response, and of a server that rejects whatever key it is shown."""

import asyncio
from collections.abc import Callable
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


class Realm:
    """One of the three realms whose keys are refreshed: what its response calls things, and a call with its key."""

    def __init__(self, name: str, account: str, prefix: str, call: Callable[[Paystar], Any]) -> None:
        self.id = KeyId(name, account)
        self.token, self.expiry = f"{prefix}_key", f"{prefix}_key_expire_date"
        self.refresh_token = "refresh_inquiry_key" if prefix == "inquiry" else "refresh_token"
        self.call = call

    def refresh(self, paystar: Paystar) -> Any:
        return getattr(paystar.keys, f"refresh_{self.id.realm}_key")()


REALMS = (
    Realm("application", "app-1", "api", lambda paystar: paystar.transfers.balance(account_number="0100000000001")),
    Realm("wallet", "w123", "api", lambda paystar: paystar.wallet.settle(transfers=[PAYOUT])),
    Realm("inquiry", "w123", "inquiry", lambda paystar: paystar.wallet.balance()),
)
each_realm = pytest.mark.parametrize("realm", REALMS, ids=lambda realm: realm.id.realm)
PHP_MOMENT = {"date": "2026-11-29 10:00:00.000000", "timezone_type": 3, "timezone": "Asia/Tehran"}
ODD: tuple[object, ...] = ({}, PHP_MOMENT, [], ["x"], "", " ", True, False, 0, -5, 1.5, 2**63, None)


class Refreshing:
    """A server that answers a refresh with ``data`` and knows the one refresh token it was shown last."""

    def __init__(self, realm: Realm, data: dict[str, object]) -> None:
        self.clock = QuickClock()
        self.realm, self.data = realm, data
        self.shown: list[str] = []
        self.engine = Engine(self._play)
        self.store = MemoryKeyStore(self.clock)
        self.paystar = client(self.engine, clock=self.clock, keys=self.store, max_retries=0)

    def _play(self, sent: Sent) -> Raw:
        if sent.path.endswith(REFRESHES):
            self.shown.append(sent.fields[self.realm.refresh_token])
            return ok({self.realm.token: f"key-{len(self.shown)}", **self.data})
        return ok({"balance": 1, "total_amount": 1, "available_amount": 1})

    @property
    def bearer(self) -> str:
        return self.engine.sent[-1].bearer

    async def record(self) -> KeyRecord:
        record = await self.store.load(self.realm.id)
        assert record is not None
        return record


@each_realm
@pytest.mark.parametrize("value", ODD, ids=repr)
async def test_refresh_with_odd_expiry_counts_a_day(realm: Realm, value: object) -> None:
    at = Refreshing(realm, {realm.expiry: value, realm.refresh_token: "refresh-new"})

    await realm.refresh(at.paystar)
    await realm.call(at.paystar)

    assert at.bearer == "key-1"
    record = await at.record()
    assert record.expires_at == at.clock.time() + DAY
    await realm.refresh(at.paystar)
    assert at.shown == ["refresh-0", "refresh-new"]


@each_realm
@pytest.mark.parametrize("value", ODD, ids=repr)
async def test_refresh_with_odd_refresh_token_keeps_the_old(realm: Realm, value: object) -> None:
    at = Refreshing(realm, {realm.refresh_token: value})

    assert getattr(await realm.refresh(at.paystar), realm.refresh_token) is None
    await realm.call(at.paystar)

    assert at.bearer == "key-1"
    await realm.refresh(at.paystar)
    assert at.shown == ["refresh-0", "refresh-0"]


@each_realm
async def test_refresh_shows_odd_fields_as_they_came(realm: Realm) -> None:
    odd: dict[str, object] = {realm.expiry: {"date": "2026"}, realm.refresh_token: False, "note": [None]}
    at = Refreshing(realm, odd)

    value = await realm.refresh(at.paystar)

    assert value.extra == odd
    assert getattr(value, realm.expiry) is None
    assert getattr(value, realm.refresh_token) is None
    assert getattr(value, realm.token).reveal() == "key-1"


@each_realm
async def test_refresh_shows_what_it_could_read(realm: Realm) -> None:
    at = Refreshing(realm, {realm.expiry: "2026-01-01 12:00:00", realm.refresh_token: "refresh-new", "more": "canary"})

    value = await realm.refresh(at.paystar)

    assert getattr(value, realm.expiry) == "2026-01-01 12:00:00"
    assert getattr(value, realm.refresh_token).reveal() == "refresh-new"
    assert value.extra == {"more": "canary"}
    assert "canary" not in repr(value)
    assert "refresh-new" not in repr(value)


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("kind", [int, float])
async def test_refresh_expiry_as_a_number_is_unix_time(scale: int, kind: type[float]) -> None:
    at = Refreshing(REALMS[0], {})
    at.data[REALMS[0].expiry] = kind((at.clock.time() + 2 * HOUR) * scale)

    await REALMS[0].refresh(at.paystar)

    assert (await at.record()).expires_at == at.clock.time() + 2 * HOUR


async def test_refresh_expiry_with_blanks_is_read() -> None:
    at = Refreshing(REALMS[0], {})
    at.data[REALMS[0].expiry] = f" {tehran_time(at.clock.time() + 2 * HOUR)}\n"

    await REALMS[0].refresh(at.paystar)

    assert (await at.record()).expires_at == at.clock.time() + 2 * HOUR


@each_realm
@pytest.mark.parametrize(("key", "bearer"), [(" key-new\n", "key-new"), (12345, "12345")])
async def test_refresh_key_is_used_without_its_blanks(realm: Realm, key: object, bearer: str) -> None:
    at = Refreshing(realm, {realm.token: key, realm.refresh_token: " refresh-new\n"})

    await realm.refresh(at.paystar)
    await realm.call(at.paystar)

    assert at.bearer == bearer
    await realm.refresh(at.paystar)
    assert at.shown == ["refresh-0", "refresh-new"]


@each_realm
@pytest.mark.parametrize("key", [None, "", " ", {}, ["key"], True, 1.5, "two\nlines", "کلید"], ids=repr)
async def test_refresh_without_usable_key_keeps_the_rest(realm: Realm, key: object) -> None:
    """Nothing is known of the old refresh token; the new one, where one came, is what the next refresh needs."""
    at = Refreshing(realm, {realm.token: key, realm.refresh_token: "refresh-new"})

    with pytest.raises(InvalidResponse) as error:
        await realm.refresh(at.paystar)

    assert error.value.executed == "maybe"
    record = await at.record()
    assert record.token is not None
    assert record.token.reveal() == "key-0"
    assert record.refresh_token is not None
    assert record.refresh_token.reveal() == "refresh-new"
    assert not record.refresh_rejected
    del at.data[realm.token]
    await realm.refresh(at.paystar)
    assert at.shown == ["refresh-0", "refresh-new"]


@pytest.mark.parametrize("data", [None, [], "x", 5, [{"api_key": "key-1"}]], ids=repr)
async def test_refresh_without_data_wipes_nothing(data: object) -> None:
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


class Rejecting:
    """Clients of one store, and a server that refreshes every key and accepts none, unless configured otherwise."""

    def __init__(self, clients: int = 1, store: Any = None) -> None:
        self.clock = QuickClock()
        self.server = KeyServer(self.clock, script=self._play)
        self.server.keys["key-0"] = float("inf")
        self.accepts = False
        self.engine = Engine(self.server)
        self.told = EventRecorder()
        self.store: Any = store or LossyMemoryStore(self.clock)
        self.clients = [
            client(self.engine, clock=self.clock, keys=self.store, on_event=self.told, max_retries=0)
            for _ in range(clients)
        ]

    def _play(self, sent: Sent) -> Raw:
        return ok({"balance": 1}) if self.accepts else refused(4, "invalid token", http=400)

    @property
    def refreshes(self) -> int:
        return len(self.engine.sent_to("refresh-api-key"))

    async def ask(self, paystar: Paystar | None = None) -> str:
        try:
            await (paystar or self.clients[0]).transfers.balance(account_number="0100000000001")
        except PaystarError as error:
            return type(error).__name__
        return "accepted"


async def test_rejected_keys_cost_one_refresh_a_cooldown() -> None:
    at = Rejecting()

    ends = [await at.ask() for _ in range(150)]

    assert set(ends) == {"InvalidToken"}
    assert at.refreshes == 1
    for cooldown in range(1, 4):
        at.clock.advance(FAILURE_COOLDOWN_SECONDS)
        assert {await at.ask() for _ in range(50)} == {"InvalidToken"}
        assert at.refreshes == 1 + cooldown


async def test_rejected_keys_of_concurrent_calls_cost_one_refresh() -> None:
    at = Rejecting()

    for _ in range(3):
        assert set(await asyncio.gather(*(at.ask() for _ in range(50)))) == {"InvalidToken"}

    assert at.refreshes == 1


async def test_rejected_keys_of_many_processes_cost_one_a_cooldown() -> None:
    """One more at the start: the first key that another process refreshed may have been good for a while."""
    at = Rejecting(clients=6)

    for cooldown in range(4):
        for _ in range(10):
            ends = await asyncio.gather(*(at.ask(paystar) for paystar in at.clients))
            assert set(ends) == {"InvalidToken"}
        assert at.refreshes <= 2 + cooldown
        at.clock.advance(FAILURE_COOLDOWN_SECONDS)


async def test_accepted_key_that_is_rejected_is_refreshed_at_once() -> None:
    at = Rejecting()
    at.accepts = True
    for number in range(1, 4):
        at.server.keys.clear()  # over before its time, also right after it was issued
        assert await at.ask() == "accepted"
        assert at.refreshes == number


@pytest.mark.parametrize("was_accepted", [True, False])
async def test_rejected_key_that_a_refresh_brings_again(was_accepted: bool) -> None:
    at = Rejecting()

    async def bring_again() -> Raw:
        return ok({"api_key": "key-0"})

    at.server.before_refresh, at.accepts = bring_again, was_accepted
    await at.ask()
    at.accepts = False

    assert {await at.ask() for _ in range(50)} == {"InvalidToken"}
    assert at.refreshes == 1


async def test_key_put_in_place_ends_the_cooldown() -> None:
    at = Rejecting(clients=2)
    await at.ask()
    at.accepts = True
    at.server.keys = {"key-panel": float("inf")}

    await at.clients[1].keys.replace("application", token="key-panel")

    assert [await at.ask(paystar) for paystar in at.clients] == ["accepted"] * 2
    assert at.refreshes == 1


async def test_manual_refresh_has_no_cooldown() -> None:
    at = Rejecting()
    await at.ask()

    await at.clients[0].keys.refresh_application_key()

    assert at.refreshes == 2


async def test_refused_refresh_of_a_rejected_key_has_a_cooldown() -> None:
    at = Rejecting()
    at.server.keys.clear()

    async def refuse() -> Raw:
        return refused(7, "not allowed", http=400)

    at.server.before_refresh = refuse
    assert {await at.ask() for _ in range(50)} == {"IpNotAllowed"}
    assert at.refreshes == 1
    assert at.told.names == ["key_refresh_failed"]

    at.clock.advance(FAILURE_COOLDOWN_SECONDS)
    at.server.before_refresh, at.accepts = None, True
    assert await at.ask() == "accepted"


async def test_refused_refresh_of_an_expired_key_has_a_cooldown() -> None:
    at = Rejecting(clients=2)
    at.accepts = True
    await at.clients[0].keys.refresh_application_key()
    at.clock.advance(25 * HOUR)

    async def refuse() -> Raw:
        return refused(7, "not allowed", http=400)

    at.server.before_refresh = refuse
    assert {await at.ask() for _ in range(50)} == {"IpNotAllowed"}
    assert at.refreshes == 2

    at.server.before_refresh = None  # another process gets through meanwhile
    assert [await at.ask(paystar) for paystar in (at.clients[1], at.clients[0])] == ["accepted"] * 2
    assert at.refreshes == 3


@pytest.mark.parametrize("supports_before_send", [True, False])
async def test_refresh_whose_lease_has_ended_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, supports_before_send: bool
) -> None:
    class Slow(MemoryKeyStore):
        """A store that answers a claim only after the process was stopped for a while."""

        async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
            record = await super().acquire_lease(key, version, owner, ttl)
            at.clock.advance(stopped)
            return record

    at = Rejecting(store=Slow(QuickClock()))
    monkeypatch.setattr(at.engine, "supports_before_send", supports_before_send)
    at.accepts, stopped = True, lease.LEASE_SECONDS + 1

    with pytest.raises(NotSent, match="lease"):
        await at.clients[0].keys.refresh_application_key()

    assert at.refreshes == 0
    stopped = 0.0
    await at.clients[0].keys.refresh_application_key()
    assert at.refreshes == 1


async def test_lost_record_is_put_back_and_no_spent_token_is_sent() -> None:
    """As after a FLUSHALL under a client that holds the newest pair."""
    at = Rejecting()
    at.accepts = True
    await at.clients[0].keys.refresh_application_key()
    at.store.lose()
    await at.clients[0].keys.refresh_application_key()
    await wait_all_tasks_blocked()

    assert await at.ask() == "accepted"
    assert [one.fields["refresh_token"] for one in at.engine.sent_to("refresh-api-key")] == ["refresh-0", "refresh-1"]
    assert at.told.names == ["key_refreshed", "key_replaced", "key_refreshed"]


def test_lost_record_is_put_back_by_the_next_loop() -> None:
    """As by a client that is kept for one ``asyncio.run`` after the other."""
    at = Rejecting()
    at.accepts = True

    async def refresh() -> None:
        await at.clients[0].keys.refresh_application_key()
        await at.clients[0].aclose()

    asyncio.run(refresh())
    at.store.lose()
    asyncio.run(refresh())

    assert [one.fields["refresh_token"] for one in at.engine.sent_to("refresh-api-key")] == ["refresh-0", "refresh-1"]
