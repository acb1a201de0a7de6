"""The ledger's values: bounds of a policy, and nothing personal in what they show."""

import pytest

from paystar_async.errors import InvalidValue, StorageCorrupt
from paystar_async.payouts.records import GateRecord, Policy


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chunk", 0),
        ("chunk", 101),
        ("chunk", True),
        ("chunk", 2.0),
        ("concurrency", 0),
        ("concurrency", "4"),
        ("rate", 0),
        ("rate", float("inf")),
        ("rate", float("nan")),
        ("rate", True),
        ("quiet_window", -1.0),
        ("quiet_window", None),
        ("resend", "yes"),
        ("resend", 1),
    ],
)
def test_a_policy_out_of_its_bounds_is_refused_and_names_the_field(field: str, value: object) -> None:
    with pytest.raises(InvalidValue) as refusal:
        Policy(**{field: value})  # type: ignore[arg-type]
    assert refusal.value.field == field


@pytest.mark.parametrize("policy", [Policy(), Policy(chunk=100, concurrency=1, rate=0.1, quiet_window=5, resend=True)])
def test_a_policy_comes_back_as_it_went(policy: Policy) -> None:
    assert Policy.from_text(policy.to_text()) == policy


@pytest.mark.parametrize("text", ["", "[]", "null", '{"chunk": 0}', '{"speed": 1}', '{"chunk": '])
def test_a_policy_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(StorageCorrupt):
        Policy.from_text(text)


def test_not_founds_are_spaced_by_a_tenth_of_the_quiet_window_and_a_minute_at_the_most() -> None:
    assert Policy(quiet_window=5.0).spacing == 0.5
    assert Policy().spacing == 60


def test_a_gate_is_closed_by_any_of_three() -> None:
    def gate(halted: str | None = None, short: str | None = None, *, held: bool = False) -> GateRecord:
        return GateRecord(product="bank", account="a", deposit="", halted=halted, short=short, held=held)

    assert not gate().closed
    assert gate("inactive").closed
    assert gate(None, "no money").closed
    assert gate(held=True).closed
