"""Observations: the shape of any response reaches the middleware that wants it, and nothing else changes."""

import json
import logging
from typing import Any
from unittest.mock import Mock

import pytest

from paystar_async.endpoint import Observation
from paystar_async.models.keys import RefreshApplicationKey
from paystar_async.models.transfers import FindTransfers, Settle
from paystar_async.transport.observation import known_status, report_observation
from tests.support import request, tehran_time, transfer
from tests.transport.endpoint_requests import CALLS, example_request, make_request

NOW = 1_760_000_000.0
HOUR = 3_600.0
HUGE = 10**400


def observe(value: Any, envelope: object, *, http_status: int = 200, body: bytes = b"") -> Observation:
    """Return what is reported of a response to a request value."""
    observations: list[Observation] = []
    live = request(value)
    live.observe = observations.append
    report_observation(live, http_status, envelope, body, NOW)  # type: ignore[arg-type]
    (observation,) = observations
    return observation


def expiry(value: object, name: str = "api_key_expire_date") -> str:
    return observe(RefreshApplicationKey(), {"status": 1, "data": {"api_key": "k", name: value}}).facts["expiry"]


def test_report_observation_without_observer_reads_nothing() -> None:
    report_observation(request(), 200, Mock(side_effect=ZeroDivisionError), b"", NOW)


@pytest.mark.parametrize(("items", "sent"), [(1, "one"), (2, "several"), (20, "several")])
def test_report_observation_counts_transfers_in_words(items: int, sent: str) -> None:
    call = Settle(transfers=[transfer(f"t-{number}") for number in range(items)])
    assert observe(call, {"status": "ok", "data": []}).sent == sent
    assert observe(FindTransfers(), {"status": "ok", "data": []}).sent == "none"


@pytest.mark.parametrize(
    ("status", "known"),
    [
        (1, 1),
        ("ok", "ok"),
        ("1", 1),
        (1.0, "other"),
        (-101, -101),
        ("unauthenticated", "unauthenticated"),
        (None, None),
        ("", None),
        (77, "other"),
        ("kanari", "other"),
        (HUGE, "other"),
        ("9" * 5000, "other"),
        (float("nan"), "other"),
        (float("inf"), "other"),
        (1.5, "other"),
        (True, "other"),
        (False, "other"),
        ([1], "other"),
        ({"status": 1}, "other"),
    ],
    ids=lambda value: str(value)[:12] if not isinstance(value, int) or value != HUGE else "huge",
)
def test_known_status_is_listed_status_or_other(status: object, known: object) -> None:
    assert known_status(status) == known


STRANGE: dict[str, object] = {
    "huge": HUGE,
    "negative": -HUGE,
    "nan": float("nan"),
    "infinite": float("inf"),
    "true": True,
    "false": False,
    "surrogate": "\ud800",
    "zero bytes": "\x00" * 300,
    "list": [[[[[[[[[1]]]]]]]]],
    "object": {"data": {"data": {"data": {"data": {"data": {"data": {"data": 1}}}}}}},
    "mixed": [1, "x", None, {}, [], True],
    "many fields": {f"name{number}": number for number in range(5000)},
}


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("endpoint", CALLS, ids=str)
def test_report_observation_of_strange_value_is_a_shape(
    endpoint: Any, strange: str, caplog: pytest.LogCaptureFixture
) -> None:
    value = STRANGE[strange]
    observations: list[Observation] = []
    live = make_request(example_request(endpoint))
    live.observe = observations.append
    for envelope in ({"status": value, "message": value, "data": value}, {"status": 1, "data": {"amount": value}}):
        report_observation(live, 200, envelope, b"", NOW)
    assert [record.getMessage() for record in caplog.records] == []
    assert len(observations) == 2
    for observation in observations:
        assert len(json.dumps(json.loads(observation.shape))) < 2_000
        assert observation.status in (1, None, "other")


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b"", '"body:empty"'),
        (b" \r\n", '"body:empty"'),
        (b"  <html>", '"body:html"'),
        (b"[1]", '"body:other"'),
        (b"\xff", '"body:other"'),
    ],
)
def test_report_observation_without_envelope_has_kind_of_body(body: bytes, shape: str) -> None:
    observation = observe(FindTransfers(), None, http_status=502, body=body)
    assert (observation.http_status, observation.status, observation.shape) == (502, None, shape)
    assert observation.facts == {}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (tehran_time(NOW + 24 * HOUR), "tehran"),
        (tehran_time(NOW + 24 * HOUR - 3.5 * HOUR), "utc"),
        (tehran_time(NOW + 23.5 * HOUR), "unclear"),
        (tehran_time(NOW + 24 * HOUR + 1200), "unclear"),
        (tehran_time(NOW + 100 * HOUR), "unclear"),
        (tehran_time(NOW - 100 * HOUR), "unclear"),
        (NOW + HOUR, "unix"),
        ((NOW + HOUR) * 1000, "unix"),
        (86_400, "other number"),
        (HUGE, "other number"),
        (-1, "other number"),
        (float("nan"), "other number"),
        (float("inf"), "other number"),
        (True, "other number"),
        ("1404-10-11 00:00:00", "other text"),
        ("2026-13-45 99:99:99", "other text"),
        ("kanari", "other text"),
        ([1], "other text"),
        ({"at": 1}, "other text"),
        (None, "absent"),
        ("", "absent"),
        (0, "absent"),
    ],
)
def test_report_observation_names_form_of_expiry(value: object, kind: str) -> None:
    assert expiry(value) == kind
    assert expiry(value, "inquiry_key_expire_date") == kind


def test_report_observation_names_invalid_access_message_alone() -> None:
    assert observe(FindTransfers(), {"status": 0, "message": " دسترسی نامعتبر "}).facts == {"message": "invalid access"}
    assert observe(FindTransfers(), {"status": 0, "message": "kanari"}).facts == {}
    assert observe(FindTransfers(), {"status": 0, "message": ["دسترسی نامعتبر"]}).facts == {}


@pytest.mark.parametrize("error", [ZeroDivisionError, RecursionError, MemoryError])
def test_report_observation_failing_observer_is_logged_only(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    live = request()
    live.observe = Mock(side_effect=error("kanari"))
    report_observation(live, 200, {"status": 1}, b"", NOW)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"the shape of a response was not recorded: {error.__name__}"
