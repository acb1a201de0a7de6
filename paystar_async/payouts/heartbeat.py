"""Keep the places of chunks that are being sent: a sender that is killed or cut off gives its own back in seconds."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from attrs import define, field

from paystar_async.errors import PaystarError
from paystar_async.payouts.ledger.leases import SLOT_SECONDS, extend_slots
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.tasks import BackgroundTask, BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent

BEAT_SECONDS = SLOT_SECONDS / 3


@define
class SlotHeartbeat:
    """Extends the places of the chunks that are being sent by one process.

    Attributes:
        tables: the ledger.
        clock: how to wait.
        background: gives whose job the heartbeat is.
    """

    tables: LedgerDatabase
    clock: Clock
    background: Callable[[], BackgroundTasks]
    _sending: set[str] = field(factory=set[str])
    _job: BackgroundTask[None] | None = None
    _wake: WakeEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wake = WakeEvent(self.clock)

    @contextmanager
    def sending(self, chunk_id: str) -> Generator[None]:
        """Keep a chunk's place within a ``with`` block."""
        self._sending.add(chunk_id)
        if self._job is None or self._job.done:
            self._job = self.background().start(self._beat)
        try:
            yield
        finally:
            self._sending.discard(chunk_id)

    def close(self) -> None:
        """End the heartbeat as soon as nothing is being sent."""
        self._wake.set()

    async def _beat(self) -> None:
        while True:
            await self._wake.sleep(BEAT_SECONDS)
            if not self._sending:
                return
            try:
                await extend_slots(self.tables, list(self._sending))
            except PaystarError:
                continue  # without its place a chunk is sent all the same; others may then be sent beside it
