"""A sender keeps its place while it lives, and gives it back within seconds when it does not."""

import asyncio

import pytest

from paystar_async.errors import StorageUnavailable
from paystar_async.payouts import heartbeat
from paystar_async.payouts.heartbeat import HEARTBEAT_SECONDS
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.leases import SLOT_SECONDS
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Place
from tests.payouts.bank import PayoutFixture, each, transfers

_PLACE = "SELECT slot_until FROM paystar_payout_chunks WHERE phase = 'wait'"


async def sending(place: Place, desk: PayoutFixture) -> tuple[asyncio.Task[float | None], asyncio.Event]:
    """Return a call under way that takes the only place there is, and what ends it."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)), policy=Policy(chunk=1, concurrency=1))
    sent, answered = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        sent.set()
        await answered.wait()

    desk.teller.on_answer = wait
    task = asyncio.create_task(desk.worker.advance((await desk.chunks())[0]))
    await sent.wait()
    desk.teller.on_answer = None
    return task, answered


async def beats(place: Place, desk: PayoutFixture, times: int) -> None:
    for _ in range(times):
        while not desk.clock.sleepers:  # noqa: ASYNC110 - it is the clock's own list that says so
            await asyncio.sleep(0)
        [[before]] = place.sql(_PLACE)
        place.passes(HEARTBEAT_SECONDS)
        for _ in range(100_000):
            if place.sql(_PLACE)[0][0] > before:
                break
            await asyncio.sleep(0)


async def test_sending_keeps_place_while_its_sender_lives(place: Place, desk: PayoutFixture) -> None:
    task, answered = await sending(place, desk)
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    await beats(place, desk, 5)
    assert 5 * HEARTBEAT_SECONDS > SLOT_SECONDS
    await other.worker.advance((await desk.chunks())[1])
    assert len(desk.teller.calls) == 1
    answered.set()
    await task
    await other.worker.advance((await desk.chunks())[1])
    assert await desk.states() == ["success"] * 2
    desk.worker.close()
    await desk.background.drain(5.0)


async def test_place_of_killed_sender_is_free_within_seconds(
    place: Place, desk: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunk stays what it is until its lease is over: only the place is given back."""

    async def cut_off(*_: object) -> None:
        raise StorageUnavailable("no route to the server")

    monkeypatch.setattr(heartbeat, "extend_slots", cut_off)
    task, answered = await sending(place, desk)
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    place.passes(SLOT_SECONDS + 0.1)
    await other.worker.advance((await desk.chunks())[1])
    assert await desk.states() == ["sending", "success"]
    answered.set()
    await task
    assert await desk.states() == ["success"] * 2


async def test_close_ends_heartbeat_at_once(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    await desk.worker.advance((await desk.chunks())[0])
    desk.worker.close()
    await desk.background.drain(5.0)
    assert desk.clock.sleepers == 0
