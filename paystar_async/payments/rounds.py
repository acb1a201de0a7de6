"""A pass again and again, until somebody says stop."""

from collections.abc import Awaitable, Callable

from attrs import define, field

from paystar_async.background import Background
from paystar_async.clock import Clock
from paystar_async.errors import PaystarError
from paystar_async.events import logger
from paystar_async.wake_event import WakeEvent


@define(eq=False)
class Rounds:
    """One sweeper at work.

    Attributes:
        background: the jobs of the event loop it belongs to.
        clock: how to wait.
        stopped: whether it is to end.
    """

    background: Background
    clock: Clock
    stopped: bool = False
    _wake: WakeEvent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._wake = WakeEvent(self.clock)

    async def run(self, once: Callable[[], Awaitable[bool]], every: float) -> None:
        """Make rounds; ``once`` says whether there is more to do at once."""
        while not self.stopped:
            try:
                more = await once()
            except PaystarError as error:
                logger.warning("payments: a sweep broke off: %s", error)
                more = False
            if not more and not self.stopped:
                await self._wake.sleep(every)

    def stop(self) -> None:
        """End: at once if it sleeps, else after the order it is at."""
        self.stopped = True
        self._wake.set()
