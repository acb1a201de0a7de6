"""Checks of arguments that are objects: what is accepted, and what the errors name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.errors.text import describe_type
from paystar_async.values.arguments import (
    require_function,
    require_instance,
    require_methods,
    require_path,
    require_setting,
)


class Door:
    """An object with a method."""

    def open(self) -> None: ...


async def answer() -> int:
    return 42


@pytest.mark.parametrize(
    ("value", "description"),
    [(None, "None"), (5, "an int"), ("4111", "a str"), (Door, "the class Door"), (Door(), "a Door")],
)
def test_describe_type_shows_no_content(value: object, description: str) -> None:
    assert describe_type(value) == description


def test_describe_type_of_coroutine_says_not_awaited() -> None:
    coroutine = answer()
    assert describe_type(coroutine) == "a coroutine, which was not awaited"
    coroutine.close()


def test_require_instance_names_parameter_and_hint() -> None:
    door = Door()
    assert require_instance("door", door, Door) is door
    with pytest.raises(InvalidValue, match="door: expected a Door, got the class Door – build one"):
        require_instance("door", Door, Door, hint="build one")


def test_require_setting_accepts_none_and_instances() -> None:
    require_setting("door", None, Door)
    require_setting("door", Door(), Door)
    with pytest.raises(ConfigurationError, match=r"door must be given as Door\(…\), not as an int"):
        require_setting("door", 5, Door)


@pytest.mark.parametrize("value", [None, 5, Door])
def test_require_methods_refuses_other_objects(value: object) -> None:
    require_methods("door", Door(), "open", hint="build one")
    with pytest.raises(ConfigurationError, match=r"door must be an object with open, not .* – build one"):
        require_methods("door", value, "open", hint="build one")


@pytest.mark.parametrize("function", [describe_type, print, int, Door.open])
def test_require_function_accepts_callables(function: Callable[..., object]) -> None:
    require_function("handler", function, "a payment", hint="see the guide")


@pytest.mark.parametrize(
    ("value", "message"),
    [(5, "must be a function, not an int"), (lambda: None, "lambda> cannot be called with a payment: too many")],
)
def test_require_function_refuses_other_shapes(value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"handler .*{message}"):
        require_function("handler", value, "a payment", hint="see the guide")


@pytest.mark.parametrize("path", ["a.csv", Path("a"), " ", "\udcff.csv"])
def test_require_path_returns_path(path: str | Path) -> None:
    assert require_path("path", path) == Path(path)


WRONG_PATHS: Sequence[Any] = ("", "a\0b", "\ud800", b"a", 5, None, Path)


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_require_path_refuses_impossible_path(path: Any) -> None:
    with pytest.raises(InvalidValue, match="path: expected the path of a file, got"):
        require_path("path", path)
