"""Detection of errors that a retry may resolve."""

import pytest

from paystar_async.errors import BY_STATUS, NotSent, PaystarError, StatusError
from paystar_async.errors.transient import is_transient
from tests.errors.examples import NOT_TRANSIENT, TRANSIENT, error_id


@pytest.mark.parametrize("error", [*TRANSIENT, NotSent("x")], ids=error_id)
def test_is_transient_failed_service_or_response_is_true(error: PaystarError) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", NOT_TRANSIENT, ids=error_id)
def test_is_transient_refusal_or_own_error_is_false(error: PaystarError) -> None:
    assert not is_transient(error)


def test_is_transient_statuses_are_those_of_a_failing_server() -> None:
    assert {status for status, kind in BY_STATUS.items() if is_transient(kind(status))} == {0, 11}


def test_is_transient_http_statuses_are_those_of_a_busy_server() -> None:
    transient = {status for status in range(200, 600) if is_transient(StatusError(10, http_status=status))}
    assert transient == {408, 429, *range(500, 600)}
