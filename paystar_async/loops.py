"""Which event loop runs, told at once: every call asks."""

from asyncio import AbstractEventLoop, get_running_loop

import sniffio

_here = sniffio.thread_local


def asyncio_loop() -> AbstractEventLoop | None:
    """The loop of asyncio that runs; None on trio, also where trio is asyncio's guest, and where none runs."""
    if _here.name is not None:  # trio says so while one of its tasks runs
        return None
    try:
        return get_running_loop()
    except RuntimeError:
        return None
