"""Field types of texts, URLs and small integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.text import (
    CALLBACK_FIELDS,
    CallbackMethod,
    CallbackUrl,
    Count,
    Hashid,
    Limit,
    Note,
    OrderId,
    PayId,
    PersonName,
    RefNum,
    Token,
    TrackId,
    TrackingCode,
    WithdrawType,
    text,
)
from tests.values.field_types import convert, field_type_of, refusal

LENGTHS = [
    (TrackId, 1, 64),
    (PersonName, 1, 255),
    (OrderId, 1, 255),
    (PayId, 1, 64),
    (Note, 1, 255),
    (Token, 1, 512),
    (RefNum, 1, 255),
    (TrackingCode, 0, 64),
    (Hashid, 1, 128),
]

each_text = pytest.mark.parametrize("alias", [alias for alias, _, _ in LENGTHS])


@pytest.mark.parametrize(("alias", "minimum", "maximum"), LENGTHS)
def test_text_length_limits_are_enforced(alias: object, minimum: int, maximum: int) -> None:
    assert convert(alias, "x" * minimum) == "x" * minimum
    assert convert(alias, "x" * maximum) == "x" * maximum
    assert f"{maximum + 1} characters" in refusal(alias, "x" * (maximum + 1)).hint
    if minimum:
        refusal(alias, "")


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=255))
def test_text_is_unchanged(value: str) -> None:
    assert convert(RefNum, value) == value
    assert convert(RefNum, f" {value}"[:255]) == f" {value}"[:255]


def test_person_name_keeps_persian_joiner() -> None:
    assert convert(PersonName, "علی‌رضا") == "علی‌رضا"


@pytest.mark.parametrize("mark", "\u061c\u200e\u200f\u202b\u2067\u00ad\u3164\ufe0f\u034f\ufeff")
def test_person_name_invisible_marks_are_removed(mark: str) -> None:
    assert convert(PersonName, f"{mark}عل{mark}ی رضا{mark}") == "علی رضا"
    assert convert(PersonName, f"A{mark}li") == "Ali"


@pytest.mark.parametrize("mark", "\u061c\u200c\u200e\u00ad\u3164\ufeff")
def test_pay_id_strips_and_track_id_rejects_invisible_marks(mark: str) -> None:
    assert convert(PayId, f"{mark}12{mark}۳{mark}") == "123"
    refusal(TrackId, f"t-1{mark}")
    refusal(TrackId, f"{mark}t-1")


@each_text
@pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b"])
def test_text_control_character_is_rejected(alias: object, bad: str) -> None:
    assert "control character" in refusal(alias, bad).hint


@each_text
@pytest.mark.parametrize(
    "blank", [" ", "\u00a0\u200c", *"\u200b\u061c\u00ad\u2061\u180e\u3164\u2800\u0640\u115f\uffa0\u034f\ufe0f"]
)
def test_text_blank_is_rejected(alias: object, blank: str) -> None:
    assert refusal(alias, blank).hint == "the text is blank"


@each_text
@pytest.mark.parametrize("value", [None, 12, True, 1.5, b"bytes", ["x"], {"x": 1}])
def test_text_other_type_is_rejected(alias: object, value: object) -> None:
    assert refusal(alias, value).hint.startswith("pass a text")


@pytest.mark.parametrize("value", ["two words", "شناسه", "tab\there", "é"])
def test_track_id_other_characters_are_rejected(value: str) -> None:
    assert "ASCII" in refusal(TrackId, value).expected


@pytest.mark.parametrize("alias", [PersonName, Note, Token])
def test_mask_hides_names_notes_and_tokens(alias: object) -> None:
    assert "Moradi" not in field_type_of(alias).mask("Moradi")
    assert "Moradi" not in str(refusal(alias, "Moradi\n"))


def test_mask_shows_order_id() -> None:
    assert field_type_of(OrderId).mask("ORD-1") == "'ORD-1'"


def test_text_factory_pattern_matches_whole_text() -> None:
    field_type = text("word", max_length=3, example="ab", pattern="a|ab", expected="a or ab")

    assert field_type.convert("ab", "field") == "ab"
    assert field_type.schema == {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^(?:a|ab)$"}
    with pytest.raises(ValueError, match="expected a or ab"):
        field_type.convert("abc", "field")


@pytest.mark.parametrize(
    "url",
    [
        "https://merchant.example/pay/callback",
        "http://127.0.0.1:8000/cb?order=1&x=%20",
        "HTTPS://Merchant.Example",
        "https://[::1]:8443/cb",
        "https://m.example/cb?my_order_id=1&order=2&statuses=3&s=status&order-id=4&order_id_=5",
        "https://m.example/cb?next=%2Fa%3Forder_id%3D1&x=%23",
        "https://فروشگاه.example/پرداخت",
        "https://m.example/" + "x" * (2048 - 18),
    ],
)
def test_callback_url_is_unchanged(url: str) -> None:
    assert convert(CallbackUrl, url) == url


@pytest.mark.parametrize(
    "url",
    [
        "merchant.example/cb",
        "//merchant.example/cb",
        "/cb",
        "ftp://merchant.example",
        "https://",
        "https:///cb",
        "https://:8080/cb",
        "https://m.example:port/",
        "https://m.example:70000/",
        "https://[::1/cb",
        "javascript:alert(1)",
        "https://m.example/a b",
        "https://m.example/\u00a0",
        " https://m.example/",
        "https://m.example/\n",
        "https://m.example/" + "x" * (2049 - 18),
        "",
        None,
        b"https://m.example/",
        "https://m.example\\@evil.example/",
        "https://m.example/a\\b",
        "https://me@m.example/cb",
        "https://@m.example/cb",
        "https://m.example/cb#part",
        "https://m.example/cb?a=1#",
        "https://m.exa\u00admple/cb",
        "https://m.example/c\u200bb",
        "https://m.example/\u202ecb",
        "https://m.example/\u3164cb",
        "https://m.example/\ufeff",
    ],
)
def test_callback_url_invalid_is_rejected(url: object) -> None:
    refusal(CallbackUrl, url)


@pytest.mark.parametrize("name", CALLBACK_FIELDS)
@pytest.mark.parametrize("written", ["{}=1", "a=1&{}=", "{}", "a=1;{}=2", "{}[]=1", "{}[x]=1", "{}%00z=1", "+{}=1"])
def test_callback_url_reserved_name_hints_other_name(name: str, written: str) -> None:
    hint = refusal(CallbackUrl, f"https://m.example/cb?{written.format(name)}").hint

    assert f"parameter {name}," in hint
    assert f"shop_{name}" in hint


@pytest.mark.parametrize(
    "written", ["order%5Fid", "%6Frder_id", "ORDER_ID", "order.id", "order+id", "order%20id", "order[id"]
)
def test_callback_url_folded_reserved_name_is_rejected(written: str) -> None:
    assert "parameter order_id," in refusal(CallbackUrl, f"https://m.example/cb?{written}=45").hint


def test_callback_url_fragment_hints_percent_encoding() -> None:
    assert "%23" in refusal(CallbackUrl, "https://m.example/cb#top").hint


@pytest.mark.parametrize("order_id", ["سفارش\u200cها ۱۲", "a b", "#1001", "ORD#1&2=3", "x" * 255, "۱۲۳"])
def test_order_id_without_blank_ends_is_unchanged(order_id: str) -> None:
    assert convert(OrderId, order_id) == order_id


@pytest.mark.parametrize("end", [" ", "\u00a0", "\u3000", "\u200c", "\u200d", "\u200b", "\ufeff", "\u200f", "\u3164"])
def test_order_id_blank_end_is_rejected(end: str) -> None:
    for order_id in (f"{end}ORD-1", f"ORD-1{end}", f"{end}ORD-1{end}", f"ORD-1 {end}"):
        assert "remove" in refusal(OrderId, order_id).hint


@pytest.mark.parametrize("mark", ["\u00ad", "\u200b", "\u200e", "\u202e", "\u2066", "\ufeff", "\u3164", "\u115f"])
def test_order_id_invisible_mark_is_rejected(mark: str) -> None:
    assert "invisible" in refusal(OrderId, f"ORD{mark}1").hint


def test_mask_callback_url_hides_password_and_query() -> None:
    masked = field_type_of(CallbackUrl).mask("https://me:hunter2@m.example/cb?session=hunter2\n&x=hunter2")

    assert masked == "'https://…@m.example/cb?…'"
    assert "hunter2" not in str(refusal(CallbackUrl, "ftp://me:hunter2@m.example/?k=hunter2"))


@pytest.mark.parametrize(
    ("alias", "good", "bad"),
    [
        (Count, [0, 1, 10_000], [-1, True, "0", 0.0, None]),
        (Limit, [1, 500], [0, 501, True, "5", None]),
        (CallbackMethod, [0, 1, 2], [-1, True, "GET", None]),
        (WithdrawType, [7, 8], [6, 9, "7", 7.0, None]),
    ],
)
def test_integer_field_types_enforce_bounds(alias: object, good: list[int], bad: list[object]) -> None:
    assert [convert(alias, number) for number in good] == good
    for value in bad:
        refusal(alias, value)
