"""The auth middleware, tested through a whole client: which key is sent, and when it is refreshed."""

import asyncio
from collections.abc import Awaitable, Callable
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
KEY = KeyId("application", "app-1")
REJECTIONS: dict[str, Raw] = {
    "4": refused(4, "invalid token"),
    "5": refused(5, "expired token", http=400),
    "unauthenticated": refused("unauthenticated", "no", http=401),
    "Persian": refused(0, INVALID_ACCESS, http=400),
    "HTTP 401 of a framework": (401, {}, b'{"message": "Unauthenticated."}'),
    "HTTP 401 with a page": (401, {}, b"<html>no"),
    "Persian without a status": (400, {}, f'{{"message": "{INVALID_ACCESS}"}}'.encode()),
}
APPLICATION_WITHOUT_KEY = Application(id="app-1", access_password="pass-app", refresh_token="refresh-0")
PAYOUT = WalletTransfer(
    amount=1, destination_number="IR" + "0" * 24, destination_firstname="A", destination_lastname="B", track_id="t-1"
)


async def balance(paystar: Paystar, timeout: float | None = None) -> Balance:
    return await paystar.transfers.balance(account_number="0100000000001", timeout=timeout)


async def settle(paystar: Paystar) -> object:
    return await paystar.transfers.settle(transfers=[transfer("t-1")])


async def wallet_settle(paystar: Paystar) -> object:
    return await paystar.wallet.settle(transfers=[PAYOUT])


async def wallet_balance(paystar: Paystar) -> object:
    return await paystar.wallet.balance()


class AuthFixture:
    """A client without retries, its engine, its key store and the server."""

    def __init__(
        self, *, clock: Any = None, store: Any = None, account: Application | None = None, **server: Any
    ) -> None:
        self.clock: Any = clock or QuickClock()
        self.server = KeyServer(self.clock, **server)
        self.engine = Engine(self.server)
        self.events = EventRecorder()
        self.store = store or MemoryKeyStore(self.clock)
        options: dict[str, Any] = {"application": account} if account else {}
        self.paystar = client(
            self.engine, clock=self.clock, keys=self.store, on_event=self.events, max_retries=0, **options
        )

    @property
    def refresh_requests(self) -> int:
        """Return the number of refresh requests of all realms."""
        return len(self.engine.sent_to("refresh-api-key")) + len(self.engine.sent_to("refresh-inquiry-key"))

    @property
    def sent_keys(self) -> list[str]:
        """Return the keys of the balance requests."""
        return [sent.bearer for sent in self.engine.sent_to("service/balance")]

    async def stored_record(self) -> KeyRecord:
        record = await self.store.load(KEY)
        assert record is not None
        return record

    async def age_key(self, hours: float) -> None:
        """Refresh the key to ``key-1`` and let it age."""
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

    assert [sent.bearer for sent in engine.sent] == ["application-key", "gateway-id", "look-key", "pay-key"]


async def test_auth_refreshes_each_key_at_its_own_endpoint() -> None:
    fixture = AuthFixture(rotates_refresh_token=False)
    fixture.server.keys.clear()

    await balance(fixture.paystar)
    await fixture.paystar.wallet.balance()
    await fixture.paystar.wallet.settle(transfers=[PAYOUT])

    refreshes = [sent for sent in fixture.engine.sent if "refresh" in sent.path]
    assert [sent.path for sent in refreshes] == [
        "/open-banking/application/refresh-api-key",
        "/wallet/refresh-inquiry-key",
        "/wallet/refresh-api-key",
    ]
    assert [sent.fields.get("refresh_token", sent.fields.get("refresh_inquiry_key")) for sent in refreshes] == [
        "refresh-0"
    ] * 3
    assert [sent.bearer for sent in refreshes] == ["", "", ""]
    for realm, account in [("application", "app-1"), ("inquiry", "w123"), ("wallet", "w123")]:
        assert await fixture.store.load(KeyId(realm, account)) is not None


@pytest.mark.parametrize(
    ("call", "variables"),
    [
        (balance, ("PAYSTAR_REFRESH_TOKEN", "PAYSTAR_API_KEY")),
        (wallet_settle, ("PAYSTAR_WALLET_REFRESH_TOKEN", "PAYSTAR_WALLET_API_KEY")),
        (wallet_balance, ("PAYSTAR_REFRESH_INQUIRY_KEY", "PAYSTAR_INQUIRY_KEY")),
    ],
)
async def test_auth_account_without_key_names_variables(
    call: Callable[[Paystar], Awaitable[object]], variables: tuple[str, str]
) -> None:
    application, wallet = Application(id="a", access_password="p"), Wallet(hashid="w", password="p", sign_key="s")
    paystar = client(engine := Engine(in_turn(ok())), application=application, wallet=wallet)

    with pytest.raises(ConfigurationError) as error:
        await call(paystar)

    assert all(variable in error.value.hint for variable in variables)
    assert engine.sent == []


async def test_auth_first_call_without_key_refreshes() -> None:
    fixture = AuthFixture(account=APPLICATION_WITHOUT_KEY)

    await balance(fixture.paystar)

    assert (fixture.refresh_requests, fixture.sent_keys) == (1, ["key-1"])


async def test_auth_key_of_unknown_age_is_used_until_rejected() -> None:
    fixture = AuthFixture()
    for _ in range(3):
        await balance(fixture.paystar)
        fixture.clock.advance(24 * HOUR)
    assert fixture.refresh_requests == 0

    fixture.server.keys.clear()
    await balance(fixture.paystar)

    assert fixture.sent_keys == ["key-0"] * 4 + ["key-1"]


@pytest.mark.parametrize("kind", REJECTIONS)
async def test_auth_rejected_key_is_refreshed_and_call_repeated(kind: str) -> None:
    fixture = AuthFixture(rejection=REJECTIONS[kind])
    fixture.server.keys.clear()

    await balance(fixture.paystar)

    assert fixture.sent_keys == ["key-0", "key-1"]
    assert fixture.events.names == ["key_refreshed"]


@pytest.mark.parametrize("kind", REJECTIONS)
async def test_auth_key_rejected_twice_raises(kind: str) -> None:
    fixture = AuthFixture(script=in_turn(REJECTIONS[kind]))

    with pytest.raises((InvalidToken, ExpiredToken, Unauthenticated)) as error:
        await balance(fixture.paystar)

    assert error.value.executed == "no"
    assert (fixture.refresh_requests, fixture.sent_keys) == (1, ["key-0", "key-1"])


@pytest.mark.parametrize("kind", REJECTIONS)
async def test_auth_settle_with_rejected_key_is_sent_again(kind: str) -> None:
    fixture = AuthFixture(script=in_turn(ok(entry("t-1"), status="ok")), rejection=REJECTIONS[kind])
    fixture.server.keys.clear()

    await settle(fixture.paystar)

    assert [sent.bearer for sent in fixture.engine.sent_to("settlement")] == ["key-0", "key-1"]


@pytest.mark.parametrize("http", [302, 408, 429, 500, 502, 503])
async def test_auth_settle_rejected_with_server_error_is_not_resent(http: int) -> None:
    fixture = AuthFixture(script=in_turn(refused(4, "invalid token", http=http)))

    with pytest.raises(InvalidToken) as error:
        await settle(fixture.paystar)

    assert error.value.executed == "maybe"
    assert len(fixture.engine.sent_to("settlement")) == 1


async def test_auth_settle_without_response_is_not_sent_again() -> None:
    fixture = AuthFixture(script=in_turn(refused(4), NoResponse("reset"), ok(entry("t-1"))))

    with pytest.raises(NoResponse) as error:
        await settle(fixture.paystar)

    assert error.value.executed == "maybe"
    assert len(fixture.engine.sent_to("settlement")) == 2


async def test_auth_gateway_id_is_never_refreshed() -> None:
    engine = Engine(in_turn(refused("unauthenticated", http=401)))

    with pytest.raises(Unauthenticated):
        await client(engine).gateway.inquiry(ref_num="r")

    assert len(engine.sent) == 1


async def test_auth_rejected_key_without_refresh_token_raises() -> None:
    fixture = AuthFixture(account=Application(id="app-1", access_password="p", api_key="key-0"))
    fixture.server.keys.clear()

    with pytest.raises(InvalidToken):
        await balance(fixture.paystar)

    assert fixture.sent_keys == ["key-0"]


async def test_auth_call_with_fresh_key_reads_no_store() -> None:
    class CountingStore(MemoryKeyStore):
        loads = 0

        async def load(self, key: KeyId) -> KeyRecord | None:
            self.loads += 1
            return await super().load(key)

    store = CountingStore()
    fixture = AuthFixture(store=store)
    await fixture.age_key(hours=0)
    loads_before = store.loads

    for _ in range(20):
        await balance(fixture.paystar)
        fixture.clock.advance(2)

    assert store.loads == loads_before


async def test_auth_key_after_half_its_life_refreshes_in_background() -> None:
    fixture, may_continue = AuthFixture(), asyncio.Event()

    await fixture.age_key(hours=11.9)
    await balance(fixture.paystar)
    assert fixture.refresh_requests == 1
    fixture.server.before_refresh = _wait_for(may_continue)
    fixture.clock.advance(2.6 * HOUR)

    for _ in range(5):
        await balance(fixture.paystar)
    await wait_all_tasks_blocked()
    assert (fixture.refresh_requests, fixture.sent_keys) == (2, ["key-1"] * 6)

    may_continue.set()
    await wait_all_tasks_blocked()
    await balance(fixture.paystar)
    assert (fixture.refresh_requests, fixture.sent_keys[-1]) == (2, "key-2")


async def test_auth_key_near_expiry_is_refreshed_before_call() -> None:
    fixture = AuthFixture()
    await fixture.age_key(hours=23.6)

    await balance(fixture.paystar)

    assert (fixture.refresh_requests, fixture.sent_keys) == (2, ["key-2"])


@pytest.mark.parametrize("reply", [NoResponse("reset"), NotSent("no connection"), refused(0), refused(3)])
async def test_auth_failed_refresh_with_valid_key_backs_off(
    reply: Reply,
) -> None:
    fixture = AuthFixture()
    await fixture.age_key(hours=23.6)
    fixture.server.before_refresh = _always(reply)

    for _ in range(20):
        await balance(fixture.paystar)
        fixture.clock.advance(1)

    assert fixture.sent_keys == ["key-1"] * 20
    assert 2 <= fixture.refresh_requests - 1 <= 3
    assert set(fixture.events.names[1:]) == {"key_refresh_failed"}


def _wait_for(event: anyio.Event | asyncio.Event) -> Callable[[], Any]:
    async def wait() -> None:
        await event.wait()

    return wait


def _always(reply: Reply) -> Callable[[], Any]:
    async def respond() -> Reply:
        return reply

    return respond


async def test_auth_hanging_refresh_with_valid_key_blocks_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("paystar_async.keys.refresher.REFRESH_WAIT_SECONDS", 0.0)
    fixture, may_continue = AuthFixture(), asyncio.Event()
    await fixture.age_key(hours=23.6)
    fixture.server.before_refresh = _wait_for(may_continue)

    for _ in range(3):
        await balance(fixture.paystar)

    assert fixture.sent_keys == ["key-1"] * 3
    assert fixture.refresh_requests == 2
    may_continue.set()
    await fixture.paystar.aclose()


async def test_auth_expired_key_and_failed_refresh_raises_not_sent() -> None:
    fixture = AuthFixture()
    await fixture.age_key(hours=25)
    fixture.server.before_refresh = _always(NoResponse("reset"))

    with pytest.raises(NotSent, match="could not be refreshed") as error:
        await settle(fixture.paystar)

    assert error.value.executed == "no"
    assert fixture.engine.sent_to("settlement") == []


@pytest.mark.parametrize(("reply", "kind"), [(NoResponse("reset"), NoResponse), (refused(0), ServerFault)])
async def test_manual_refresh_without_response_is_maybe_executed(reply: Reply, kind: type[PaystarError]) -> None:
    fixture = AuthFixture(before_refresh=_always(reply))

    with pytest.raises(kind) as error:
        await fixture.paystar.keys.refresh_application_key()

    assert error.value.executed == "maybe"
    assert fixture.refresh_requests == 1


async def test_manual_refresh_returns_new_key() -> None:
    fixture = AuthFixture()

    new_keys = await fixture.paystar.keys.refresh_application_key()
    inquiry = await AuthFixture().paystar.keys.refresh_inquiry_key()

    assert new_keys.api_key.reveal() == "key-1"
    assert inquiry.inquiry_key.reveal() == "key-1"
    assert "key-1" not in repr(new_keys)
    await balance(fixture.paystar)
    assert fixture.sent_keys == ["key-1"]


async def test_manual_refresh_without_refresh_token_raises() -> None:
    fixture = AuthFixture(account=Application(id="app-1", access_password="p", api_key="key-0"))

    with pytest.raises(ConfigurationError, match="has no refresh token"):
        await fixture.paystar.keys.refresh_application_key()

    assert fixture.engine.sent == []


async def test_manual_refresh_concurrently_is_one_request() -> None:
    fixture = AuthFixture()

    new_keys = await asyncio.gather(*[fixture.paystar.keys.refresh_application_key() for _ in range(10)])

    assert fixture.refresh_requests == 1
    assert {new_key.api_key.reveal() for new_key in new_keys} == {"key-1"}


@pytest.mark.parametrize("state", ["missing", "expiring", "expired", "rejected"])
async def test_auth_hundred_callers_share_one_refresh(state: str) -> None:
    fixture = AuthFixture(account=APPLICATION_WITHOUT_KEY if state == "missing" else None)
    if state in ("expiring", "expired"):
        await fixture.age_key(hours=23.6 if state == "expiring" else 25)
    if state == "rejected":
        fixture.server.keys.clear()
    requests_before = fixture.refresh_requests

    await asyncio.gather(*[balance(fixture.paystar) for _ in range(100)])

    assert fixture.refresh_requests - requests_before == 1
    assert fixture.server.refreshes == fixture.refresh_requests


async def test_auth_clients_sharing_a_store_refresh_once() -> None:
    store = MemoryKeyStore()
    first = AuthFixture(store=store, clock=RunningClock())
    second = client(first.engine, clock=first.clock, keys=store, max_retries=0)
    first.server.keys.clear()

    async with first.clock.running():
        await asyncio.gather(*[balance(paystar) for paystar in (first.paystar, second) for _ in range(20)])

    assert first.refresh_requests == 1
    assert set(first.sent_keys) == {"key-0", "key-1"}


@pytest.mark.parametrize("cancelled_by", ["task", "timeout", "scope"])
@pytest.mark.parametrize("state", ["expired", "rejected", "manual"])
async def test_auth_cancelled_caller_loses_no_refresh(cancelled_by: str, state: str) -> None:
    for seed in range(60):
        random_source = Random(seed)
        turns = {name: random_source.randrange(12) for name in ("before", "after", "cancel")}

        fixture = AuthFixture(before_refresh=_wait_turns(turns["before"]), after_refresh=_wait_turns(turns["after"]))
        if state == "expired":
            await fixture.store.commit(KEY, 0, "", KeyRecord(refresh_token=Secret("refresh-0")))
        if state == "rejected":
            fixture.server.keys.clear()
        call = (
            fixture.paystar.keys.refresh_application_key
            if state == "manual"
            else lambda fixture=fixture: balance(fixture.paystar)
        )
        await _call_and_cancel(cancelled_by, call, turns["cancel"])
        await fixture.paystar.aclose()

        record = await fixture.store.load(KEY)
        if fixture.server.refreshes:
            assert record is not None
            assert _pair(record) == (f"key-{fixture.server.refreshes}", fixture.server.refresh_token)
        assert record is None or record.lease_owner is None
        assert fixture.events.names in ([], ["key_refreshed"])
        await balance(fixture.paystar)


def _pair(record: KeyRecord) -> tuple[str | None, str | None]:
    token, refresh_token = record.token, record.refresh_token
    return token.reveal() if token else None, refresh_token.reveal() if refresh_token else None


def _wait_turns(rounds: int) -> Callable[[], Any]:
    async def wait() -> None:
        await wait_all_tasks_blocked(rounds)

    return wait


async def _call_and_cancel(cancelled_by: str, call: Callable[[], Any], rounds: int) -> None:
    """Make a call and cancel it after ``rounds`` turns of the loop."""

    async def run() -> None:
        if cancelled_by == "timeout":
            async with asyncio.timeout(None) as scope:
                asyncio.get_running_loop().call_soon(_call_after, rounds, lambda: scope.reschedule(0))
                await call()
        else:
            with anyio.CancelScope() as scope:
                if cancelled_by == "scope":
                    asyncio.get_running_loop().call_soon(_call_after, rounds, scope.cancel)
                await call()

    task = asyncio.create_task(run())
    if cancelled_by == "task":
        await wait_all_tasks_blocked(rounds)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _call_after(rounds: int, function: Callable[[], object]) -> None:
    if rounds:
        asyncio.get_running_loop().call_soon(_call_after, rounds - 1, function)
    else:
        function()


async def test_auth_key_expires_at_tehran_time_of_response() -> None:
    fixture = AuthFixture(key_lifetime=2 * HOUR)

    await fixture.age_key(hours=0)

    record = await fixture.stored_record()
    assert record.expires_at == int(fixture.clock.time() + 2 * HOUR)
    assert tehran_time(0) == "1970-01-01 03:30:00"
    fixture.clock.advance(1.95 * HOUR)
    await balance(fixture.paystar)
    assert fixture.sent_keys == ["key-2"]


@pytest.mark.parametrize(
    "expiry",
    [None, "", "soon", "2026-13-40 00:00:00", "1404-10-11 03:30:00", "1999-01-01 00:00:00", "2099-01-01 00:00:00"],
)
async def test_auth_invalid_expiry_is_replaced_by_a_day(expiry: str | None) -> None:
    data = {"api_key": "key-1"} | ({} if expiry is None else {"api_key_expire_date": expiry})
    fixture = AuthFixture(before_refresh=_always(ok(data)))

    await fixture.paystar.keys.refresh_application_key()

    assert (await fixture.stored_record()).expires_at == fixture.clock.time() + 24 * HOUR


@pytest.mark.parametrize("hours", [24, -24, 240, -240])
async def test_auth_wall_clock_jump_causes_no_refresh_storm(hours: float) -> None:
    fixture = AuthFixture()
    await fixture.age_key(hours=1)
    fixture.server.keys = dict.fromkeys((f"key-{n}" for n in range(9)), float("inf"))
    fixture.server.clock = QuickClock()  # only the client's clock jumps
    fixture.server.clock.advance(HOUR)

    fixture.clock.jump(hours * HOUR)
    for _ in range(100):
        await balance(fixture.paystar)
        fixture.clock.advance(0.05 * HOUR)

    assert fixture.refresh_requests == 1

    for _ in range(100):
        fixture.clock.advance(0.5 * HOUR)
        fixture.server.clock.advance(0.5 * HOUR)
        await balance(fixture.paystar)
        await wait_all_tasks_blocked(5)
    assert fixture.refresh_requests <= 8


async def test_auth_rejected_refresh_token_is_marked_once() -> None:
    fixture = AuthFixture()
    await fixture.age_key(hours=15)
    fixture.server.refresh_token = "rotated elsewhere"

    for _ in range(30):
        await balance(fixture.paystar)
        await wait_all_tasks_blocked(5)
        fixture.clock.advance(60)

    record = await fixture.stored_record()
    assert record.refresh_rejected
    assert record.token is not None
    assert fixture.events.names.count("refresh_token_rejected") == 1
    assert fixture.refresh_requests == 2
    assert set(fixture.sent_keys) == {"key-1"}

    fixture.clock.advance(24 * HOUR)
    with pytest.raises(InvalidRefreshToken) as error:
        await balance(fixture.paystar)
    assert error.value.executed == "no"
    assert "keys.replace" in error.value.hint
    assert fixture.refresh_requests == 2


async def test_keys_replace_repairs_rejected_refresh_token() -> None:
    fixture = AuthFixture()
    fixture.server.keys.clear()
    fixture.server.refresh_token = "rotated elsewhere"
    with pytest.raises(InvalidRefreshToken):
        await balance(fixture.paystar)

    fixture.server.keys["key-new"] = float("inf")
    await fixture.paystar.keys.replace("application", token="key-new", refresh_token="rotated elsewhere")
    await balance(fixture.paystar)

    assert fixture.sent_keys[-1] == "key-new"
    assert fixture.events.names == ["refresh_token_rejected", "key_replaced"]
    assert not (await fixture.stored_record()).refresh_rejected
    fixture.server.keys.clear()
    await balance(fixture.paystar)
    assert fixture.sent_keys[-1] == "key-1"


async def test_auth_refresh_lost_to_faster_process_uses_its_key() -> None:
    fixture = AuthFixture(clock=RunningClock())
    fixture.server.keys.clear()

    async def refresh_elsewhere() -> Reply:
        # Another host, whose lease this process has not seen, stores the pair of its own refresh.
        fixture.server.refresh_token = "refresh-9"
        fixture.server.keys["key-9"] = float("inf")
        record = await fixture.stored_record()
        new = KeyRecord(token=Secret("key-9"), refresh_token=Secret("refresh-9"))
        await fixture.store.commit(KEY, record.version, "other", new)
        return refused(13)

    fixture.server.before_refresh = refresh_elsewhere
    async with fixture.clock.running():
        await balance(fixture.paystar)

    assert fixture.sent_keys == ["key-0", "key-9"]
    assert fixture.events.names == ["key_reloaded"]
    assert not (await fixture.stored_record()).refresh_rejected


async def test_auth_unavailable_store_uses_key_in_memory() -> None:
    store = FailingStore()
    fixture = AuthFixture(store=store)
    await fixture.age_key(hours=15)
    store.is_down = True

    for _ in range(5):
        await balance(fixture.paystar)
        await wait_all_tasks_blocked(5)
    assert fixture.refresh_requests == 1

    fixture.clock.advance(10 * HOUR)
    with pytest.raises(StorageError):
        await balance(fixture.paystar)
    assert fixture.refresh_requests == 1

    store.is_down = False
    await balance(fixture.paystar)
    assert fixture.sent_keys[-1] == "key-2"


class FailingStore(MemoryKeyStore):
    """A store that can be down."""

    is_down = False
    fails_to_commit = False

    async def load(self, key: KeyId) -> KeyRecord | None:
        if self.is_down:
            raise StorageError("the store is down")
        return await super().load(key)

    async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
        if self.is_down:
            raise StorageError("the store is down")
        return await super().acquire_lease(key, version, owner, ttl)

    async def commit(self, key: KeyId, version: int, owner: str, new: KeyRecord) -> KeyRecord | None:
        if self.is_down or self.fails_to_commit:
            raise StorageError("the store is down")
        return await super().commit(key, version, owner, new)


async def test_auth_unstored_pair_is_used_and_stored_later() -> None:
    store = FailingStore()
    fixture = AuthFixture(store=store, clock=RunningClock())
    fixture.server.keys.clear()

    async def fail_commits() -> None:
        store.fails_to_commit = True

    fixture.server.after_refresh = fail_commits
    await balance(fixture.paystar)
    await balance(fixture.paystar)
    assert fixture.sent_keys == ["key-0", "key-1", "key-1"]
    assert fixture.events.names == ["key_refresh_failed"]

    store.fails_to_commit = False
    async with fixture.clock.running():
        await wait_all_tasks_blocked(200)

    assert _pair(await fixture.stored_record()) == ("key-1", "refresh-1")
    assert fixture.events.names == ["key_refresh_failed", "key_refreshed"]
    await fixture.paystar.aclose()


async def test_auth_prefers_unstored_pair_to_old_stored_pair() -> None:
    store = FailingStore()
    fixture = AuthFixture(store=store)
    await balance(fixture.paystar)
    store.fails_to_commit = True
    fixture.server.keys.clear()
    await balance(fixture.paystar)
    assert fixture.sent_keys[-1] == "key-1"

    fixture.server.keys.clear()  # now the pair that only memory has is needed for a refresh
    with pytest.raises(StorageError):
        await balance(fixture.paystar)
    assert fixture.sent_keys.count("key-0") == 2
    assert fixture.refresh_requests == 1

    store.fails_to_commit = False
    await balance(fixture.paystar)
    assert fixture.sent_keys[-1] == "key-2"
    assert _pair(await fixture.stored_record()) == ("key-2", "refresh-2")
    await fixture.paystar.aclose()


async def test_keys_replace_during_refresh_keeps_rotated_token() -> None:
    fixture, may_continue = AuthFixture(), asyncio.Event()
    fixture.server.keys.clear()

    fixture.server.after_refresh = _wait_for(may_continue)
    call = asyncio.create_task(balance(fixture.paystar))
    await wait_all_tasks_blocked()
    fixture.server.keys["key-panel"] = float("inf")
    await fixture.paystar.keys.replace("application", token="key-panel")
    may_continue.set()
    await call

    assert _pair(await fixture.stored_record()) == ("key-panel", "refresh-1")


async def test_auth_refresh_survives_lease_taken_over() -> None:
    fixture, may_continue = AuthFixture(), asyncio.Event()
    fixture.server.keys.clear()

    fixture.server.after_refresh = _wait_for(may_continue)
    call = asyncio.create_task(balance(fixture.paystar))
    await wait_all_tasks_blocked()
    fixture.server.keys["key-1"] = float("inf")
    fixture.clock.jump(24 * HOUR)  # the lease seems to have expired
    record = await fixture.stored_record()
    assert await fixture.store.acquire_lease(KEY, record.version, "another host", 60) is not None
    may_continue.set()
    await call

    assert _pair(await fixture.stored_record()) == ("key-1", "refresh-1")


async def test_auth_foreign_store_error_is_named_and_key_used() -> None:
    class BuggyStore(FailingStore):
        async def acquire_lease(self, key: KeyId, version: int, owner: str, ttl: float) -> KeyRecord | None:
            raise RuntimeError("a bug in a store")

    fixture = AuthFixture(store=BuggyStore())
    with pytest.raises(NoResponse, match="RuntimeError"):
        await fixture.paystar.keys.refresh_application_key()

    await balance(fixture.paystar)
    fixture.server.keys.clear()
    with pytest.raises(NotSent, match="RuntimeError"):
        await balance(fixture.paystar)


async def test_auth_timeout_during_refresh_raises_not_sent() -> None:
    fixture, may_continue = AuthFixture(account=APPLICATION_WITHOUT_KEY), asyncio.Event()

    fixture.server.before_refresh = _wait_for(may_continue)
    with pytest.raises(NotSent, match="the timeout expired"):
        await balance(fixture.paystar, timeout=0.01)
    with pytest.raises(NoResponse, match="goes on") as error:
        await fixture.paystar.keys.refresh_application_key(timeout=0.01)
    assert error.value.executed == "maybe"

    may_continue.set()
    await fixture.paystar.aclose()
    assert fixture.refresh_requests == 1
    await balance(fixture.paystar)
    assert fixture.sent_keys == ["key-1"]


def test_auth_refresh_and_cancellation_work_on_trio() -> None:
    async def run_on_trio() -> None:
        fixture, may_continue = AuthFixture(account=APPLICATION_WITHOUT_KEY), anyio.Event()

        fixture.server.after_refresh = _wait_for(may_continue)
        async with anyio.create_task_group() as group:
            group.start_soon(balance, fixture.paystar)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        may_continue.set()
        await fixture.paystar.aclose()

        assert _pair(await fixture.stored_record()) == ("key-1", "refresh-1")
        await balance(fixture.paystar)
        assert fixture.refresh_requests == 1

    anyio.run(run_on_trio, backend="trio")
