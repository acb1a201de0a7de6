"""The types of stored records, which a change by hand may have broken."""

from typing import Any, Literal

import pytest
from attrs import evolve, frozen

from paystar_async.errors import StorageCorrupt
from paystar_async.outcomes import Outcome
from paystar_async.storage.record_types import require_types


@frozen
class Record:
    """A record with a field of each kind."""

    text: str = "a"
    number: int = 1
    time: float = 1.5
    optional: float | None = None
    phase: Literal["send", "wait"] = "send"
    outcomes: tuple[Outcome, ...] = ()


@pytest.mark.parametrize("changes", [{}, {"time": 1}, {"optional": 2.5}, {"phase": "wait"}])
def test_require_types_valid_record_is_returned(changes: dict[str, Any]) -> None:
    record = evolve(Record(), **changes)

    assert require_types(record, "record") is record


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", None),
        ("text", b"a"),
        ("text", 1),
        ("number", "1"),
        ("number", 1.5),
        ("time", "1.5"),
        ("time", None),
        ("time", float("nan")),
        ("time", float("inf")),
        ("optional", ""),
        ("optional", float("-inf")),
        ("phase", None),
        ("outcomes", []),
    ],
)
def test_require_types_other_value_is_corrupt(field: str, value: object) -> None:
    changes: dict[str, Any] = {field: value}

    with pytest.raises(StorageCorrupt, match=f"the stored record has an invalid {field}") as caught:
        require_types(evolve(Record(), **changes), "record")

    assert "restore" in caught.value.hint
