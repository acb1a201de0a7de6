"""The periodic task that sweeps in the background."""

from collections.abc import Awaitable, Callable

from attrs import define, field

from paystar_async.errors import PaystarError
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import logger
from paystar_async.runtime.tasks import BackgroundTasks
from paystar_async.runtime.wake_event import WakeEvent


@define(eq=False)
class PeriodicTask:
    """A sweeper in the background.

    Attributes:
        background: the background tasks of the sweeper's event loop.
        clock: the client's clock.
        stopped: True if the sweeper is to end.
    """

    background: BackgroundTasks
    clock: Clock
    stopped: bool = False
    _wake: WakeEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wake = WakeEvent(self.clock)

    async def run(self, sweep: Callable[[], Awaitable[bool]], every: float) -> None:
        """Sweep until stopped.

        Args:
            sweep: makes one pass; returns True if more orders are due.
            every: seconds between two passes.
        """
        while not self.stopped:
            try:
                has_more = await sweep()
            except PaystarError as error:
                logger.warning("payments: a sweep failed: %s", error)
                has_more = False
            if not has_more and not self.stopped:
                await self._wake.sleep(every)

    def stop(self) -> None:
        """End the sweeper: at once if it sleeps, else after the order it is checking."""
        self.stopped = True
        self._wake.set()
