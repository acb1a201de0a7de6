"""A text that shows itself only when asked by name."""

import hmac
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from traceback import clear_frames, walk_tb
from types import FrameType
from typing import Any, Never, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)


def sealed(read: Callable[P, T]) -> Callable[P, T]:
    """Have a function forget what it was given, and all that it made of it, when it raises."""

    @wraps(read)
    def sealed(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exception()  # what is being handled around the call is not ours to touch
        try:
            return read(*args, **kwargs)
        except Exception as error:
            told: BaseException | None = error
            while told is not None and told is not outer:
                clear_frames(told.__traceback__)
                told = told.__context__
            if error is not outer:
                # What it came from may quote in its text what it could not read.
                error.__context__, error.__cause__ = outer, None
            del args, kwargs
            raise

    return sealed


def sealed_class(cls: C) -> C:
    """Class decorator: the same for what an instance is made of."""
    made: Any = cls
    made.__init__ = sealed(cast("Callable[..., None]", made.__init__))
    return cls


_HOLD_ARGUMENTS = (
    "paystar_async.services",
    "paystar_async.models.",
    "paystar_async.values.",
    "paystar_async.payments.service",
    "paystar_async.payments.processor",
)
"""Modules whose frames hold a caller's values as they were given; above and below them travel masked requests."""


def clear_arguments(error: BaseException, outer: BaseException | None = None) -> None:
    """Clear the variables of the frames that hold a caller's own values: cards, national ids, mobile numbers.

    Args:
        error: what was raised; its causes, contexts and members are cleared too.
        outer: what was handled around the call, which is the caller's.
    """
    left: list[BaseException | None] = [error]
    seen = {id(outer)}
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        for frame, _ in walk_tb(one.__traceback__):
            if _holds_arguments(frame):
                with suppress(RuntimeError):  # it is still running
                    frame.clear()
        left += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            left += cast("BaseExceptionGroup[BaseException]", one).exceptions


def _holds_arguments(frame: FrameType) -> bool:
    is_generated = frame.f_code.co_filename.startswith("<attrs generated")
    return is_generated or str(frame.f_globals.get("__name__")).startswith(_HOLD_ARGUMENTS)


def private(read: Callable[P, T]) -> Callable[P, T]:
    """Have a function's traceback show none of the values that it was given."""

    @wraps(read)
    def private(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return read(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear_arguments(error, outer)
            raise

    return private


def private_async(read: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a coroutine function as ``private`` does a function."""

    @wraps(read)
    async def private(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return await read(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear_arguments(error, outer)
            raise

    return private


def private_methods(cls: C) -> C:
    """Class decorator: ``private`` for all public methods, coroutine functions too."""
    for name, method in list(vars(cls).items()):
        if isfunction(method) and not name.startswith("_"):
            wrapped: Any = private_async(method) if iscoroutinefunction(method) else private(method)
            setattr(cls, name, wrapped)
    return cls


class Secret:
    """A password, key or token: no ``repr``, ``str``, format, pickle or copy ever shows it; ``reveal()`` does."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; called where a request is written, and nowhere else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Half a surrogate pair comes out of an environment that is not UTF-8; comparing it must not fail.
        return hmac.compare_digest(*(one.reveal().encode(errors="surrogatepass") for one in (self, other)))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is not pickled: hand the account over by other means")


def to_secret(value: "str | Secret") -> Secret:
    """A Secret of a text or of a Secret."""
    return value if isinstance(value, Secret) else Secret(value)


def to_optional_secret(value: "str | Secret | None") -> Secret | None:
    """The same, None staying None."""
    return None if value is None else to_secret(value)
