"""One answer out of bytes: the short way reads what h11 reads, and leaves the rest to it."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paystar_async.errors import BadAnswer
from paystar_async.transport import answer as module
from paystar_async.transport.answer import LONGEST_HEAD, Answer, ByTheBook, Garbled, Reading

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

LINES = [
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 404",
    b"HTTP/1.1 500 ",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 101 Switching",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 200 \x01",
    b"HTTP/1.1 200 d\xc3\xa9",
    b"Content-Length: 2",
    b"content-length:2",
    b"Content-Length: 2, 2",
    b"Content-Length: 02",
    b"Content-Length: +2",
    b"Content-Length: 2 ",
    b"Content-Length: 99999999999",
    b"Content-Length:",
    b"Content-Length : 2",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: Keep-Alive",
    b"Connection: keep-alive, close",
    b"Content-Encoding: gzip",
    b"Upgrade: h2c",
    b"X-One: a",
    b"X-One:\t b\t",
    b"X-One: \xff",
    b"X-One: a\rb",
    b"X-One: a\x00b",
    b" folded",
    b": nameless",
    b"",
]
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n"])
STARTS = st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b""])
BODIES = st.sampled_from([b"{}", b"{", b"{}x", b"2\r\n{}\r\n0\r\n\r\n", b"", OK])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Bytes that look like an answer, more or less."""
    lines = [draw(st.sampled_from(LINES)) + draw(ENDS) for _ in range(draw(st.integers(1, 6)))]
    return b"".join([draw(STARTS), *lines, b"\r\n", draw(BODIES)])


def outcome(reader: "Reading | ByTheBook", parts: list[bytes], *, ends: bool) -> Answer | str | None:
    """What a reader makes of the bytes."""
    try:
        for part in parts:
            answer = reader.feed(part)
            if answer is not None:
                return answer
        return reader.end() if ends else None
    except (Garbled, BadAnswer) as refusal:
        return type(refusal).__name__


@given(streams(), st.booleans())
@example(OK, False)
@example(OK + OK, False)
@example(OK[:-1], True)
def test_whatever_comes_is_read_as_h11_reads_it(stream: bytes, ends: bool) -> None:
    assert outcome(Reading("POST"), [stream], ends=ends) == outcome(ByTheBook("POST"), [stream], ends=ends)


@pytest.mark.parametrize("first", LINES, ids=repr)
def test_whatever_two_lines_stand_in_a_head_it_is_read_as_h11_reads_it(first: bytes) -> None:
    for second in LINES:
        for body in (b"{}", b"2\r\n{}\r\n0\r\n\r\n"):
            lines = [b"HTTP/1.1 200 OK", first] if b"HTTP" not in first else [first]
            stream = b"\r\n".join([*lines, b"Content-Length: 2", second, b"", body])
            read, by_the_book = (outcome(one, [stream], ends=True) for one in (Reading("POST"), ByTheBook("POST")))
            assert read == by_the_book, stream


@given(streams(), st.lists(st.integers(1, 90), max_size=4), st.booleans())
def test_it_does_not_matter_in_which_pieces_it_comes(stream: bytes, cuts: list[int], ends: bool) -> None:
    places = [0, *sorted(cuts), len(stream)]
    parts = [part for start, end in pairwise(places) if (part := stream[start:end])]
    whole, pieced = (outcome(Reading("POST"), one, ends=ends) for one in ([stream], parts))

    if isinstance(whole, Answer) and isinstance(pieced, Answer):
        # What stands behind an answer may not have come yet; then it comes to a connection that has not asked.
        assert (whole.status, whole.headers, whole.body) == (pieced.status, pieced.headers, pieced.body)
    else:
        assert whole == pieced


@pytest.mark.parametrize(
    "usual", [OK, OK.replace(b"Content-Length: 2", b"Content-Length: 2\r\nConnection: keep-alive")]
)
def test_the_usual_answer_does_not_wake_h11(usual: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ByTheBook", None)
    for cut in range(len(usual)):
        reading = Reading("POST")
        assert reading.feed(usual[:cut]) is None or cut == 0
        answer = reading.feed(usual[cut:])
        assert answer is not None
        assert (answer.status, answer.body, answer.is_last) == (200, b"{}", False)
        assert answer.headers["content-type"] == "application/json"


def test_bytes_behind_an_answer_make_it_the_last() -> None:
    answer = Reading("POST").feed(OK + b"H")

    assert answer is not None
    assert answer.is_last


def test_a_head_without_end_is_given_up() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 1000] * (LONGEST_HEAD // 1000 + 2)]

    assert outcome(Reading("POST"), pieces, ends=False) == "Garbled"


@pytest.mark.parametrize(
    "said", [b"Content-Length: 20000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1312d00\r\n", b"\r\n"]
)
def test_an_answer_of_a_size_none_has_is_given_up(said: bytes) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\n" + said, *[b"x" * 500_000] * 40]

    assert outcome(Reading("POST"), pieces, ends=False) == "BadAnswer"


def test_what_is_refused_is_not_quoted() -> None:
    with pytest.raises(Garbled) as caught:
        Reading("POST").feed(b"HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n")

    assert "canary" not in str(caught.value)
