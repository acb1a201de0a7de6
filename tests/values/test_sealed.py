"""What is given secrets as texts keeps its lines when it raises, and loses its variables."""

import inspect
import traceback

import pytest

from paystar_async.values.sealed import sealed


@sealed
def opened(text: str, *, often: int = 1) -> str:
    """Open it."""
    spelt = text * often
    if often:
        raise ValueError("it does not open")
    return spelt


def variables(error: BaseException) -> list[str]:
    stack = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    return [str(frame.locals) for frame in stack[1:]]


def test_an_error_keeps_its_lines_and_loses_its_variables() -> None:
    with pytest.raises(ValueError, match="does not open") as caught:
        opened("kanari")

    assert len(variables(caught.value)) == 2
    assert "kanari" not in "".join(variables(caught.value))


def test_what_is_handled_around_it_keeps_its_own() -> None:
    def outer() -> None:
        kept = "mine"
        raise KeyError(len(kept))

    def within() -> None:
        try:
            outer()
        except KeyError:
            opened("kanari")

    with pytest.raises(ValueError, match="does not open") as caught:
        within()
    assert caught.value.__context__ is not None
    assert "mine" in "".join(variables(caught.value.__context__))


def test_what_an_error_came_from_is_not_told() -> None:
    @sealed
    def number(text: str) -> int:
        try:
            return int(text)
        except ValueError as problem:
            raise TypeError("no number") from problem

    with pytest.raises(TypeError, match="no number") as caught:
        number("".join(("kana", "ri")))  # whose line is shown as well
    assert "kanari" not in "".join(traceback.format_exception(caught.value))


def test_it_looks_like_what_it_seals() -> None:
    assert (opened("text", often=0), opened.__doc__) == ("", "Open it.")
    assert str(inspect.signature(opened)) == "(text: str, *, often: int = 1) -> str"
