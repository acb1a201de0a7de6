"""Test faults: each step of a payout fails or is cancelled once; nothing is paid twice and no record is lost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from paystar_async.errors import StorageError, StorageUnavailable
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import Policy
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.bank import FakeBank, PayoutFixture, each, transfers
from tests.payouts.faulty import FaultyPayout, StepKind, failing, no_fault, open_faulty_payout

MAX_STEPS = 60


@pytest_asyncio.fixture
async def faulty_payout(tmp_path: Path) -> AsyncIterator[FaultyPayout]:
    payout, database = open_faulty_payout(tmp_path / "l.db")
    yield payout, database
    await database.aclose()


async def run_until_settled(payout: PayoutFixture) -> None:
    """Advance chunks until nothing is due."""
    for _ in range(300):
        due = await payout.worker.due()
        if not due:
            return
        payout.clock.advance(max(0.0, due[0][1] - await payout.ledger.time()) + 0.001)
        await payout.worker.advance(due[0][0])
    raise AssertionError("chunks stay due")


async def advance_to_end(payout: PayoutFixture, chunk: str) -> None:
    """Advance a chunk while the clock runs, so that delayed records are written."""
    step = asyncio.create_task(payout.worker.advance(chunk))
    while not step.done():
        if payout.clock.sleepers:
            payout.clock.advance(0.5)
        await asyncio.sleep(0)
    await asyncio.wait([step])
    if error := step.exception():
        assert isinstance(error, StorageError)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_advance_failing_step_pays_once(tmp_path: Path, moment: str) -> None:
    reached, kinds = 0, set[str]()
    for step in range(1, MAX_STEPS):
        payout, database = open_faulty_payout(tmp_path / f"{step}.db")
        await insert_batch(
            payout.ledger, payout.channel, "b", each(transfers(3)), policy=Policy(resend=True, quiet_window=30)
        )
        database.steps = 0
        [chunk] = await payout.chunks()
        database.steps = 0
        fault = failing(step, "commit" if moment == "after" else None)
        if moment == "after":
            database.after = fault
        else:
            database.before = fault
        await advance_to_end(payout, chunk)
        steps = database.steps
        database.before = database.after = no_fault
        await run_until_settled(payout)
        assert payout.bank.executed == {f"t-0000{number}": 1 for number in range(3)}, step
        assert await payout.states() == ["success"] * 3, step
        kinds |= {state.cause for state in await queries.events(payout.ledger, "bank", "app-1", "t-00000")}
        await database.aclose()
        if steps < step:
            break
        reached += 1
    assert 8 < reached < MAX_STEPS - 1
    assert {"intent", "response"} <= kinds


async def test_acquire_lease_lost_commit_sends_once(faulty_payout: FaultyPayout) -> None:
    payout, database = faulty_payout
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()
    commits: list[int] = []

    def fail_first_commit(step: int, _: str) -> None:
        commits.append(step)
        if len(commits) == 1:
            raise StorageUnavailable("the server went away")

    database.after = fail_first_commit
    assert await payout.worker.advance(chunk) is None
    assert await payout.states() == ["success"] * 3
    assert len(payout.bank.calls) == 1

    def fail_every_commit(_: int, kind: str) -> None:
        if kind == "commit":
            raise StorageUnavailable("the server went away")

    await insert_batch(payout.ledger, payout.channel, "c", each(transfers(6)[3:]))
    [chunk] = await payout.chunks("c")
    database.before = fail_every_commit
    with pytest.raises(StorageUnavailable):
        await payout.worker.advance(chunk)
    assert len(payout.bank.calls) == 1


async def test_acquire_lease_failed_commit_sends_nothing(faulty_payout: FaultyPayout) -> None:
    payout, database = faulty_payout
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()
    commits: list[int] = []

    def fail_first_commit(step: int, kind: StepKind) -> None:
        if kind == "commit" and not commits:
            commits.append(step)
            raise StorageUnavailable("the server went away")

    database.before = fail_first_commit
    with pytest.raises(StorageUnavailable):
        await payout.worker.advance(chunk)
    assert commits
    assert payout.bank.calls == []
    assert await payout.states() == ["planned"] * 3
    assert await payout.worker.advance(chunk) is None
    assert await payout.states() == ["success"] * 3


async def test_release_ledger_down_is_retried(faulty_payout: FaultyPayout) -> None:
    payout, database = faulty_payout
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()
    failures = 0

    def fail_after_send(*_: object) -> None:
        nonlocal failures
        if payout.bank.calls and failures < 5:
            failures += 1
            raise StorageUnavailable("the disk is full")

    database.before = fail_after_send
    await advance_to_end(payout, chunk)
    assert failures == 5
    assert await payout.states() == ["success"] * 3


async def test_release_ledger_stays_down_is_checked_later(faulty_payout: FaultyPayout) -> None:
    payout, database = faulty_payout
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()

    def fail_after_send(*_: object) -> None:
        if payout.bank.calls:
            raise StorageUnavailable("the disk is full")

    database.before = fail_after_send
    await advance_to_end(payout, chunk)
    database.before = no_fault
    assert await payout.states() == ["sending"] * 3
    await run_until_settled(payout)
    assert await payout.states() == ["success"] * 3
    assert payout.bank.executed == {f"t-0000{number}": 1 for number in range(3)}


@pytest.mark.parametrize("cancelled", ["caller", "work"])
async def test_advance_cancelled_step_loses_no_record(tmp_path: Path, cancelled: str) -> None:
    """A cancelled caller changes nothing; after cancelled work the transfers are checked at the payout.bank."""
    reached = 0
    for step in range(1, MAX_STEPS):
        payout, database = open_faulty_payout(tmp_path / f"{step}.db")
        await insert_batch(
            payout.ledger, payout.channel, "b", each(transfers(3)), policy=Policy(resend=True, quiet_window=30)
        )
        [chunk] = await payout.chunks()
        database.steps = 0
        tasks_before = asyncio.all_tasks()
        task = asyncio.create_task(payout.worker.advance(chunk))

        def cancel_at_step(
            current_step: int,
            kind: StepKind,
            task: asyncio.Task[object] = task,
            tasks_before: set[asyncio.Task[Any]] = tasks_before,
            failing_step: int = step,
        ) -> None:
            if current_step == failing_step:
                if cancelled == "caller":
                    task.cancel()
                else:
                    for other_task in asyncio.all_tasks() - tasks_before - {task}:
                        other_task.cancel()

        database.before = cancel_at_step
        await asyncio.wait([task])
        await asyncio.sleep(0)
        payout.worker.close()
        await payout.background.drain(5)
        steps = database.steps
        database.before = no_fault
        if cancelled == "caller":
            assert await payout.states() == ["success"] * 3, step
        elif payout.bank.executed:
            assert set(await payout.states()) <= {"success", "sending", "unknown"}
        await run_until_settled(payout)
        assert payout.bank.executed == {f"t-0000{number}": 1 for number in range(3)}, step
        assert await payout.states() == ["success"] * 3, step
        await database.aclose()
        if steps < step:
            break
        reached += 1
    assert 8 < reached < MAX_STEPS - 1


async def test_advance_cancelled_caller_loses_no_record(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
    [chunk] = await payout.chunks()
    thinking = asyncio.Event()
    payout.bank.on_send = thinking.wait
    task = asyncio.create_task(payout.worker.advance(chunk))
    await payout.wait_for_states(*["sending"] * 3)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    thinking.set()
    await payout.background.drain(5)
    assert await payout.states() == ["success"] * 3


def test_advance_closed_loop_leaves_unknown(tmp_path: Path) -> None:
    clock, bank = ManualClock(), FakeBank()

    async def start() -> None:
        payout = PayoutFixture(LedgerDatabase(SqliteDatabase(tmp_path / "l.db", clock=clock), clock=clock), clock, bank)
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)))
        [chunk] = await payout.chunks()
        bank.on_send = asyncio.Event().wait
        task = asyncio.create_task(payout.worker.advance(chunk))
        await payout.wait_for_states(*["sending"] * 3)
        task.cancel()

    async def read_states() -> list[str]:
        payout = PayoutFixture(LedgerDatabase(SqliteDatabase(tmp_path / "l.db", clock=clock), clock=clock), clock, bank)
        return await payout.states()

    asyncio.run(start())
    assert asyncio.run(read_states()) == ["unknown"] * 3


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_insert_batch_lost_commit_inserts_once(faulty_payout: FaultyPayout, moment: str) -> None:
    payout, database = faulty_payout
    await queries.batches(payout.ledger)
    failed: list[int] = []

    def fail_first_commit(step: int, kind: StepKind) -> None:
        if kind == "commit" and not failed:
            failed.append(step)
            raise StorageUnavailable("the server went away")

    if moment == "after":
        database.after = fail_first_commit
    else:
        database.before = fail_first_commit
    record = await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)))
    assert failed
    assert record == await queries.find_batch(payout.ledger, "b")
    assert await payout.states() == ["planned"] * 5
    assert [event.cause for event in await queries.events(payout.ledger, "bank", "app-1", "t-00000")] == ["submit"]


async def test_insert_batch_ledger_down_stores_nothing(faulty_payout: FaultyPayout) -> None:
    payout, database = faulty_payout
    await queries.batches(payout.ledger)

    def fail_every_commit(step: int, kind: StepKind) -> None:
        if kind == "commit":
            raise StorageUnavailable("the server went away")

    database.before = fail_every_commit
    with pytest.raises(StorageUnavailable):
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(5)))
    database.before = no_fault
    assert await queries.batches(payout.ledger) == []
