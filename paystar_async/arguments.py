"""What a client is given, checked when it is given rather than at the first call."""

from collections.abc import Sequence
from typing import cast

from paystar_async.endpoint import Middleware
from paystar_async.errors import ConfigurationError


def above(name: str, value: object, bound: int, kind: type[float]) -> None:
    """Refuse a number that is none, or not above ``bound``."""
    given = value if isinstance(value, kind | int) and not isinstance(value, bool) else bound
    if not given > bound:
        what = "a whole number" if kind is int else "a number"
        raise ConfigurationError(f"{name} must be {what} above {bound}, not {value!r:.20}")


def rings(given: object) -> tuple[Middleware, ...]:
    """The rings of a list of them; refuses whatever cannot be called."""
    listed = tuple(cast("Sequence[object]", given)) if isinstance(given, Sequence) else (None,)
    if not all(callable(ring) for ring in listed):
        raise ConfigurationError("middleware must be a list of rings", hint="async def ring(request, next): ...")
    return cast("tuple[Middleware, ...]", listed)


def account(name: str, given: object, kind: type) -> None:
    """Refuse an account that is not one of its kind."""
    if given is not None and not isinstance(given, kind):
        raise ConfigurationError(f"{name} must be given as {kind.__name__}(…), not as a {type(given).__name__}")
