"""An event that wakes sleepers before their time."""

import anyio
from attrs import define, field

from paystar_async.runtime.clock import Clock


@define(eq=False)
class WakeEvent:
    """Wakes all sleepers; without sleepers, the next sleep returns at once.

    Args:
        clock: the clock that sleeps are measured by.
    """

    clock: Clock
    _is_set: bool = False
    _sleeping: set[anyio.CancelScope] = field(factory=set[anyio.CancelScope])

    def set(self) -> None:
        """Wake all sleepers; without sleepers, the next sleeper."""
        self._is_set = not self._sleeping
        for scope in self._sleeping:
            scope.cancel()

    async def sleep(self, seconds: float) -> None:
        """Sleep until the event is set, for at most ``seconds``."""
        if not self._is_set:
            with anyio.CancelScope() as scope:
                self._sleeping.add(scope)
                try:
                    await self.clock.sleep(seconds)
                finally:
                    self._sleeping.discard(scope)
        self._is_set = False
