"""Test the heartbeat: a running send keeps its slot, and the slot of a killed sender expires within seconds."""

import asyncio

import pytest

from paystar_async.errors import StorageUnavailable
from paystar_async.payouts import heartbeat
from paystar_async.payouts.heartbeat import HEARTBEAT_SECONDS
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.leases import SLOT_SECONDS
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, transfers

SELECT_SLOT = "SELECT slot_until FROM paystar_payout_chunks WHERE phase = 'sending'"


async def start_sending(payout: PayoutFixture) -> tuple[asyncio.Task[float | None], asyncio.Event]:
    """Return the task of a call that holds the only slot, and the event that ends the call."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=Policy(chunk=1, concurrency=1))
    sent, response_allowed = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        sent.set()
        await response_allowed.wait()

    payout.bank.on_response = wait
    task = asyncio.create_task(payout.worker.advance((await payout.chunks())[0]))
    await sent.wait()
    payout.bank.on_response = None
    return task, response_allowed


async def let_heartbeats_pass(backend: Backend, payout: PayoutFixture, times: int) -> None:
    for _ in range(times):
        while not payout.clock.sleepers:  # noqa: ASYNC110 - the clock has no event for a new sleeper
            await asyncio.sleep(0)
        [[before]] = backend.sql(SELECT_SLOT)
        backend.advance_clock(HEARTBEAT_SECONDS)
        for _ in range(100_000):
            if backend.sql(SELECT_SLOT)[0][0] > before:
                break
            await asyncio.sleep(0)


async def test_heartbeat_running_send_keeps_slot(backend: Backend, payout: PayoutFixture) -> None:
    task, response_allowed = await start_sending(payout)
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    await let_heartbeats_pass(backend, payout, 5)
    assert 5 * HEARTBEAT_SECONDS > SLOT_SECONDS
    await other.worker.advance((await payout.chunks())[1])
    assert len(payout.bank.calls) == 1
    response_allowed.set()
    await task
    await other.worker.advance((await payout.chunks())[1])
    assert await payout.states() == ["success"] * 2
    payout.worker.close()
    await payout.background.drain(5.0)


async def test_heartbeat_killed_sender_frees_slot(
    backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk keeps its state until its lease expires: only its slot is free again."""

    async def fail(*_: object) -> None:
        raise StorageUnavailable("no route to the server")

    monkeypatch.setattr(heartbeat, "extend_slots", fail)
    task, response_allowed = await start_sending(payout)
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    backend.advance_clock(SLOT_SECONDS + 0.1)
    await other.worker.advance((await payout.chunks())[1])
    assert await payout.states() == ["sending", "success"]
    response_allowed.set()
    await task
    assert await payout.states() == ["success"] * 2


async def test_close_ends_heartbeat(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    await payout.worker.advance((await payout.chunks())[0])
    payout.worker.close()
    await payout.background.drain(5.0)
    assert payout.clock.sleepers == 0
