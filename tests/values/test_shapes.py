"""Shapes of JSON values: words for texts and numbers, names of known words only, and merged alternatives."""

import json
from typing import Any

import pytest

from paystar_async.models.base import fields_of, response_type
from paystar_async.table import TABLE
from paystar_async.values.shapes import MAX_DEPTH, MAX_FIELDS, UNKNOWN_NAME, WORDS, known_name, merge_shapes, shape_of


def shape(value: object) -> Any:
    return json.loads(shape_of(value))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "bool"),
        (False, "bool"),
        (0, "int:1-4"),
        (-12345, "int:5-8"),
        (10**15, "int:9-16"),
        (10**30, "int:17-32"),
        (10000.0, "float:whole"),
        (0.5, "float:fraction"),
        ("", "text:empty:0"),
        ("12345", "text:digits:5-8"),
        ("-1", "text:digits:1-4"),
        ("1.000.000", "text:dotted:9-16"),
        ("10000.5", "text:decimal:5-8"),
        ("50,000.00", "text:grouped:9-16"),
        ("1404-01-02", "text:jalali_day:9-16"),
        ("2026-01-02", "text:day:9-16"),
        ("1404-01-02 03:04:05", "text:jalali_time:17-32"),
        ("2026-01-02 03:04:05", "text:time:17-32"),
        ("2026-01-02T03:04:05Z", "text:iso_time:17-32"),
        ("04-01-02 03:04:05", "text:short_time:17-32"),
        ("502229******6708", "text:masked_card:9-16"),
        ("IR820540102680020817909002", "text:iban:17-32"),
        ("a1" * 32, "text:hex:33-64"),
        ("Ali", "text:letters:1-4"),
        ("abc123", "text:id:5-8"),
        ("w1*t1*1", "text:ascii:5-8"),
        ("سلام", "text:persian:1-4"),
        ("é" * 129, "text:other:129+"),
        ("1" * 200, "text:ascii:129+"),
        ([], []),
        ([1, 2], ["int:1-4"]),
        ([1, "x"], ["int:1-4|text:letters:1-4"]),
        ({"status": "pending"}, {"status": "word:known"}),
        ({"status": "weird"}, {"status": "word:other"}),
        ({"status": "5"}, {"status": "text:digits:1-4"}),
        ({"0": 1, "7": 2}, {"#": "int:1-4"}),
        ({"gholamreza": {"data": 1}}, {UNKNOWN_NAME: "unknown"}),
    ],
)
def test_shape_of_value_is_word(value: object, expected: object) -> None:
    assert shape(value) == expected


def test_shape_of_list_merges_entries() -> None:
    items = [{"id": 1, "code": None}, {"id": "x"}]
    assert shape(items) == [{"id": "int:1-4|text:letters:1-4", "code": "absent|null"}]


def test_shape_of_deep_value_is_bounded() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH + 3):
        value = [value]
    assert "deep" in shape_of(value)


def test_shape_of_wide_object_is_bounded() -> None:
    names = [f"{first}_{second}" for first in sorted(WORDS)[:20] for second in sorted(WORDS)[:20]]
    assert len(shape(dict.fromkeys(names, 1))) == MAX_FIELDS + 1


@pytest.mark.parametrize("name", ["track_id", "additionalInfo2", "transfers.0.track_id", "bankName", "IBAN"])
def test_known_name_of_known_words_is_kept(name: str) -> None:
    assert known_name(name) == (name.replace(".0.", ".#."))


@pytest.mark.parametrize(
    "name",
    [
        "ali_moradi",
        "id_6037991899752346",
        "IR820540102680020817909002",
        "",
        "a" * 50,
        "id id",
        "data.ali",
        "12345",
    ],
)
def test_known_name_of_other_words_is_ellipsis(name: str) -> None:
    assert known_name(name) == UNKNOWN_NAME


def response_names() -> set[str]:
    """Return the names of the fields in the table's response models, with those of their items."""
    names: set[str] = set()
    pending: list[Any] = [response_type(endpoint.request) for endpoint in TABLE if endpoint.kind == "call"]
    while pending:
        model = pending.pop()
        arguments = getattr(model, "__args__", ())
        pending.extend(arguments)
        if not arguments and hasattr(model, "__attrs_attrs__"):
            for field in fields_of(model):
                names.add(field.name)
                pending += [field.item] if field.item else []
    return names


def test_known_name_knows_every_field_of_the_table() -> None:
    names = response_names() | {field.name for endpoint in TABLE for field in fields_of(endpoint.request)}
    assert len(names) > 40
    assert [name for name in sorted(names) if known_name(name) == UNKNOWN_NAME] == []


MERGED: list[tuple[list[Any], Any]] = [
    (["a|b", "b|c"], "a|b|c"),
    ([[], ["x"]], ["x"]),
    ([[], []], []),
    ([{"id": "x"}, "null"], {"id": "x"}),
    ([{"id": "x"}, ["x"]], "mixed"),
    ([{"id": "x"}, "text:id:1-4"], "mixed"),
]


@pytest.mark.parametrize(("shapes", "merged"), MERGED)
def test_merge_shapes_covers_alternatives(shapes: list[Any], merged: Any) -> None:
    assert merge_shapes(shapes) == merged


def test_shape_of_list_shows_each_kind_of_entry() -> None:
    paid: dict[str, Any] = {"status": "success", "amount": 1, "hashid": "a1"}
    others: list[dict[str, Any]] = [
        paid | {"status": "done"},
        paid | {"hashid": None},
        {"status": "failed", "error": "x"},
        paid | {"status": []},
    ]
    assert shape([paid, *[paid] * 10, *others, 5, "x"]) == shape([paid, *others, 5, "x"])
    entry = shape([paid, paid, *others])[0]
    assert entry["hashid"] == "absent|null|text:id:1-4"
    assert entry["error"] == "absent|text:letters:1-4"
    assert shape([paid, *others[:3]])[0]["status"] == "word:known|word:other"


def test_shape_of_list_shows_first_of_entries_of_one_kind() -> None:
    first, second = {"status": "success", "ref_code": "1"}, {"status": "success", "ref_code": "x-y"}
    assert shape([first, second]) == shape([first])
    assert shape([first, second | {"status": "pending"}])[0]["ref_code"] == "text:digits:1-4|text:id:1-4"
