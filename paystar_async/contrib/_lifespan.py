"""A client for the life of its host, whatever the host is."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from paystar_async.client import Paystar
from paystar_async.payments import Payment

Make = Paystar | Callable[[], Paystar] | None
"""A client, or what makes one when the host starts; None: ``Paystar.from_env``."""
OnVerified = Callable[[Payment], Awaitable[object] | object]


@asynccontextmanager
async def opened(make: Make = None, on_verified: OnVerified | None = None) -> AsyncGenerator[Paystar]:
    """An open client, with the sweeper beside it where there is somebody to tell of what it finds.

    Without ``on_verified`` nothing is swept: to verify a payment that nobody fulfils would keep a payer's money that
    goes back by itself.
    """
    async with make if isinstance(make, Paystar) else (make or Paystar.from_env)() as paystar:
        if on_verified is None:
            yield paystar
            return
        paystar.payments.on_verified(on_verified)
        async with paystar.payments.sweeping():
            yield paystar
