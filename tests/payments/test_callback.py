"""Callbacks: parsing of query strings and forms, and repr."""

from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import Callback
from paystar_async.errors import InvalidValue

PAID = {
    "status": "1",
    "order_id": "ORD-1",
    "ref_num": "ref-1",
    "transaction_id": "77",
    "card_number": "502229******6708",
    "hashed_card_number": "ABCDEF",
    "tracking_code": "123456",
}
CANCELLED = {"status": "-98", "order_id": "ORD-1", "ref_num": "ref-1", "transaction_id": "77"}


def test_parse_paid_callback_has_all_fields() -> None:
    callback = Callback.parse(PAID)

    assert callback == Callback(**PAID)
    assert callback.claims_paid
    assert not callback.claims_cancelled


@pytest.mark.parametrize("status", ["-98", "-198"])
def test_parse_cancelled_callback_has_no_receipt(status: str) -> None:
    callback = Callback.parse(CANCELLED | {"status": status})

    assert (callback.card_number, callback.hashed_card_number, callback.tracking_code) == (None, None, None)
    assert callback.claims_cancelled
    assert not callback.claims_paid


@pytest.mark.parametrize("empty", ["", None, [], [""]])
def test_parse_empty_field_is_missing(empty: Any) -> None:
    fields = PAID | dict.fromkeys(("card_number", "hashed_card_number", "tracking_code", "transaction_id"), empty)

    assert Callback.parse(fields) == Callback(status="1", order_id="ORD-1", ref_num="ref-1")


def test_parse_query_and_form_are_equal() -> None:
    query = "status=1&order_id=ORD-1&ref_num=ref-1&transaction_id=77&card_number=502229******6708"
    query += "&hashed_card_number=ABCDEF&tracking_code=123456&utm_source=x"

    assert Callback.parse(parse_qs(query)) == Callback.parse(PAID)
    assert Callback.parse(PAID | {"status": 1, "transaction_id": 77}) == Callback.parse(PAID)


@pytest.mark.parametrize("name", ["status", "order_id", "ref_num"])
@pytest.mark.parametrize("empty", ["", None, [], "missing"])
def test_parse_without_required_field_is_refused(name: str, empty: Any) -> None:
    fields = {**PAID, name: empty}
    if empty == "missing":
        del fields[name]

    with pytest.raises(InvalidValue, match=f"^{name}: ") as refusal:
        Callback.parse(fields)

    assert "not a callback of Paystar" in refusal.value.hint


@pytest.mark.parametrize("value", [["1", "1"], ("1",), ["1", 1]])
def test_parse_repeated_equal_field_is_accepted(value: Any) -> None:
    assert Callback.parse(PAID | {"status": value}).status == "1"


@pytest.mark.parametrize("name", PAID)
def test_parse_repeated_different_field_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{name}: .*one value"):
        Callback.parse({**PAID, name: ["one", "other"]})


@pytest.mark.parametrize("name", PAID)
@pytest.mark.parametrize(
    "value",
    [
        "x" * 513,
        "a\nb",
        "a\x00b",
        "\ud800",
        "   ",
        b"1",
        [b"1"],
        [None, "1"],
        True,
        1.0,
        {"a": 1},
        [["1"]],
        pytest.param(10**5000, id="endless"),
    ],
)
def test_parse_invalid_text_is_refused_and_not_shown(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=f"^{name}: ") as refusal:
        Callback.parse({**PAID, name: value})

    assert "xxx" not in str(refusal.value)


def test_parse_accepts_every_sendable_order_id() -> None:
    for order_id in ("سفارش\u200cها ۱۲", "a b", "x" * 255, "ORD#1&2=3"):
        assert Callback.parse(PAID | {"order_id": order_id}).order_id == order_id


def test_callback_repr_masks_card() -> None:
    full = Callback.parse(PAID | {"card_number": "5022291234566708"})

    assert "1234566708" not in repr(full)
    assert "ABCDEF" not in repr(full)


FIELD_VALUES = st.recursive(
    st.none() | st.text(max_size=20) | st.integers() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*PAID, "x"]), FIELD_VALUES))
def test_parse_any_mapping_is_parsed_or_refused(fields: dict[str, object]) -> None:
    try:
        callback = Callback.parse(fields)
    except InvalidValue:
        return
    assert callback.status
    assert callback.order_id
    assert callback.ref_num


@pytest.mark.parametrize("fields", [None, "status=1", 3, [("status", "1")]])
def test_parse_other_than_mapping_is_refused(fields: Any) -> None:
    with pytest.raises(InvalidValue, match="callback"):
        Callback.parse(fields)
