"""Checks of arguments that are objects: instances of a class, objects with methods, paths."""

import os
from contextlib import suppress
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import TypeVar, cast

from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.errors.text import describe_type, with_article

T = TypeVar("T")


def require_instance(name: str, value: object, kind: type[T], *, hint: str | None = None) -> T:
    """Return an instance of a class; raise InvalidValue naming the parameter ``name`` for any other object."""
    if isinstance(value, kind):
        return value
    raise InvalidValue(name, expected=with_article(kind.__name__), got=describe_type(value), hint=hint)


def require_setting(name: str, value: object, kind: type) -> None:
    """Raise ConfigurationError if a setting is neither None nor an instance of ``kind``."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be given as {kind.__name__}(…), not as {describe_type(value)}")


def require_methods(name: str, value: object, *methods: str, hint: str) -> None:
    """Raise ConfigurationError naming the parameter ``name`` if an object does not have these methods.

    A class is refused, since its methods lack their object.
    """
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        names = ", ".join(methods)
        raise ConfigurationError(f"{name} must be an object with {names}, not {describe_type(value)}", hint=hint)


def require_function(name: str, value: object, *arguments: str, hint: str) -> None:
    """Raise ConfigurationError naming the parameter ``name`` if it cannot be called with these arguments."""
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {describe_type(value)}", hint=hint)
    with suppress(ValueError):  # of a builtin, which has no signature
        try:
            signature(value).bind(*arguments)
        except TypeError as error:
            function = getattr(value, "__qualname__", type(value).__qualname__)
            problem = f"{name} {function} cannot be called with {' and '.join(arguments) or 'no argument'}: {error}"
            raise ConfigurationError(problem, hint=hint) from None


def require_path(name: str, value: object) -> Path:
    """Return a path; raise InvalidValue naming the parameter ``name`` if no file can have such a path."""
    path: object = os.fspath(cast("PathLike[str]", value)) if isinstance(value, str | PathLike) else value
    if not isinstance(path, str):
        raise InvalidValue(name, expected="the path of a file", got=describe_type(path))
    try:
        is_possible = path != "" and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        got = "a text that no file can have as its name" if path else "an empty text"
        raise InvalidValue(name, expected="the path of a file", got=got)
    return Path(path)
