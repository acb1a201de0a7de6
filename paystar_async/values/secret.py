"""Secrets, and decorators that keep secrets and personal values out of tracebacks."""

import hmac
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from traceback import clear_frames, walk_tb
from types import FrameType
from typing import Any, Never, ParamSpec, TypeVar, cast

from paystar_async.errors import InvalidValue
from paystar_async.errors.text import describe_type

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=type)


def clear_locals(error: BaseException | None, outer: BaseException | None) -> None:
    """Clear the local variables of all frames of an error and its contexts, up to an outer error."""
    while error is not None and error is not outer:
        clear_frames(error.__traceback__)
        error = error.__context__


def clear_locals_on_error(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with the local variables of its frames cleared when an Exception leaves it."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exception()  # an exception that the caller is handling must not be changed
        try:
            return function(*args, **kwargs)
        except Exception as error:
            clear_locals(error, outer)
            if error is not outer:
                # The text of the cause may quote the value.
                error.__context__, error.__cause__ = outer, None
            del args, kwargs
            raise

    return wrapper


def clear_init_locals_on_error(cls: C) -> C:
    """Return the class with ``clear_locals_on_error`` applied to its constructor."""
    target: Any = cls
    target.__init__ = clear_locals_on_error(cast("Callable[..., None]", target.__init__))
    return cls


_MODULES_WITH_VALUES = (
    "paystar_async.services",
    "paystar_async.blocking.",
    "paystar_async.models.",
    "paystar_async.values.",
    "paystar_async.payments.service",
    "paystar_async.payments.processor",
)
"""Modules whose frames contain a caller's unmasked values; all other frames contain masked requests only."""


def clear_arguments(error: BaseException, outer: BaseException | None = None) -> None:
    """Clear the local variables of frames that contain a caller's values: cards, national ids, mobile numbers.

    Args:
        error: the raised exception; its causes, contexts and group members are cleared too.
        outer: the exception that the caller is handling, which is left as it is.
    """
    pending: list[BaseException | None] = [error]
    visited = {id(outer)}
    while pending:
        current = pending.pop()
        if current is None or id(current) in visited:
            continue
        visited.add(id(current))
        for frame, _ in walk_tb(current.__traceback__):
            if _contains_values(frame):
                with suppress(RuntimeError):  # the frame is still running
                    frame.clear()
        pending += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            pending += cast("BaseExceptionGroup[BaseException]", current).exceptions


def _contains_values(frame: FrameType) -> bool:
    is_generated = frame.f_code.co_filename.startswith("<attrs generated")
    return is_generated or str(frame.f_globals.get("__name__")).startswith(_MODULES_WITH_VALUES)


def hide_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function with its arguments kept out of tracebacks."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear_arguments(error, outer)
            raise

    return wrapper


def hide_arguments_async(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the coroutine function with its arguments kept out of tracebacks."""

    @wraps(function)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            del args, kwargs
            clear_arguments(error, outer)
            raise

    return wrapper


def hide_method_arguments(cls: C) -> C:
    """Return the class with the arguments of all public methods kept out of tracebacks."""
    for name, method in list(vars(cls).items()):
        if isfunction(method) and not name.startswith("_"):
            wrapped: Any = hide_arguments_async(method) if iscoroutinefunction(method) else hide_arguments(method)
            setattr(cls, name, wrapped)
    return cls


class Secret:
    """A password, key or token, which only ``reveal()`` shows: never ``repr``, ``str``, ``format`` or pickle.

    Args:
        text: the text; InvalidValue is raised for any other type.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(cast("object", text), str):
            raise InvalidValue("text", expected="a text", got=describe_type(text))
        self._text = text

    def reveal(self) -> str:
        """Return the text; called only where a request is encoded."""
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
        # An environment that is not UTF-8 yields half surrogate pairs, and comparing them must not fail.
        return hmac.compare_digest(*(secret.reveal().encode(errors="surrogatepass") for secret in (self, other)))

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is not pickled: pass the credentials by other means")


def to_secret(value: "str | Secret") -> Secret:
    """Return a text as a Secret; a Secret is returned unchanged.

    A value of another type is hidden too; ``credentials.check_secret_text`` refuses it, with the name of its field.
    """
    if isinstance(value, Secret):
        return value
    secret = Secret.__new__(Secret)
    secret._text = value  # noqa: SLF001 - of this module  # pyright: ignore[reportPrivateUsage]
    return secret


def to_optional_secret(value: "str | Secret | None") -> Secret | None:
    """Return a text as a Secret, or None for None."""
    return None if value is None else to_secret(value)
