import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.values.text import (
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
from tests.values.reading import kind, read, refusal

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


@pytest.mark.parametrize(("alias", "least", "most"), LENGTHS)
def test_a_text_has_a_least_and_a_most_length(alias: object, least: int, most: int) -> None:
    assert read(alias, "x" * least) == "x" * least
    assert read(alias, "x" * most) == "x" * most
    assert f"{most + 1} characters" in refusal(alias, "x" * (most + 1)).hint
    if least:
        refusal(alias, "")


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=255))
def test_a_text_is_kept_to_the_letter(given_text: str) -> None:
    assert read(OrderId, given_text) == given_text
    assert read(OrderId, f" {given_text}"[:255]) == f" {given_text}"[:255]


def test_a_persian_name_with_its_joiner_is_a_name() -> None:
    assert read(PersonName, "علی‌رضا") == "علی‌رضا"


@each_text
@pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b"])
def test_what_json_or_a_log_line_cannot_carry_is_refused(alias: object, bad: str) -> None:
    assert "control character" in refusal(alias, bad).hint


@each_text
@pytest.mark.parametrize("blank", [" ", "\u00a0\u200c", "\u200b"])
def test_a_blank_text_is_refused(alias: object, blank: str) -> None:
    assert refusal(alias, blank).hint == "it is blank"


@each_text
@pytest.mark.parametrize("value", [None, 12, True, 1.5, b"bytes", ["x"], {"x": 1}])
def test_only_a_text_is_a_text(alias: object, value: object) -> None:
    assert refusal(alias, value).hint.startswith("pass a text")


@pytest.mark.parametrize("value", ["two words", "شناسه", "tab\there", "é"])
def test_a_track_id_is_printable_ascii_without_spaces(value: str) -> None:
    assert "ASCII" in refusal(TrackId, value).expected


@pytest.mark.parametrize("alias", [PersonName, Note, Token])
def test_names_notes_and_tokens_are_never_shown(alias: object) -> None:
    assert "Moradi" not in kind(alias).mask("Moradi")
    assert "Moradi" not in str(refusal(alias, "Moradi\n"))


def test_another_text_is_shown_so_that_it_can_be_found() -> None:
    assert kind(OrderId).mask("ORD-1") == "'ORD-1'"


def test_the_factory_asks_the_pattern_of_the_whole_text_and_tells_the_schema() -> None:
    word = text("word", most=3, example="ab", pattern="a|ab", shape="a or ab")

    assert word.convert("ab", "field") == "ab"
    assert word.schema == {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^(?:a|ab)$"}
    with pytest.raises(ValueError, match="expected a or ab"):
        word.convert("abc", "field")


@pytest.mark.parametrize(
    "url",
    [
        "https://merchant.example/pay/callback",
        "http://127.0.0.1:8000/cb?order=1&x=%20",
        "HTTPS://Merchant.Example",
        "https://[::1]:8443/cb#part",
        "https://فروشگاه.example/پرداخت",
        "https://m.example/" + "x" * (2048 - 18),
    ],
)
def test_a_callback_is_sent_exactly_as_given(url: str) -> None:
    assert read(CallbackUrl, url) == url


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
    ],
)
def test_a_callback_is_an_absolute_web_address(url: object) -> None:
    refusal(CallbackUrl, url)


def test_a_callback_keeps_its_password_and_its_query_to_itself() -> None:
    shown = kind(CallbackUrl).mask("https://me:hunter2@m.example/cb?session=hunter2\n&x=hunter2")

    assert shown == "'https://…@m.example/cb?…'"
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
def test_the_small_numbers_have_their_bounds(alias: object, good: list[int], bad: list[object]) -> None:
    assert [read(alias, number) for number in good] == good
    for value in bad:
        refusal(alias, value)
