"""Payouts over procrastinate: jobs carry chunk ids, batches join the caller's transaction, no chunk is lost."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
import psycopg
import pytest
import pytest_asyncio
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from paystar_async import Paystar
from paystar_async.contrib.procrastinate import ADVANCE, SWEEP, ProcrastinateDispatcher
from paystar_async.errors import InvalidValue
from paystar_async.payouts.models import Policy
from paystar_async.sandbox import Sandbox
from tests.support import transfer


class Shop:
    """A service: an app, a client and the dispatcher between them."""

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self.sandbox = Sandbox()
        self.sandbox.settings.settle_seconds = 0
        self.app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=4))
        self.paystar = Paystar(self.sandbox.application, engine=self.sandbox.engine(), database=url)
        self.dispatcher = ProcrastinateDispatcher(self.app, self.paystar, **options)

    async def jobs(self, task: str = ADVANCE) -> list[tuple[str, dict[str, Any], str]]:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            rows = await connection.execute(
                "SELECT status::text, args, task_name FROM procrastinate_jobs WHERE task_name = %s ORDER BY id", [task]
            )
            return [(row[0], row[1], row[2]) for row in await rows.fetchall()]

    async def sql(self, statement: str) -> None:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await connection.execute(statement.encode())

    async def work(self) -> None:
        """Run a worker until the queue is empty."""
        await self.app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)

    async def executed(self) -> dict[str, int]:
        return {track_id: line.count for track_id, line in self.sandbox.ledger.items()}


@pytest_asyncio.fixture
async def shop(postgres_schema: str) -> AsyncIterator[Shop]:
    shop = Shop(postgres_schema)
    async with shop.app.open_async(), shop.paystar:
        await shop.app.schema_manager.apply_schema_async()
        yield shop


def batch(count: int = 3) -> list[Any]:
    return [transfer(f"t-{number}") for number in range(count)]


async def test_submit_jobs_carry_chunk_ids_only(shop: Shop) -> None:
    submitted = await shop.paystar.payouts.submit(batch(5), batch_id="b", policy=Policy(chunk=2))
    assert await shop.executed() == {}
    jobs = await shop.jobs()
    assert [(status, list(args)) for status, args, _ in jobs] == [("todo", ["chunk_id"])] * 3
    await shop.work()
    assert await shop.executed() == {f"t-{number}": 1 for number in range(5)}
    assert (await submitted.report()).states.keys() == {"success"}


async def test_submit_rolled_back_leaves_no_job_and_batch(shop: Shop) -> None:
    async with await psycopg.AsyncConnection.connect(shop.url) as connection:
        await shop.paystar.payouts.submit(batch(), batch_id="b", connection=connection)
        await connection.rollback()
    assert await shop.jobs() == []
    assert await shop.paystar.payouts.batches() == []


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_batch_methods_before_commit_are_refused(shop: Shop, end: str) -> None:
    async with await psycopg.AsyncConnection.connect(shop.url) as connection:
        submitted = await shop.paystar.payouts.submit(batch(), batch_id="b", connection=connection)
        if end == "rollback":
            await connection.rollback()
        with anyio.fail_after(10):
            for call in (
                submitted.report(),
                submitted.wait(),
                anext(submitted.outcomes()),
                submitted.export(os.devnull),
            ):
                with pytest.raises(InvalidValue, match="not committed"):
                    await call
        await connection.commit()
    if end == "commit":
        assert (await submitted.report()).under_way.count == 3


async def test_submit_commits_batch_with_its_jobs(shop: Shop) -> None:
    await shop.sql("CREATE TABLE orders (id TEXT)")
    async with await psycopg.AsyncConnection.connect(shop.url) as connection:
        await connection.execute("INSERT INTO orders VALUES ('o-1')")
        await shop.paystar.payouts.submit(batch(), batch_id="b", connection=connection)
        assert await shop.jobs() == []
        assert await shop.paystar.payouts.batches() == []
        await connection.commit()
    assert [status for status, _, _ in await shop.jobs()] == ["todo"]
    await shop.work()
    assert len(await shop.executed()) == 3


@pytest.mark.parametrize("cursor", [psycopg.AsyncRawCursor, psycopg.AsyncClientCursor])
async def test_wake_uses_its_own_cursor(shop: Shop, cursor: type[psycopg.AsyncCursor[Any]]) -> None:
    async with await psycopg.AsyncConnection.connect(shop.url, cursor_factory=cursor) as connection:
        await shop.paystar.payouts.submit(batch(), batch_id="b", connection=connection)
        assert connection.cursor_factory is cursor
    assert [status for status, _, _ in await shop.jobs()] == ["todo"]


async def test_advance_early_chunk_is_queued_again_once(shop: Shop) -> None:
    shop.sandbox.settings.settle_seconds = 1000
    await shop.paystar.payouts.submit(batch(1), batch_id="b")
    [(_, args, _)] = await shop.jobs()
    await shop.work()
    await shop.dispatcher.wake([args["chunk_id"]])  # too early
    await shop.work()
    assert [job for job in await shop.jobs() if job[0] != "succeeded"] == [("todo", args, ADVANCE)]


async def test_advance_short_wait_queues_no_job(shop: Shop) -> None:
    await shop.paystar.payouts.submit(batch(4), batch_id="b", policy=Policy(chunk=1, rate=50))
    await shop.work()  # a scheduled job would be left in the queue by a worker that does not poll again
    assert [status for status, _, _ in await shop.jobs()] == ["succeeded"] * 4
    assert await shop.executed() == {f"t-{number}": 1 for number in range(4)}


async def test_sweep_finds_batch_without_jobs(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    await shop.sql("ALTER TABLE procrastinate_jobs RENAME TO hidden")
    with caplog.at_level(logging.WARNING, "paystar_async"):
        await shop.paystar.payouts.submit(batch(), batch_id="b")
    assert "wait for the next sweep" in caplog.text
    await shop.sql("ALTER TABLE hidden RENAME TO procrastinate_jobs")
    await shop.app.configure_task(SWEEP).defer_async(timestamp=0)
    await shop.work()
    assert len(await shop.executed()) == 3


async def test_wake_closed_app_leaves_chunks_to_sweep(postgres_schema: str) -> None:
    shop = Shop(postgres_schema)
    async with shop.app.open_async():
        await shop.app.schema_manager.apply_schema_async()
    async with shop.paystar:
        await shop.paystar.payouts.submit(batch(), batch_id="b")
        async with shop.app.open_async():
            await shop.app.configure_task(SWEEP).defer_async(timestamp=0)
            await shop.work()
    assert len(await shop.executed()) == 3


async def test_wake_failure_in_transaction_is_raised(shop: Shop) -> None:
    await shop.sql("ALTER TABLE procrastinate_jobs RENAME TO hidden")
    async with await psycopg.AsyncConnection.connect(shop.url) as connection:
        with pytest.raises(ConnectorException):
            await shop.paystar.payouts.submit(batch(), batch_id="b", connection=connection)
        await connection.rollback()
    assert await shop.paystar.payouts.batches() == []


async def test_sweep_requeues_job_of_dead_worker(shop: Shop) -> None:
    await shop.paystar.payouts.submit(batch(), batch_id="b")
    await shop.sql("UPDATE procrastinate_jobs SET status = 'doing', worker_id = NULL")
    await shop.app.configure_task(SWEEP).defer_async(timestamp=0)
    await shop.work()
    assert {status for status, _, _ in await shop.jobs()} == {"succeeded"}
    assert len(await shop.executed()) == 3


async def test_sweep_closes_stalled_sweep_and_duplicate_job(shop: Shop) -> None:
    await shop.app.configure_task(SWEEP, queueing_lock=None).defer_async(timestamp=1)
    await shop.app.configure_task(ADVANCE, queueing_lock="c later").defer_async(chunk_id="unknown")
    await shop.sql("UPDATE procrastinate_jobs SET status = 'doing', worker_id = NULL")
    duplicate = shop.app.configure_task(ADVANCE, queueing_lock="c later", schedule_in={"hours": 1})
    await duplicate.defer_async(chunk_id="unknown")
    await shop.app.configure_task(SWEEP).defer_async(timestamp=2)
    await shop.work()
    assert [status for status, _, _ in await shop.jobs(SWEEP)] == ["failed", "succeeded"]
    assert [status for status, _, _ in await shop.jobs()] == ["failed", "todo"]


async def test_wake_without_chunks_queues_nothing(shop: Shop) -> None:
    await shop.dispatcher.wake([])
    await shop.dispatcher.aclose()
    assert await shop.jobs() == []


async def test_advance_two_workers_pay_once(shop: Shop) -> None:
    shop.sandbox.settings.repeats_execute = True
    await shop.paystar.payouts.submit(batch(20), batch_id="b", policy=Policy(chunk=2))
    for _, args, _ in await shop.jobs():
        await shop.dispatcher.wake([args["chunk_id"], args["chunk_id"]])
    await asyncio.gather(shop.work(), shop.work())
    assert await shop.executed() == {f"t-{number}": 1 for number in range(20)}
