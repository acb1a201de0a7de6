"""Requests and answers that are made past ``__init__`` are the ones it would have made."""

from attrs import evolve

from paystar_async.endpoint import Request, Response, answer, blank
from paystar_async.models.identity import MatchMobile
from paystar_async.table import BY_REQUEST
from paystar_async.values.secret import Secret

ROW = BY_REQUEST[MatchMobile]
VALUE = MatchMobile(national_id="0012345679", mobile_number="09121234567")
OTHER = MatchMobile(national_id="0012345679", mobile_number="09121234568")


def before_send() -> None: ...


def test_a_filled_in_blank_is_the_request_of_its_fields() -> None:
    filled = blank(ROW, "app-1", 30.0)

    usual, fenced = filled(VALUE, None, None), filled(OTHER, 5.0, before_send)

    assert usual == Request(value=VALUE, endpoint=ROW, account="app-1", timeout=30.0)
    assert fenced == Request(value=OTHER, endpoint=ROW, account="app-1", timeout=5.0)
    assert (usual.before_send, fenced.before_send) == (None, before_send)
    assert repr(usual) == repr(Request(value=VALUE, endpoint=ROW, account="app-1", timeout=30.0))


def test_what_a_ring_changes_is_changed_in_its_copy_alone() -> None:
    first = blank(ROW, "app-1", 30.0)(VALUE, None, before_send)
    key = Secret("k")

    last = first.with_deadline(7.0).with_attempt(2).with_key(key)

    assert last == evolve(first, deadline=7.0, attempt=2, key=key)
    assert last.before_send is before_send
    assert (first.deadline, first.attempt, first.key) == (None, 1, None)


def test_an_answer_is_the_response_of_its_fields() -> None:
    made = answer("v", 1, "ok", 200, {"a": "b"}, b"{}")

    assert made == Response(value="v", status=1, message="ok", http_status=200, headers={"a": "b"}, body=b"{}")
    assert repr(made) == "Response(value='v', status=1, message='ok', http_status=200)"
