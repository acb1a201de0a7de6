"""Detection of errors that a retry may resolve."""

import pytest

from paystar_async.errors import (
    BY_STATUS,
    ConfigurationError,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
)
from paystar_async.errors.transient import is_transient


@pytest.mark.parametrize("error", [NotSent("x"), NoResponse("x"), InvalidResponse("$", "x")], ids=repr)
def test_is_transient_missing_or_invalid_response_is_true(error: PaystarError) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        PaystarError("x"),
        ConfigurationError("x"),
        InvalidValue("amount", expected="whole Rial", got="1.5"),
        TrackIdConflict("x"),
        StorageError("x"),
    ],
    ids=repr,
)
def test_is_transient_error_of_this_program_is_false(error: PaystarError) -> None:
    assert not is_transient(error)


def test_is_transient_statuses_are_those_of_a_failing_server() -> None:
    assert {status for status, kind in BY_STATUS.items() if is_transient(kind(status))} == {0, 11}


def test_is_transient_http_statuses_are_those_of_a_busy_server() -> None:
    transient = {status for status in range(200, 600) if is_transient(StatusError(10, http_status=status))}
    assert transient == {408, 429, *range(500, 600)}
