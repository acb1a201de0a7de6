"""Extend concurrency slots of chunks that are being sent: slots of a killed sender expire within seconds."""

from collections.abc import Generator
from contextlib import contextmanager

from attrs import define, field

from paystar_async.errors import PaystarError
from paystar_async.payouts.ledger.leases import SLOT_SECONDS, extend_slots
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent

HEARTBEAT_SECONDS = SLOT_SECONDS / 3


@define
class SlotHeartbeat:
    """A background task that extends the slots of the chunks that this process is sending.

    Attributes:
        ledger: the ledger that holds the slots.
        clock: the clock to sleep on.
        background: the background tasks that run the heartbeat.
    """

    ledger: LedgerDatabase
    clock: Clock
    background: BackgroundTasks
    _sending: set[str] = field(factory=set[str])
    _task: BackgroundTask[None] | None = None
    _wake: WakeEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wake = WakeEvent(self.clock)

    @contextmanager
    def sending(self, chunk_id: str) -> Generator[None]:
        """Keep a chunk's slot during a ``with`` block."""
        self._sending.add(chunk_id)
        if self._task is None or self._task.done:
            self._task = self.background.start(self._run)
        try:
            yield
        finally:
            self._sending.discard(chunk_id)

    def close(self) -> None:
        """Stop the heartbeat once no chunk is being sent."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.sleep(HEARTBEAT_SECONDS)
            if not self._sending:
                return
            try:
                await extend_slots(self.ledger, list(self._sending))
            except PaystarError:
                continue  # a chunk is sent without its slot too; other chunks may then exceed the limit
