"""A client that is open while its host application runs."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from paystar_async.client import Paystar
from paystar_async.errors import ConfigurationError
from paystar_async.errors.text import describe_type
from paystar_async.payments import Payment
from paystar_async.values.arguments import require_function

ClientOrFactory = Paystar | Callable[[], Paystar] | None
"""A client, or a function that returns a client when the host starts; None: ``Paystar.from_env``."""
OnVerified = Callable[[Payment], Awaitable[object] | object]


def _make_client(make: ClientOrFactory) -> Paystar:
    hint = "make=Paystar(…), or a function that returns one"
    if not isinstance(make, Paystar):
        make = Paystar.from_env if make is None else make
        require_function("make", make, hint=hint)
        make = make()
    if not isinstance(make, Paystar):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"make returned {describe_type(make)}, not a Paystar", hint=hint)
    return make


@asynccontextmanager
async def open_client(make: ClientOrFactory = None, on_verified: OnVerified | None = None) -> AsyncGenerator[Paystar]:
    """Yield an open client, with a sweeper in the background if there is a handler.

    Without ``on_verified`` nothing is swept: verifying a payment without a handler to fulfil it would keep the payer's
    money, which otherwise goes back by itself.

    Args:
        make: a client, or a function that returns one; default: ``Paystar.from_env``.
        on_verified: handler of verified payments.

    Raises:
        ConfigurationError: a setting is wrong, or ``make`` is no client and returns none.
    """
    async with _make_client(make) as paystar:
        if on_verified is None:
            yield paystar
            return
        paystar.payments.on_verified(on_verified)
        async with paystar.payments.sweeping():
            yield paystar
