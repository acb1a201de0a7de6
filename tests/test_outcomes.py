"""Outcomes of a transfer."""

import pytest

from paystar_async import outcomes
from paystar_async.errors import NoResponse


@pytest.mark.parametrize("outcome", outcomes.Outcome.__args__)
def test_outcomes_have_track_id(outcome: type) -> None:
    values = {"track_id": "t", "reason": "r"} if outcome is not outcomes.Succeeded else {"track_id": "t"}

    assert outcome(**values).track_id == "t"


def test_outcomes_equality_ignores_error() -> None:
    with_error = outcomes.Unknown(track_id="t", reason="x", error=NoResponse("a"))

    assert with_error == outcomes.Unknown(track_id="t", reason="x")
