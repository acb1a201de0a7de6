"""An event that wakes sleepers before their time."""

import anyio
from attrs import define, field

from paystar_async.clock import Clock


@define(eq=False)
class Alarm:
    """Wakes whoever sleeps; one that rings before anybody sleeps is heard by the next who would."""

    clock: Clock
    _awake: anyio.Event = field(factory=anyio.Event)

    def ring(self) -> None:
        """Wake everybody."""
        self._awake.set()

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or when it rings."""
        awake = self._awake
        if not awake.is_set():
            async with anyio.create_task_group() as group:

                async def wake() -> None:
                    await awake.wait()
                    group.cancel_scope.cancel()

                group.start_soon(wake)
                await self.clock.sleep(seconds)
                group.cancel_scope.cancel()
        if self._awake is awake:
            self._awake = anyio.Event()
