"""An event that wakes sleepers before their time."""

import anyio
from attrs import define, field

from paystar_async.clock import Clock


@define(eq=False)
class Alarm:
    """Wakes whoever sleeps; one that rings before anybody sleeps is heard by the next who would."""

    clock: Clock
    _is_set: bool = False
    _sleeping: set[anyio.CancelScope] = field(factory=set[anyio.CancelScope])

    def ring(self) -> None:
        """Wake everybody."""
        self._is_set = not self._sleeping
        for scope in self._sleeping:
            scope.cancel()

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or when it rings."""
        if not self._is_set:
            with anyio.CancelScope() as scope:
                self._sleeping.add(scope)
                try:
                    await self.clock.sleep(seconds)
                finally:
                    self._sleeping.discard(scope)
        self._is_set = False
