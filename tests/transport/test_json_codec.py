"""The JSON codec, which refuses JSON that parsers read differently."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.transport import json_codec
from paystar_async.transport.json_codec import MAX_DEPTH, InvalidJSON, dumps, loads

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


@given(JSON)
def test_dumps_and_loads_are_inverse(value: object) -> None:
    assert loads(dumps(value)) == value


@given(JSON)
def test_loads_escaped_json_is_read(value: object) -> None:
    assert loads(json.dumps(value, ensure_ascii=True).encode()) == value


def test_dumps_is_compact_utf_8() -> None:
    assert dumps({"a": [1, "دسترسی"]}) == '{"a":[1,"دسترسی"]}'.encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'{"a": 1}{"a": 1}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"\xef\xbb\xbf" * 2 + b"{}", "not JSON"),
        (b"{}\xef\xbb\xbf", "not JSON"),
        (b'{"a": 1, "a": 1}', "a name that occurs twice in one object"),
        (b'[{"b": {"a": 1, "x": 2, "\\u0061": null}}]', "a name that occurs twice in one object"),
        (b'{"a": 1, "a\\u0000": 2}', "a name that occurs twice in one object"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"[" * 66 + b"]" * 66, "nested too deep"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested too deep"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_loads_ambiguous_json_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidJSON, match=f"^{reason}$"):
        loads(body)


@pytest.mark.parametrize("body", [b"18446744073709551615", b"-9223372036854775808", b"1e308", b'"\\ud83d\\ude00"'])
def test_loads_extreme_values_are_read(body: bytes) -> None:
    assert loads(body) == json.loads(body)


def test_loads_ignores_one_byte_order_mark() -> None:
    assert loads(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb'"a\u0000b\u0000"', "ab"),
        (rb'"\\\u0000"', "\\"),
        (rb'"\\u0000"', r"\u0000"),
        (rb'"\\\\u0000"', r"\\u0000"),
        (rb'{"a\u0000": 1}', {"a": 1}),
    ],
)
def test_loads_removes_nul_from_texts(body: bytes, text: object) -> None:
    assert loads(body) == text


@pytest.mark.parametrize("body", [b"[NaN]", b"[-Infinity]", b"[1e999]", b"[18446744073709551616]", rb'["\ud800"]'])
def test_loads_leaves_odd_values_to_structure(body: bytes) -> None:
    assert repr(loads(body)) == repr(json.loads(body))


def test_loads_wide_value_is_not_deep() -> None:
    assert loads(b"[" + b",".join([b"[{}]"] * 500) + b"]") == [[{}]] * 500
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@given(st.binary())
def test_loads_any_bytes_returns_or_refuses(body: bytes) -> None:
    outcome = "read"
    try:
        loads(body)
    except InvalidJSON as refusal:
        outcome = str(refusal)
    assert outcome


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800"])
def test_dumps_refuses_invalid_values(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        dumps(value)


@pytest.mark.parametrize("entry", [b"[],", b"{},", b"1,", b"[" * 9])
def test_loads_too_many_values_is_unreadable(entry: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_codec, "MAX_VALUES", 1000)

    with pytest.raises(json_codec.InvalidJSON, match="too many values"):
        json_codec.loads(b"[" + entry * 1100 + b"1]")
    assert json_codec.loads(b"[" + b"1," * 900 + b"1]") == [1] * 901
