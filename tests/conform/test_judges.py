"""Judges: each confirms, contradicts or says nothing of a response."""

import pytest

from paystar_async.conform import judges
from paystar_async.conform.judges import Judge, Observed, any_of, by_fact, data_form, data_has, data_lacks
from paystar_async.endpoint import Observation


def observed(
    shape: str = '{"status":"int:1-4","data":"null"}',
    *,
    endpoint: str = "transfers.find",
    http_status: int = 200,
    status: int | str | None = 1,
    **facts: str,
) -> Observed:
    observation = Observation(
        endpoint=endpoint, http_status=http_status, status=status, sent="none", shape=shape, facts=facts
    )
    return Observed.parse(observation)


@pytest.mark.parametrize(("fact", "expected"), [("kept", True), ("exceeded", False), ("other", None)])
def test_by_fact_judges_word(fact: str, expected: bool | None) -> None:
    assert by_fact("limit", {"kept"}, {"exceeded"})(observed(limit=fact)) is expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [((None, None), None), ((None, True), True), ((True, False), False), ((False, None), False)],
)
def test_any_of_contradiction_outweighs(verdicts: tuple[bool | None, ...], expected: bool | None) -> None:
    opinions: list[Judge] = [lambda _, verdict=verdict: verdict for verdict in verdicts]  # type: ignore[misc]
    assert any_of(*opinions)(observed()) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('{"data":{"balance":"int:5-8","account":"absent|text:digits:5-8"}}', True),
        ('{"data":{"balance":"absent"}}', False),
        ('{"data":{}}', False),
        ('{"data":"null"}', False),
    ],
)
def test_data_has_judges_fields(shape: str, expected: bool) -> None:
    assert data_has("transfers.find", "balance")(observed(shape)) is expected


def test_data_has_within_empty_list_says_nothing() -> None:
    judge = data_has("wallet.settle", "id", within="created")
    assert judge(observed('{"data":{"created":[]}}', endpoint="wallet.settle")) is None
    assert judge(observed('{"data":{"created":[{"id":"int:1-4"}]}}', endpoint="wallet.settle")) is True


def test_data_has_refusal_says_nothing() -> None:
    assert data_has("transfers.find", "balance")(observed(status=10)) is None


@pytest.mark.parametrize(
    ("shape", "expected"),
    [('{"data":{}}', True), ('{"data":{"token":"null"}}', True), ('{"data":{"token":"x"}}', False)],
)
def test_data_lacks_accepts_absent_and_null(shape: str, expected: bool) -> None:
    assert data_lacks("token", endpoints="transfers.")(observed(shape)) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('{"data":[{"at":"text:time:17-32"}]}', True),
        ('{"data":[{"at":"text:time:17-32|null"}]}', False),
        ('{"data":[{"at":{"date":"text:day:9-16"}}]}', False),
        ('{"data":[]}', None),
        ('{"data":[{}]}', None),
    ],
)
def test_data_form_judges_form_of_entries(shape: str, expected: bool | None) -> None:
    assert data_form("transfers.find", ("at",), {"time"})(observed(shape)) is expected


@pytest.mark.parametrize(
    ("status", "http_status", "expected"),
    [
        (10, 400, True),
        (10, 200, True),
        (10, 422, False),
        (4, 401, True),
        (10, 401, False),
        (1, 500, None),
        (0, 500, None),
    ],
)
def test_refusal_http_allows_401_of_keys_alone(status: int, http_status: int, expected: bool | None) -> None:
    assert judges.refusal_http(observed(status=status, http_status=http_status)) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ('{"data":{"total_amount":"text:grouped:5-8"}}', True),
        ('{"data":{"items":[{"price":"text:digits|text:dotted:5-8"}]}}', False),
        ('{"data":{"total_amount":"int:5-8","name":"text:dotted:5-8"}}', None),
    ],
)
def test_amount_form_judges_amounts_alone(shape: str, expected: bool | None) -> None:
    assert judges.amount_form(observed(shape)) is expected
