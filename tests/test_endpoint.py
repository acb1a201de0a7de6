"""Requests: copies with changed attributes."""

from paystar_async.endpoint import Request
from paystar_async.models.identity import MatchMobile
from paystar_async.table import BY_REQUEST
from paystar_async.values.secret import Secret

ENDPOINT = BY_REQUEST[MatchMobile]
VALUE = MatchMobile(national_id="0012345679", mobile_number="09121234567")


def before_send() -> None: ...


def test_request_replace_changes_a_copy() -> None:
    first = Request(value=VALUE, endpoint=ENDPOINT, account="app-1", timeout=30.0, before_send=before_send)

    last = first.replace(deadline=7.0, attempt=2, key=Secret("k"))

    assert (last.deadline, last.attempt, last.key) == (7.0, 2, Secret("k"))
    assert (last.value, last.before_send, last.dispatch) == (VALUE, before_send, first.dispatch)
    assert (first.deadline, first.attempt, first.key) == (None, 1, None)
