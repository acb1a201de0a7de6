"""The sandbox's own clock: it runs like the machine's, and can be put forward."""

import anyio

from paystar_async.clock import SystemClock

_TICK = 0.02
"""Seconds after which a sleeper looks at the clock again; whoever puts it forward may be in another thread."""


class SandboxClock(SystemClock):
    """The machine's clock, and what it was put forward by."""

    def __init__(self) -> None:
        self._ahead = self._off = 0.0

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return super().time() + self._ahead + self._off

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return super().monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Come back after so many seconds, or once it was put forward so far."""
        until = self.monotonic() + seconds
        await anyio.lowlevel.checkpoint()
        while (left := until - self.monotonic()) > 0:
            await super().sleep(min(left, _TICK))

    def advance(self, seconds: float) -> None:
        """Put it forward; whoever sleeps until then wakes."""
        self._ahead += seconds

    def jump(self, seconds: float) -> None:
        """Set the time of day forward or back, as an administrator would: no time passes."""
        self._off += seconds
