"""The lenient search for a new key in the response to a refresh."""

import json

import pytest

from paystar_async.errors import InvalidResponse, StatusError
from paystar_async.transport.refreshed_key import find_refreshed_key, has_key
from tests.transport.endpoint_requests import decode, envelope

PAIR = {"api_key": "key-new", "refresh_token": "refresh-new"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_find_refreshed_key_utf_16_is_read(encoding: str) -> None:
    body = "\ufeff" + json.dumps({"status": 1, "data": PAIR})

    assert find_refreshed_key(body.encode(encoding)) == PAIR


@pytest.mark.parametrize("name", ["api_key", "inquiry_key", "refresh_token", "refresh_inquiry_key"])
def test_find_refreshed_key_of_each_realm_is_read(name: str) -> None:
    assert find_refreshed_key(f'{{"status": 1, "data": {{"{name}": "new\n", '.encode()) == {name: "new\n"}


def test_find_refreshed_key_escapes_are_decoded() -> None:
    assert find_refreshed_key(rb'{"status": "OK", "api_key": "a\u0062\/\"c", ') == {"api_key": 'ab/"c'}


def test_find_refreshed_key_broken_escape_is_skipped() -> None:
    body = rb'{"status": 1, "api_key": "\x", "refresh_token": "refresh-new"'

    assert find_refreshed_key(body) == {"refresh_token": "refresh-new"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key": "key-new"',
        b'{"status": 0, "api_key": "key-new"',
        b'{"status": 10, "api_key": "key-new"',
        b'{"status": -1, "data": {"status": 1, "api_key": "key-new"}}',
        b'{"status": "unauthenticated", "api_key": "key-new"',
        b'{"status": 1, "api_key": "key-n',
        b'{"status": 1, "api_key": ""}',
        b'{"status": 1, "api_key_expire_date": "2026-01-01 12:00:00"}',
        b"",
    ],
)
def test_find_refreshed_key_without_success_is_empty(body: bytes) -> None:
    assert find_refreshed_key(body) == {}


@pytest.mark.parametrize("data", [None, "api_key", [PAIR], {}, {"api_key": None}, {"data": PAIR}])
def test_has_key_other_data_is_false(data: object) -> None:
    assert not has_key(data)


def test_refusal_with_key_is_not_shown() -> None:
    data = {"api_key": "key-new", "token ": "key-new", "refresh_token": ["the token is wrong"]}

    with pytest.raises(StatusError) as caught:
        decode("keys.refresh_application_key", envelope(0, data))

    assert "key-new" not in str(caught.value)
    assert caught.value.fields == {"refresh_token": ["the token is wrong"]}


def test_unreadable_response_without_key_is_invalid() -> None:
    with pytest.raises(InvalidResponse):
        decode("keys.refresh_application_key", b'{"status": 1, "data": {}')
