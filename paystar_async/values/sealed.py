"""Functions that are given secrets as texts, and whose tracebacks must not show them.

A tracker of errors prints the variables of every frame. Here an error keeps its lines and loses the variables.
"""

import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from inspect import iscoroutinefunction, isfunction
from traceback import clear_frames, walk_tb
from types import FrameType
from typing import Any, ParamSpec, TypeVar, cast

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
