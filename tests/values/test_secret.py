"""Secrets, which are never shown, and decorators that clear values from tracebacks."""

import copy
import dataclasses
import inspect
import json
import logging
import pickle
import string
import traceback

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.secret import Secret, clear_locals_on_error, to_optional_secret, to_secret


@clear_locals_on_error
def repeat(text: str, *, times: int = 1) -> str:
    """Return the text repeated."""
    repeated = text * times
    if times:
        raise ValueError("cannot repeat")
    return repeated


def local_variables(error: BaseException) -> list[str]:
    stack = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    return [str(frame.locals) for frame in stack[1:]]


def test_clear_locals_error_loses_variables() -> None:
    with pytest.raises(ValueError, match="cannot repeat") as caught:
        repeat("kanari")

    assert len(local_variables(caught.value)) == 2
    assert "kanari" not in "".join(local_variables(caught.value))


def test_clear_locals_outer_exception_keeps_variables() -> None:
    def raise_key_error() -> None:
        value = "visible"
        raise KeyError(len(value))

    def repeat_while_handling() -> None:
        try:
            raise_key_error()
        except KeyError:
            repeat("kanari")

    with pytest.raises(ValueError, match="cannot repeat") as caught:
        repeat_while_handling()
    assert caught.value.__context__ is not None
    assert "visible" in "".join(local_variables(caught.value.__context__))


def test_clear_locals_error_loses_its_cause() -> None:
    @clear_locals_on_error
    def number(text: str) -> int:
        try:
            return int(text)
        except ValueError as problem:
            raise TypeError("not a number") from problem

    with pytest.raises(TypeError, match="not a number") as caught:
        number("".join(("kana", "ri")))  # joined, because tracebacks show this line too
    assert "kanari" not in "".join(traceback.format_exception(caught.value))


def test_clear_locals_keeps_docstring_and_signature() -> None:
    assert (repeat("text", times=0), repeat.__doc__) == ("", "Return the text repeated.")
    assert str(inspect.signature(repeat)) == "(text: str, *, times: int = 1) -> str"


TEXT = "canary-secret"


@attrs.frozen
class AttrsHolder:
    secret: Secret


@dataclasses.dataclass
class DataclassHolder:
    secret: Secret


@pytest.mark.parametrize(
    "formatted",
    [
        repr(Secret(TEXT)),
        str(Secret(TEXT)),
        f"{Secret(TEXT)}",
        f"{Secret(TEXT)!r} {Secret(TEXT)!s} {Secret(TEXT)!a}",
        f"{Secret(TEXT):>40} {Secret(TEXT):s}",
        "{}".format(Secret(TEXT)),  # noqa: UP032
        "%s %r" % (Secret(TEXT), Secret(TEXT)),  # noqa: UP031
        string.Template("$a").substitute(a=Secret(TEXT)),
        repr([Secret(TEXT)]) + str({"a": Secret(TEXT)}),
        repr(AttrsHolder(Secret(TEXT))),
        repr(attrs.asdict(AttrsHolder(Secret(TEXT)))) + repr(attrs.astuple(AttrsHolder(Secret(TEXT)))),
        repr(dataclasses.asdict(DataclassHolder(Secret(TEXT)))),
        json.dumps({"a": Secret(TEXT)}, default=str),
        repr(copy.deepcopy({"a": Secret(TEXT)})),
        repr(dir(Secret(TEXT))),
    ],
)
def test_secret_is_never_shown(formatted: str) -> None:
    assert TEXT not in formatted


def test_secret_in_log_record_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("any").warning("%s %r %20s", Secret(TEXT), Secret(TEXT), Secret(TEXT), extra={"s": Secret(TEXT)})

    assert TEXT not in caplog.text + repr(caplog.records[0].__dict__)


def test_secret_in_traceback_is_not_shown() -> None:
    def fail(secret: Secret) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        fail(Secret(TEXT))
    formatted = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "secret = Secret(…)" in formatted


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_secret_pickle_raises(protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps(AttrsHolder(Secret(TEXT)), protocol)

    assert TEXT not in str(caught.value)


def test_secret_other_serialization_raises() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(TEXT))
    with pytest.raises(TypeError):
        vars(Secret(TEXT))
    with pytest.raises(TypeError):
        iter(Secret(TEXT))  # type: ignore[call-overload]


def test_secret_copy_is_same_object() -> None:
    secret = Secret(TEXT)

    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


@given(st.text(), st.text())
def test_secret_equality_follows_text(text: str, other: str) -> None:
    assert (Secret(text) == Secret(other)) is (text == other)
    assert Secret(text) == Secret(text)
    assert hash(Secret(text)) == hash(Secret(text))
    assert bool(Secret(text)) is bool(text)
    assert Secret(text).reveal() == text


def test_secret_differs_from_text() -> None:
    assert Secret(TEXT) != TEXT
    assert Secret(TEXT) is not None
    assert hash(Secret(TEXT)) != hash(TEXT)


def test_secret_half_surrogate_is_comparable() -> None:
    assert Secret("\udcff") == Secret("\udcff")
    assert Secret("\udcff") != Secret("\udcfe")


def test_to_secret_of_secret_is_unchanged() -> None:
    secret = Secret(TEXT)

    assert to_secret(secret) is secret
    assert to_optional_secret(secret) is secret
    assert to_secret(TEXT) == secret
    assert to_optional_secret(None) is None
