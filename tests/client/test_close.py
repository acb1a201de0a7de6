"""Closing a client in use: no caller hangs, no connection stays open, no further request is sent."""

import asyncio

import httpx
import pytest
import respx

from paystar_async import Paystar
from paystar_async.errors import NotSent
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.outcomes import Failed, Pending, Unknown
from paystar_async.runtime.clock import ManualClock
from paystar_async.runtime.tasks import BackgroundTasks
from tests.support import Engine, KeyServer, QuickClock, client, entry, ok, transfer, wait_all_tasks_blocked


def record_loop_states(paystar: Paystar, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list of the loop states that the client creates from now on."""
    opened: list[object] = []
    create = paystar._create_loop_state  # pyright: ignore[reportPrivateUsage]

    def recording() -> object:
        opened.append(state := create())
        return state

    monkeypatch.setattr(paystar, "_create_loop_state", recording)
    return opened


async def test_aclose_ends_waiters_with_last_status(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(lambda _: ok([entry("t-1", status="pending")]))
    paystar = client(engine, clock=ManualClock())
    opened = record_loop_states(paystar, monkeypatch)
    waiting = asyncio.create_task(paystar.transfers.wait(track_id="t-1", timeout=3600))
    await wait_all_tasks_blocked()

    await paystar.aclose()

    outcome = await waiting
    assert isinstance(outcome, Pending)
    assert "closed" in outcome.reason
    assert len(engine.sent) == 1
    assert len(opened) == 1


async def test_aclose_ends_waiters_without_status_as_unknown() -> None:
    never = asyncio.Event()

    async def never_respond() -> tuple[int, dict[str, str], bytes]:
        await never.wait()
        return ok([])  # type: ignore[return-value]

    paystar = client(Engine(lambda _: never_respond()), clock=ManualClock())
    waiting = asyncio.create_task(paystar.transfers.wait(track_id="t-1", timeout=3600))
    await wait_all_tasks_blocked()

    await paystar.aclose()

    assert isinstance(await waiting, Unknown)


async def test_batch_without_call_sends_nothing_after_close(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(lambda _: ok([], status="ok"))
    paystar = client(engine, clock=QuickClock())
    opened = record_loop_states(paystar, monkeypatch)
    first, second = transfer("same"), transfer("same")
    stream = paystar.transfers.batch([first, second])

    assert isinstance(await anext(stream), Unknown)  # the repeated transfer; the call of the first is only queued
    await paystar.aclose()
    outcomes = [outcome async for outcome in stream]

    assert engine.sent == []
    assert [(type(outcome), outcome.track_id) for outcome in outcomes] == [(Failed, "same")]
    assert len(opened) == 1


async def test_queued_call_is_not_sent_after_close() -> None:
    release = asyncio.Event()

    async def blocked(_: object) -> httpx.Response:
        await release.wait()
        raise AssertionError("only the first call is sent")

    with respx.mock:
        route = respx.get(url__regex=r"/balance").mock(side_effect=blocked)
        paystar = client("auto", clock=QuickClock(), concurrency=1)
        calls = [asyncio.create_task(paystar.transfers.balance(account_number="0100000000001")) for _ in range(3)]
        await wait_all_tasks_blocked()
        await paystar.aclose()
        release.set()
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert route.call_count == 1
    assert [type(result) for result in results[1:]] == [NotSent, NotSent]


async def test_aclose_waits_for_refresh_started_while_closing() -> None:
    background, release = BackgroundTasks(), asyncio.Event()
    done: list[str] = []

    async def refresh() -> None:
        await release.wait()
        done.append("refresh")

    async def call() -> None:
        await asyncio.sleep(0)
        background.start(refresh)
        done.append("call")

    background.start(call)
    asyncio.get_running_loop().call_later(0.01, release.set)
    await background.drain(5)

    assert done == ["call", "refresh"]


@pytest.mark.parametrize("calls", [1, 20])
async def test_reloaded_expired_key_is_refreshed_silently(calls: int) -> None:
    clock = QuickClock()
    server, store = KeyServer(clock, rotates_refresh_token=True), MemoryKeyStore(clock)
    first_client, second_client = (client(Engine(server), clock=clock, keys=store) for _ in range(2))
    for paystar in (first_client, second_client):
        await paystar.transfers.balance(account_number="0100000000001")
    server.keys.clear()
    await first_client.transfers.balance(account_number="0100000000001")
    server.keys.clear()  # the key that the first client stored is rejected before it expires

    balances = [second_client.transfers.balance(account_number="0100000000001") for _ in range(calls)]
    await asyncio.gather(*balances)

    assert server.refreshes == 2
