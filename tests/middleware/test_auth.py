"""The auth middleware, tested through a whole client: which key is sent, and when it is refreshed."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest

from paystar_async import Application, Gateway, Paystar, Secret, Wallet, WalletTransfer
from paystar_async.errors import (
    ConfigurationError,
    ExpiredToken,
    InvalidRefreshToken,
    InvalidToken,
    NoResponse,
    NotSent,
    PaystarError,
    ServerFault,
    StorageError,
    Unauthenticated,
)
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.models.transfers import Balance
from paystar_async.transport.decoder import INVALID_ACCESS
from tests.support import (
    ANY_DATA,
    Engine,
    EventRecorder,
    KeyServer,
    QuickClock,
    Raw,
    Reply,
    RunningClock,
    client,
    entry,
    in_turn,
    ok,
    refused,
    tehran_time,
    transfer,
    wait_all_tasks_blocked,
)

HOUR = 3600.0
REFUSED: dict[str, Raw] = {
    "4": refused(4, "invalid token"),
    "5": refused(5, "expired token", http=400),
    "unauthenticated": refused("unauthenticated", "no", http=401),
    "Persian": refused(0, INVALID_ACCESS, http=400),
    "HTTP 401 of a framework": (401, {}, b'{"message": "Unauthenticated."}'),
    "HTTP 401 with a page": (401, {}, b"<html>no"),
    "Persian without a status": (400, {}, f'{{"message": "{INVALID_ACCESS}"}}'.encode()),
}
KEYLESS = Application(id="app-1", access_password="pass-app", refresh_token="refresh-0")
PAYOUT = WalletTransfer(
    amount=1, destination_number="IR" + "0" * 24, destination_firstname="A", destination_lastname="B", track_id="t-1"
)


async def balance(paystar: Paystar, timeout: float | None = None) -> Balance:
    return await paystar.transfers.balance(account_number="0100000000001", timeout=timeout)


async def settle(paystar: Paystar) -> object:
    return await paystar.transfers.settle(transfers=[transfer("t-1")])


class Setting:
    """A client without retries, its engine and the server behind it."""

    def __init__(
        self, *, clock: Any = None, store: Any = None, account: Application | None = None, **server: Any
    ) -> None:
        self.clock: Any = clock or QuickClock()
        self.server = KeyServer(self.clock, **server)
        self.engine = Engine(self.server)
        self.told = EventRecorder()
        self.store = store or MemoryKeyStore(self.clock)
        options: dict[str, Any] = {"application": account} if account else {}
        self.paystar = client(
            self.engine, clock=self.clock, keys=self.store, on_event=self.told, max_retries=0, **options
        )

    @property
    def asked(self) -> int:
        """How often the server was asked for a new key."""
        return len(self.engine.sent_to("refresh-api-key")) + len(self.engine.sent_to("refresh-inquiry-key"))

    @property
    def shown(self) -> list[str]:
        """The keys that were shown for the balance."""
        return [one.bearer for one in self.engine.sent_to("service/balance")]

    async def stored(self) -> KeyRecord:
        record = await self.store.load(KeyId("application", "app-1"))
        assert record is not None
        return record

    async def aged(self, hours: float) -> None:
        """Have a key of a known age: ``key-1``."""
        await self.paystar.keys.refresh_application_key()
        self.clock.advance(hours * HOUR)


async def test_auth_realm_sends_its_own_key() -> None:
    engine = Engine(lambda _: ok(ANY_DATA))
    paystar = client(
        engine,
        application=Application(id="a", access_password="p", api_key="application-key"),
        gateway=Gateway(id="gateway-id"),
        wallet=Wallet(hashid="w", password="p", sign_key="s", api_key="pay-key", inquiry_key="look-key"),
    )

    await balance(paystar)
    await paystar.gateway.inquiry(ref_num="r")
    await paystar.wallet.balance()
    await paystar.wallet.settle(transfers=[PAYOUT])

    assert [one.bearer for one in engine.sent] == ["application-key", "gateway-id", "look-key", "pay-key"]


async def test_auth_refreshes_each_key_at_its_own_endpoint() -> None:
    at = Setting(rotates_refresh_token=False)
    at.server.keys.clear()

    await balance(at.paystar)
    await at.paystar.wallet.balance()
    await at.paystar.wallet.settle(transfers=[PAYOUT])

    renewals = [one for one in at.engine.sent if "refresh" in one.path]
    assert [one.path for one in renewals] == [
        "/open-banking/application/refresh-api-key",
        "/wallet/refresh-inquiry-key",
        "/wallet/refresh-api-key",
    ]
    assert [one.fields.get("refresh_token", one.fields.get("refresh_inquiry_key")) for one in renewals] == [
        "refresh-0"
    ] * 3
    assert [one.bearer for one in renewals] == ["", "", ""]
    for realm, account in [("application", "app-1"), ("inquiry", "w123"), ("wallet", "w123")]:
        assert await at.store.load(KeyId(realm, account)) is not None


async def test_auth_account_without_key_names_variables() -> None:
    engine = Engine(in_turn(ok()))

    with pytest.raises(ConfigurationError, match="PAYSTAR_REFRESH_TOKEN"):
        await balance(client(engine, application=Application(id="a", access_password="p")))

    assert engine.sent == []


async def test_auth_first_call_without_key_refreshes() -> None:
    at = Setting(account=KEYLESS)

    await balance(at.paystar)

    assert (at.asked, at.shown) == (1, ["key-1"])


async def test_auth_key_of_unknown_age_is_used_until_rejected() -> None:
    at = Setting()
    for _ in range(3):
        await balance(at.paystar)
        at.clock.advance(24 * HOUR)
    assert at.asked == 0

    at.server.keys.clear()
    await balance(at.paystar)

    assert at.shown == ["key-0"] * 4 + ["key-1"]


@pytest.mark.parametrize("kind", REFUSED)
async def test_auth_rejected_key_is_refreshed_and_call_repeated(kind: str) -> None:
    at = Setting(rejection=REFUSED[kind])
    at.server.keys.clear()

    await balance(at.paystar)

    assert at.shown == ["key-0", "key-1"]
    assert at.told.names == ["key_refreshed"]


@pytest.mark.parametrize("kind", REFUSED)
async def test_auth_key_rejected_twice_raises(kind: str) -> None:
    at = Setting(script=in_turn(REFUSED[kind]))

    with pytest.raises((InvalidToken, ExpiredToken, Unauthenticated)) as error:
        await balance(at.paystar)

    assert error.value.executed == "no"
    assert (at.asked, at.shown) == (1, ["key-0", "key-1"])


@pytest.mark.parametrize("kind", REFUSED)
async def test_auth_settle_with_rejected_key_is_sent_again(kind: str) -> None:
    at = Setting(script=in_turn(ok(entry("t-1"), status="ok")), rejection=REFUSED[kind])
    at.server.keys.clear()

    await settle(at.paystar)

    assert [one.bearer for one in at.engine.sent_to("settlement")] == ["key-0", "key-1"]


@pytest.mark.parametrize("http", [302, 408, 429, 500, 502, 503])
async def test_auth_settle_rejected_with_server_error_is_not_resent(http: int) -> None:
    at = Setting(script=in_turn(refused(4, "invalid token", http=http)))

    with pytest.raises(InvalidToken) as error:
        await settle(at.paystar)

    assert error.value.executed == "maybe"
    assert len(at.engine.sent_to("settlement")) == 1


async def test_auth_settle_without_response_is_not_sent_again() -> None:
    at = Setting(script=in_turn(refused(4), NoResponse("reset"), ok(entry("t-1"))))

    with pytest.raises(NoResponse) as error:
        await settle(at.paystar)

    assert error.value.executed == "maybe"
    assert len(at.engine.sent_to("settlement")) == 2


async def test_auth_gateway_id_is_never_refreshed() -> None:
    engine = Engine(in_turn(refused("unauthenticated", http=401)))

    with pytest.raises(Unauthenticated):
        await client(engine).gateway.inquiry(ref_num="r")

    assert len(engine.sent) == 1


async def test_auth_rejected_key_without_refresh_token_raises() -> None:
    at = Setting(account=Application(id="app-1", access_password="p", api_key="key-0"))
    at.server.keys.clear()

    with pytest.raises(InvalidToken):
        await balance(at.paystar)

    assert at.shown == ["key-0"]


async def test_auth_call_with_fresh_key_reads_no_store() -> None:
    class Counting(MemoryKeyStore):
        asked = 0

        async def load(self, key: KeyId) -> KeyRecord | None:
            self.asked += 1
            return await super().load(key)

    store = Counting()
    at = Setting(store=store)
    await at.aged(hours=0)
    before = store.asked

    for _ in range(20):
        await balance(at.paystar)
        at.clock.advance(2)

    assert store.asked == before


async def test_auth_key_after_half_its_life_refreshes_in_background() -> None:
    at, go = Setting(), asyncio.Event()

    await at.aged(hours=11.9)
    await balance(at.paystar)
    assert at.asked == 1
    at.server.before_refresh = _until(go)
    at.clock.advance(2.6 * HOUR)

    for _ in range(5):
        await balance(at.paystar)
    await wait_all_tasks_blocked()
    assert (at.asked, at.shown) == (2, ["key-1"] * 6)

    go.set()
    await wait_all_tasks_blocked()
    await balance(at.paystar)
    assert (at.asked, at.shown[-1]) == (2, "key-2")


async def test_auth_key_near_expiry_is_refreshed_before_call() -> None:
    at = Setting()
    await at.aged(hours=23.6)

    await balance(at.paystar)

    assert (at.asked, at.shown) == (2, ["key-2"])


@pytest.mark.parametrize("reply", [NoResponse("reset"), NotSent("no connection"), refused(0), refused(3)])
async def test_auth_failed_refresh_with_valid_key_backs_off(
    reply: Reply,
) -> None:
    at = Setting()
    await at.aged(hours=23.6)
    at.server.before_refresh = _always(reply)

    for _ in range(20):
        await balance(at.paystar)
        at.clock.advance(1)

    assert at.shown == ["key-1"] * 20
    assert 2 <= at.asked - 1 <= 3
    assert set(at.told.names[1:]) == {"key_refresh_failed"}


def _until(go: anyio.Event | asyncio.Event) -> Callable[[], Any]:
    async def wait() -> None:
        await go.wait()

    return wait


def _always(reply: Reply) -> Callable[[], Any]:
    async def answer() -> Reply:
        return reply

    return answer


async def test_auth_hanging_refresh_with_valid_key_blocks_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("paystar_async.keys.refresher.REFRESH_WAIT_SECONDS", 0.0)
    at, go = Setting(), asyncio.Event()
    await at.aged(hours=23.6)
    at.server.before_refresh = _until(go)

    for _ in range(3):
        await balance(at.paystar)

    assert at.shown == ["key-1"] * 3
    assert at.asked == 2
    go.set()
    await at.paystar.aclose()


async def test_auth_expired_key_and_failed_refresh_raises_not_sent() -> None:
    at = Setting()
    await at.aged(hours=25)
    at.server.before_refresh = _always(NoResponse("reset"))

    with pytest.raises(NotSent, match="could not be refreshed") as error:
        await settle(at.paystar)

    assert error.value.executed == "no"
    assert at.engine.sent_to("settlement") == []


@pytest.mark.parametrize(("reply", "kind"), [(NoResponse("reset"), NoResponse), (refused(0), ServerFault)])
async def test_refresh_by_hand_without_response_says_maybe(reply: Reply, kind: type[PaystarError]) -> None:
    at = Setting(before_refresh=_always(reply))

    with pytest.raises(kind) as error:
        await at.paystar.keys.refresh_application_key()

    assert error.value.executed == "maybe"
    assert at.asked == 1


async def test_refresh_by_hand_returns_new_key() -> None:
    at = Setting()

    renewed = await at.paystar.keys.refresh_application_key()
    inquiry = await Setting().paystar.keys.refresh_inquiry_key()

    assert renewed.api_key.reveal() == "key-1"
    assert inquiry.inquiry_key.reveal() == "key-1"
    assert "key-1" not in repr(renewed)
    await balance(at.paystar)
    assert at.shown == ["key-1"]


async def test_refresh_by_hand_without_refresh_token_raises() -> None:
    at = Setting(account=Application(id="app-1", access_password="p", api_key="key-0"))

    with pytest.raises(ConfigurationError, match="has no refresh token"):
        await at.paystar.keys.refresh_application_key()

    assert at.engine.sent == []


async def test_refresh_by_hand_concurrently_is_one_request() -> None:
    at = Setting()

    renewed = await asyncio.gather(*[at.paystar.keys.refresh_application_key() for _ in range(10)])

    assert at.asked == 1
    assert {one.api_key.reveal() for one in renewed} == {"key-1"}


@pytest.mark.parametrize("state", ["none", "dying", "dead", "refused"])
async def test_auth_hundred_callers_cost_one_refresh(state: str) -> None:
    at = Setting(account=KEYLESS if state == "none" else None)
    if state in ("dying", "dead"):
        await at.aged(hours=23.6 if state == "dying" else 25)
    if state == "refused":
        at.server.keys.clear()
    before = at.asked

    await asyncio.gather(*[balance(at.paystar) for _ in range(100)])

    assert at.asked - before == 1
    assert at.server.refreshes == at.asked


async def test_auth_clients_sharing_a_store_refresh_once() -> None:
    store = MemoryKeyStore()
    first = Setting(store=store, clock=RunningClock())
    second = client(first.engine, clock=first.clock, keys=store, max_retries=0)
    first.server.keys.clear()

    async with first.clock.running():
        await asyncio.gather(*[balance(one) for one in (first.paystar, second) for _ in range(20)])

    assert first.asked == 1
    assert set(first.shown) == {"key-0", "key-1"}


@pytest.mark.parametrize("way", ["task", "timeout", "scope"])
@pytest.mark.parametrize("state", ["dead", "refused", "by hand"])
async def test_auth_cancelled_caller_loses_no_refresh(way: str, state: str) -> None:
    for trial in range(60):
        dice = Random(trial)
        pauses = {name: dice.randrange(12) for name in ("before", "after", "cancel")}

        at = Setting(before_refresh=_after(pauses["before"]), after_refresh=_after(pauses["after"]))
        if state == "dead":
            await at.store.commit(KeyId("application", "app-1"), 0, "", KeyRecord(refresh_token=Secret("refresh-0")))
        if state == "refused":
            at.server.keys.clear()
        call = at.paystar.keys.refresh_application_key if state == "by hand" else lambda at=at: balance(at.paystar)
        await _cancelled(way, call, pauses["cancel"])
        await at.paystar.aclose()

        record = await at.store.load(KeyId("application", "app-1"))
        if at.server.refreshes:
            assert record is not None
            assert _pair(record) == (f"key-{at.server.refreshes}", at.server.refresh_token)
        assert record is None or record.lease_owner is None
        assert at.told.names in ([], ["key_refreshed"])
        await balance(at.paystar)


def _pair(record: KeyRecord) -> tuple[str | None, str | None]:
    token, refresh_token = record.token, record.refresh_token
    return token.reveal() if token else None, refresh_token.reveal() if refresh_token else None


def _after(rounds: int) -> Callable[[], Any]:
    async def wait() -> None:
        await wait_all_tasks_blocked(rounds)

    return wait


async def _cancelled(way: str, call: Callable[[], Any], rounds: int) -> None:
    """Make a call and cancel it after ``turns`` turns of the loop."""

    async def run() -> None:
        if way == "timeout":
            async with asyncio.timeout(None) as scope:
                asyncio.get_running_loop().call_soon(_later, rounds, lambda: scope.reschedule(0))
                await call()
        else:
            with anyio.CancelScope() as scope:
                if way == "scope":
                    asyncio.get_running_loop().call_soon(_later, rounds, scope.cancel)
                await call()

    task = asyncio.create_task(run())
    if way == "task":
        await wait_all_tasks_blocked(rounds)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _later(rounds: int, do: Callable[[], object]) -> None:
    if rounds:
        asyncio.get_running_loop().call_soon(_later, rounds - 1, do)
    else:
        do()


async def test_auth_key_expires_at_tehran_time_of_response() -> None:
    at = Setting(key_lifetime=2 * HOUR)

    await at.aged(hours=0)

    record = await at.stored()
    assert record.expires_at == int(at.clock.time() + 2 * HOUR)
    assert tehran_time(0) == "1970-01-01 03:30:00"
    at.clock.advance(1.95 * HOUR)
    await balance(at.paystar)
    assert at.shown == ["key-2"]


@pytest.mark.parametrize(
    "expiry",
    [None, "", "soon", "2026-13-40 00:00:00", "1404-10-11 03:30:00", "1999-01-01 00:00:00", "2099-01-01 00:00:00"],
)
async def test_auth_invalid_expiry_counts_as_a_day(expiry: str | None) -> None:
    data = {"api_key": "key-1"} | ({} if expiry is None else {"api_key_expire_date": expiry})
    at = Setting(before_refresh=_always(ok(data)))

    await at.paystar.keys.refresh_application_key()

    assert (await at.stored()).expires_at == at.clock.time() + 24 * HOUR


@pytest.mark.parametrize("hours", [24, -24, 240, -240])
async def test_auth_wall_clock_jump_causes_no_refresh_storm(hours: float) -> None:
    at = Setting()
    await at.aged(hours=1)
    at.server.keys = dict.fromkeys((f"key-{n}" for n in range(9)), float("inf"))
    at.server.clock = QuickClock()  # its clock is right, ours has jumped
    at.server.clock.advance(HOUR)

    at.clock.jump(hours * HOUR)
    for _ in range(100):
        await balance(at.paystar)
        at.clock.advance(0.05 * HOUR)

    assert at.asked == 1

    for _ in range(100):
        at.clock.advance(0.5 * HOUR)
        at.server.clock.advance(0.5 * HOUR)
        await balance(at.paystar)
        await wait_all_tasks_blocked(5)
    assert at.asked <= 8


async def test_auth_rejected_refresh_token_is_marked_once() -> None:
    at = Setting()
    await at.aged(hours=15)
    at.server.refresh_token = "rotated elsewhere"

    for _ in range(30):
        await balance(at.paystar)
        await wait_all_tasks_blocked(5)
        at.clock.advance(60)

    record = await at.stored()
    assert record.refresh_rejected
    assert record.token is not None
    assert at.told.names.count("refresh_token_rejected") == 1
    assert at.asked == 2
    assert set(at.shown) == {"key-1"}

    at.clock.advance(24 * HOUR)
    with pytest.raises(InvalidRefreshToken) as error:
        await balance(at.paystar)
    assert error.value.executed == "no"
    assert "keys.replace" in error.value.hint
    assert at.asked == 2


async def test_keys_replace_repairs_rejected_refresh_token() -> None:
    at = Setting()
    at.server.keys.clear()
    at.server.refresh_token = "rotated elsewhere"
    with pytest.raises(InvalidRefreshToken):
        await balance(at.paystar)

    at.server.keys["key-new"] = float("inf")
    await at.paystar.keys.replace("application", token="key-new", refresh_token="rotated elsewhere")
    await balance(at.paystar)

    assert at.shown[-1] == "key-new"
    assert at.told.names == ["refresh_token_rejected", "key_replaced"]
    assert not (await at.stored()).refresh_rejected
    at.server.keys.clear()
    await balance(at.paystar)
    assert at.shown[-1] == "key-1"


async def test_auth_refresh_lost_to_faster_process_uses_its_key() -> None:
    at = Setting(clock=RunningClock())
    at.server.keys.clear()

    async def overtaken() -> Reply:
        # Another host, whose claim this one never saw, stores the pair it got.
        at.server.refresh_token = "refresh-9"
        at.server.keys["key-9"] = float("inf")
        record = await at.stored()
        new = KeyRecord(token=Secret("key-9"), refresh_token=Secret("refresh-9"))
        await at.store.commit(KeyId("application", "app-1"), record.version, "other", new)
        return refused(13)

    at.server.before_refresh = overtaken
    async with at.clock.running():
        await balance(at.paystar)

    assert at.shown == ["key-0", "key-9"]
    assert at.told.names == ["key_reloaded"]
    assert not (await at.stored()).refresh_rejected


async def test_auth_unavailable_store_uses_key_in_memory() -> None:
    store = Failing()
    at = Setting(store=store)
    await at.aged(hours=15)
    store.down = True

    for _ in range(5):
        await balance(at.paystar)
        await wait_all_tasks_blocked(5)
    assert at.asked == 1

    at.clock.advance(10 * HOUR)
    with pytest.raises(StorageError):
        await balance(at.paystar)
    assert at.asked == 1

    store.down = False
    await balance(at.paystar)
    assert at.shown[-1] == "key-2"


class Failing(MemoryKeyStore):
    """A store that can be down."""

    down = False
    fails_to_commit = False

    async def load(self, key: KeyId) -> KeyRecord | None:
        if self.down:
            raise StorageError("the store is down")
        return await super().load(key)

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        if self.down:
            raise StorageError("the store is down")
        return await super().acquire_lease(key, version, owner, ttl)

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
        if self.down or self.fails_to_commit:
            raise StorageError("the store is down")
        return await super().commit(key, version, owner, new)


async def test_auth_unstored_pair_is_used_and_stored_later() -> None:
    store = Failing()
    at = Setting(store=store, clock=RunningClock())
    at.server.keys.clear()

    async def goes_down() -> None:
        store.fails_to_commit = True

    at.server.after_refresh = goes_down
    await balance(at.paystar)
    await balance(at.paystar)
    assert at.shown == ["key-0", "key-1", "key-1"]
    assert at.told.names == ["key_refresh_failed"]

    store.fails_to_commit = False
    async with at.clock.running():
        await wait_all_tasks_blocked(200)

    assert _pair(await at.stored()) == ("key-1", "refresh-1")
    assert at.told.names == ["key_refresh_failed", "key_refreshed"]
    await at.paystar.aclose()


async def test_auth_unstored_pair_is_kept_over_stored_old_one() -> None:
    store = Failing()
    at = Setting(store=store)
    await balance(at.paystar)
    store.fails_to_commit = True
    at.server.keys.clear()
    await balance(at.paystar)
    assert at.shown[-1] == "key-1"

    at.server.keys.clear()  # now the pair that is only in memory is needed again
    with pytest.raises(StorageError):
        await balance(at.paystar)
    assert at.shown.count("key-0") == 2
    assert at.asked == 1

    store.fails_to_commit = False
    await balance(at.paystar)
    assert at.shown[-1] == "key-2"
    assert _pair(await at.stored()) == ("key-2", "refresh-2")
    await at.paystar.aclose()


async def test_keys_replace_during_refresh_keeps_rotated_token() -> None:
    at, go = Setting(), asyncio.Event()
    at.server.keys.clear()

    at.server.after_refresh = _until(go)
    call = asyncio.create_task(balance(at.paystar))
    await wait_all_tasks_blocked()
    at.server.keys["key-panel"] = float("inf")
    await at.paystar.keys.replace("application", token="key-panel")
    go.set()
    await call

    assert _pair(await at.stored()) == ("key-panel", "refresh-1")


async def test_auth_refresh_survives_lease_taken_over() -> None:
    at, go = Setting(), asyncio.Event()
    at.server.keys.clear()

    at.server.after_refresh = _until(go)
    call = asyncio.create_task(balance(at.paystar))
    await wait_all_tasks_blocked()
    at.server.keys["key-1"] = float("inf")
    at.clock.jump(24 * HOUR)  # the lease looks long over
    record = await at.stored()
    assert await at.store.acquire_lease(KeyId("application", "app-1"), record.version, "another host", 60) is not None
    go.set()
    await call

    assert _pair(await at.stored()) == ("key-1", "refresh-1")


async def test_auth_foreign_store_error_is_named_and_key_used() -> None:
    class Odd(Failing):
        async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
            raise RuntimeError("a bug in a store")

    at = Setting(store=Odd())
    with pytest.raises(NoResponse, match="RuntimeError"):
        await at.paystar.keys.refresh_application_key()

    await balance(at.paystar)
    at.server.keys.clear()
    with pytest.raises(NotSent, match="RuntimeError"):
        await balance(at.paystar)


async def test_auth_timeout_during_refresh_raises_not_sent() -> None:
    at, go = Setting(account=KEYLESS), asyncio.Event()

    at.server.before_refresh = _until(go)
    with pytest.raises(NotSent, match="the timeout expired"):
        await balance(at.paystar, timeout=0.01)
    with pytest.raises(NoResponse, match="goes on") as error:
        await at.paystar.keys.refresh_application_key(timeout=0.01)
    assert error.value.executed == "maybe"

    go.set()
    await at.paystar.aclose()
    assert at.asked == 1
    await balance(at.paystar)
    assert at.shown == ["key-1"]


def test_auth_refresh_and_cancellation_work_on_trio() -> None:
    async def play() -> None:
        at, go = Setting(account=KEYLESS), anyio.Event()

        at.server.after_refresh = _until(go)
        async with anyio.create_task_group() as group:
            group.start_soon(balance, at.paystar)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        go.set()
        await at.paystar.aclose()

        assert _pair(await at.stored()) == ("key-1", "refresh-1")
        await balance(at.paystar)
        assert at.asked == 1

    anyio.run(play, backend="trio")
