"""procrastinate: a dispatcher of payouts over many hosts, by a queue in PostgreSQL.

A job contains only a chunk id: no amount, no account and no secret is ever in the queue. Any queue of texts can be used
instead: ``paystar_async.payouts.dispatcher`` has the recipe.

One module, imported by the web service and by the workers alike::

    # myshop/payouts.py
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo="postgresql://…"))
    paystar = Paystar.from_env(database="postgresql://…")
    ProcrastinateDispatcher(app, paystar)

The web service opens the app (``async with app.open_async():``) and submits. The workers are procrastinate's own, any
number on any hosts; each takes over the chunks of a dead worker::

    procrastinate --app=myshop.payouts.app schema --apply
    procrastinate --app=myshop.payouts.app worker --concurrency=4 --delete-jobs=successful

The heartbeat of a worker is procrastinate's. The sweep, a periodic task registered here, requeues the jobs of workers
without a heartbeat, and wakes every chunk whose job was lost.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from paystar_async.client import Paystar
from paystar_async.errors import MissingExtra
from paystar_async.runtime.events import logger
from paystar_async.values.arguments import require_instance
from paystar_async.values.numbers import require_seconds

try:
    from procrastinate import App, JobContext
    from procrastinate.exceptions import AlreadyEnqueued, AppNotOpen, ConnectorException
    from procrastinate.jobs import Job, Status
except ImportError:
    raise MissingExtra("paystar_async.contrib.procrastinate", "procrastinate") from None

if TYPE_CHECKING:
    import psycopg
    from procrastinate.types import JSONDict

    Connection = psycopg.AsyncConnection[Any]

ADVANCE, TURNS, SWEEP = "paystar_advance", "paystar_turns", "paystar_sweep"
"""The names of the tasks."""
TURNS_SECONDS = 5.0
"""Time that a job sends for a deposit account whose chunks wait for their turns, before other jobs get its slot."""


class ProcrastinateDispatcher:
    """A dispatcher whose chunks are advanced by procrastinate's workers.

    Args:
        app: your procrastinate App; three tasks are registered on it, ``paystar_advance``, ``paystar_turns`` (chunks of
            a deposit account that have to wait for their turns) and ``paystar_sweep``.
        paystar: the client that pays, with a ``postgresql://`` database; its payouts use this dispatcher from now on.
        queue: the queue of the jobs.
        sweep: when to look for lost wake-ups and stalled jobs, as a cron expression; a sixth field is seconds.
        stalled: seconds without a heartbeat after which a worker is taken for dead.

    Raises:
        ConfigurationError: procrastinate is not installed, or ``paystar`` has no database.
        InvalidValue: an argument is of another type, or ``stalled`` is not above 0.
    """

    def __init__(
        self,
        app: App,
        paystar: Paystar,
        *,
        queue: str = "paystar",
        sweep: str = "* * * * *",
        stalled: float = 30.0,
    ) -> None:
        require_instance("app", app, App)
        require_instance("paystar", paystar, Paystar)
        require_instance("queue", queue, str)
        require_seconds("stalled", stalled)
        self._app, self._payouts, self._queue, self._stalled = app, paystar.payouts, queue, stalled
        app.task(name=ADVANCE, queue=queue)(self._advance)
        app.task(name=TURNS, queue=queue)(self._turns)
        app.periodic(cron=sweep)(app.task(name=SWEEP, queue=queue, queueing_lock=SWEEP, pass_context=True)(self._sweep))
        paystar.payouts.use(self)

    async def wake(self, chunk_ids: Sequence[str], connection: "Connection | None" = None) -> None:
        """Put chunks into the queue.

        Args:
            chunk_ids: the chunks, due now.
            connection: the transaction that plans the chunks; the jobs are then part of it.
        """
        if not chunk_ids:
            return
        task = self._app.configure_task(ADVANCE, queue=self._queue, connection=connection)
        try:
            with _default_cursors(connection):
                await task.batch_defer_async(*(_job_arguments(chunk_id) for chunk_id in chunk_ids))
        except (AppNotOpen, ConnectorException) as error:
            if connection is not None:
                raise  # the caller's transaction has failed as well
            # The chunks are stored and due: the sweep will find them.
            logger.warning("payouts: %d chunks wait for the next sweep: %s", len(chunk_ids), type(error).__name__)

    def start(self) -> None:
        """Do nothing: the workers are processes of procrastinate."""

    async def aclose(self) -> None:
        """Do nothing: the code that opened the app closes it."""

    async def advance_later(self, chunk_id: str, seconds: float) -> None:
        """Queue a job that advances a chunk in ``seconds``."""
        task = self._app.configure_task(
            ADVANCE, queue=self._queue, queueing_lock=f"{chunk_id} later", schedule_in={"seconds": seconds}
        )
        with suppress(AlreadyEnqueued):
            await task.defer_async(chunk_id=chunk_id)

    async def continue_elsewhere(self, chunk_id: str) -> None:
        """Queue a job that continues with the deposit account of a chunk, behind the jobs that wait for this slot."""
        await self._app.configure_task(TURNS, queue=self._queue).defer_async(chunk_id=chunk_id)

    async def _advance(self, chunk_id: str) -> None:
        await self._payouts.advance_in_turn(chunk_id, self, seconds=TURNS_SECONDS)

    async def _turns(self, chunk_id: str) -> None:
        await self._payouts.advance_in_turn(chunk_id, self, seconds=TURNS_SECONDS, handed_on=True)

    async def _sweep(self, context: JobContext, timestamp: int) -> None:
        del timestamp
        manager = self._app.job_manager
        for job in await manager.get_stalled_jobs(queue=self._queue, seconds_since_heartbeat=self._stalled):
            if job.id != context.job.id:
                await self._requeue(job)
        await self._payouts.recover()

    async def _requeue(self, job: Job) -> None:
        logger.warning("payouts: job %s (%s) was left by a dead worker", job.id, job.task_name)
        manager = self._app.job_manager
        if job.task_name != SWEEP:
            with suppress(ConnectorException):  # a job for the same chunk is in the queue already
                await manager.retry_job(job)
                return
        await manager.finish_job(job, Status.FAILED, delete_job=False)


@contextmanager
def _default_cursors(connection: "Connection | None") -> Generator[None, None, None]:
    """Use psycopg's default cursors on the caller's connection: procrastinate's placeholders need them."""
    if connection is None:
        yield
        return
    from psycopg import AsyncCursor

    factory, connection.cursor_factory = connection.cursor_factory, AsyncCursor
    try:
        yield
    finally:
        connection.cursor_factory = factory


def _job_arguments(chunk_id: str) -> "JSONDict":
    """Return the arguments of a job: no amount, no account, no secret."""
    return {"chunk_id": chunk_id}
