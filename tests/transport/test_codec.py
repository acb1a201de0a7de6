"""JSON that every parser reads the same way, and no other."""

import json
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.transport import codec
from paystar_async.transport.codec import DEEPEST, Unreadable, dumps, loads

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)
)


@pytest.fixture(params=["orjson", "json"], autouse=True, scope="module")
def parser(request: pytest.FixtureRequest) -> Generator[None]:
    """All of it with orjson, and all of it again without."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "json":
            patch.setattr(codec, "_orjson", None)
        assert (codec._orjson is None) is (request.param == "json")  # pyright: ignore[reportPrivateUsage]
        yield


@given(JSON)
def test_what_is_written_is_read_back(value: object) -> None:
    assert loads(dumps(value)) == value


@given(JSON)
def test_escaped_texts_are_read_too(value: object) -> None:
    assert loads(json.dumps(value, ensure_ascii=True).encode()) == value


def test_what_is_written_is_compact_utf_8() -> None:
    assert dumps({"a": [1, "دسترسی"]}) == '{"a":[1,"دسترسی"]}'.encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xef\xbb\xbf{}", "a byte order mark"),
        (b"\xff\xfe", "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'{"a": 1}{"a": 1}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'"a\nb"', "not JSON"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b"[Infinity]", "Infinity is not a number"),
        (b"-Infinity", "-Infinity is not a number"),
        (b"1e999", "a number beyond all bounds"),
        (b"[-1e400]", "a number beyond all bounds"),
        (b"18446744073709551616", "an integer beyond 64 bits"),
        (b"-9223372036854775809", "an integer beyond 64 bits"),
        (b"1" * 5000, "an integer beyond 64 bits"),
        (b'"\\ud800"', "half a surrogate pair"),
        (b'{"\\udc00x": 1}', "half a surrogate pair"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"[" * 66 + b"]" * 66, "nested too deep"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested too deep"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_what_parsers_read_differently_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=f"^{reason}$"):
        loads(body)


@pytest.mark.parametrize("body", [b"18446744073709551615", b"-9223372036854775808", b"1e308", b'"\\ud83d\\ude00"'])
def test_the_outermost_that_is_taken(body: bytes) -> None:
    assert loads(body) == json.loads(body)


def test_what_is_wide_is_not_deep() -> None:
    assert loads(b"[" + b",".join([b"[{}]"] * 500) + b"]") == [[{}]] * 500
    assert loads(b"[" * DEEPEST + b"]" * DEEPEST)


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    told = "read"
    try:
        loads(body)
    except Unreadable as refusal:
        told = str(refusal)
    assert told


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), "\ud800"])
def test_what_cannot_be_read_is_not_written(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        dumps(value)


PIECES = st.sampled_from(
    [
        *b'{}[]:,"-+.eE0123456789 \n\t\x00\x0b\x7f\xff\\u',
        *["true", "false", "null", "NaN", "Infinity", '{"a":', '"a":1,', "\\ud83d", "\\ude00", "\\u00e9", "\\n"],
        *["é", "\ufeff", "1" * 19, "9" * 20, "e400", "[" * 70, "]" * 70],
    ]
)


def _verdict(body: bytes) -> str:
    try:
        return f"read as {loads(body)!r}"
    except Unreadable as refusal:
        return f"refused: {refusal}"


def _bytes_of(piece: int | str) -> bytes:
    return piece.encode() if isinstance(piece, str) else bytes([piece])


@settings(max_examples=600)
@given(JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(dumps), st.lists(PIECES, max_size=6), st.data())
def test_nobody_can_tell_which_parser_it_was(body: bytes, pieces: list[int | str], data: st.DataObject) -> None:
    for piece in pieces:
        place = data.draw(st.integers(0, len(body)))
        body = body[:place] + _bytes_of(piece) + body[place:]
    told = _verdict(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_orjson", None)
        assert told == _verdict(body)


@given(st.lists(PIECES, max_size=12).map(lambda pieces: b"".join(map(_bytes_of, pieces))))
def test_nor_by_what_is_no_json_at_all(body: bytes) -> None:
    told = _verdict(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_orjson", None)
        assert told == _verdict(body)


FIELDS = st.dictionaries(TEXTS, st.integers() | TEXTS | st.booleans() | st.none() | st.lists(TEXTS), max_size=4)


@given(FIELDS)
def test_nor_by_what_is_sent(fields: dict[str, object]) -> None:
    written = dumps(fields)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_orjson", None)
        assert written == dumps(fields)


@pytest.mark.parametrize("sign", [b"[],", b"{},", b"1,", b"[" * 9])
def test_loads_too_many_values_is_unreadable(sign: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_VALUES", 1000)

    with pytest.raises(codec.Unreadable, match="too many values"):
        codec.loads(b"[" + sign * 1100 + b"1]")
    assert codec.loads(b"[" + b"1," * 900 + b"1]") == [1] * 901
