"""Functions that are given secrets as texts, and whose tracebacks must not show them.

A tracker of errors prints the variables of every frame. Here an error keeps its lines and loses the variables.
"""

import sys
from collections.abc import Callable
from functools import wraps
from traceback import clear_frames
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
