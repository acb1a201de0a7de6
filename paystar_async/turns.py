"""Heavy work takes turns: of all that would hold the event loop for a millisecond, one piece at a time."""

import anyio
from anyio.lowlevel import RunVar

_line: RunVar[anyio.Lock] = RunVar("paystar_async.turns")


async def turn() -> None:
    """Wait in line for a turn of the loop in which nobody else who asks here does anything.

    What comes right behind it, up to the next ``await``, is that turn's work; all else in the loop goes on in between.
    Without it, as many answers as come at once would hold the loop for all of them.
    """
    try:
        line = _line.get()
    except LookupError:
        line = anyio.Lock()
        _line.set(line)
    # Had, it is handed on at once: the next in line wakes in the next turn, and whoever finds it free waits for that.
    async with line:
        pass
