"""A client that is open while its host application runs."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from paystar_async.client import Paystar
from paystar_async.payments import Payment

ClientOrFactory = Paystar | Callable[[], Paystar] | None
"""A client, or a function that returns a client when the host starts; None: ``Paystar.from_env``."""
OnVerified = Callable[[Payment], Awaitable[object] | object]


@asynccontextmanager
async def open_client(make: ClientOrFactory = None, on_verified: OnVerified | None = None) -> AsyncGenerator[Paystar]:
    """Yield an open client, with a sweeper in the background if there is a handler.

    Without ``on_verified`` nothing is swept: verifying a payment without a handler to fulfil it would keep the payer's
    money, which otherwise goes back by itself.

    Args:
        make: a client, or a function that returns one; default: ``Paystar.from_env``.
        on_verified: handler of verified payments.
    """
    async with make if isinstance(make, Paystar) else (make or Paystar.from_env)() as paystar:
        if on_verified is None:
            yield paystar
            return
        paystar.payments.on_verified(on_verified)
        async with paystar.payments.sweeping():
            yield paystar
