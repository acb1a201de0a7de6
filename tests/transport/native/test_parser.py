"""Parsing of HTTP/1.1 responses: accepted and refused bytes, and whether the connection may be reused."""

import tracemalloc
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paystar_async.errors import InvalidResponse
from paystar_async.transport.engine import MAX_HEAD_BYTES
from paystar_async.transport.native.parser import ProtocolError, RawResponse, ResponseParser

STATUS = b"HTTP/1.1 200 OK\r\n"
OK = STATUS + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = STATUS + b"Transfer-Encoding: chunked\r\n\r\n"


def parse(*parts: bytes, ends: bool = False) -> RawResponse | None:
    """Return the response in ``parts``; with ``ends`` the connection ends behind them."""
    parser = ResponseParser()
    for part in parts:
        response = parser.feed(part)
        if response is not None:
            return response
    return parser.end() if ends else None


class TestFraming:
    """The end of a response."""

    @pytest.mark.parametrize(
        ("stream", "body"),
        [
            (OK, b"{}"),
            (STATUS + b"Content-Length: 0\r\n\r\n", b""),
            (CHUNKED + b"1\r\n{\r\n1;ext=1\r\n}\r\n0\r\n\r\n", b"{}"),
            (CHUNKED + b"2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n", b"{}"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", b""),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
            (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, b"{}"),
            (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
            (STATUS + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        ],
    )
    @pytest.mark.parametrize("size", [1, 7, 10_000])
    def test_feed_complete_response_keeps_connection(self, stream: bytes, body: bytes, size: int) -> None:
        response = parse(*(stream[start : start + size] for start in range(0, len(stream), size)))

        assert response is not None
        assert (response.body, response.keep_alive) == (body, True)

    @pytest.mark.parametrize(
        "head",
        [
            STATUS + b"\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
            STATUS + b"Connection: close\r\n\r\n",
        ],
    )
    def test_end_delimits_body_without_length(self, head: bytes) -> None:
        response = parse(head, b"{", b"}", ends=True)

        assert response is not None
        assert (response.body, response.keep_alive) == (b"{}", False)

    @pytest.mark.parametrize("cut", range(len(OK)))
    def test_end_of_incomplete_response_is_refused(self, cut: int) -> None:
        with pytest.raises(ProtocolError, match="ended before"):
            parse(OK[:cut], ends=True)

    @pytest.mark.parametrize(
        "stream", [CHUNKED + b"2\r\n{}\r\n", CHUNKED + b"2\r\n{}\r\n0\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
    )
    def test_end_inside_framed_response_is_refused(self, stream: bytes) -> None:
        with pytest.raises(ProtocolError, match="ended before"):
            parse(stream, ends=True)


class TestReuse:
    """Responses after which the connection may or may not be reused."""

    @pytest.mark.parametrize(
        "more", [b"H", OK, b"{}", b"\x00", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"]
    )
    @pytest.mark.parametrize("stream", [OK, CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"])
    def test_feed_bytes_behind_response_forbid_reuse(self, stream: bytes, more: bytes) -> None:
        response = parse(stream + more)

        assert response is not None
        assert (response.status, response.body, response.keep_alive) == (200, b"{}", False)

    @pytest.mark.parametrize("stream", [b"HTTP/1.1 204 No Content\r\n\r\n{}", STATUS + b"Content-Length: 0\r\n\r\n{}"])
    def test_feed_unexpected_body_forbids_reuse(self, stream: bytes) -> None:
        response = parse(stream)

        assert response is not None
        assert (response.body, response.keep_alive) == (b"", False)

    @pytest.mark.parametrize("head", [STATUS + b"Connection: keep-alive, close\r\n", b"HTTP/1.0 200 OK\r\n"])
    def test_feed_closing_server_forbids_reuse(self, head: bytes) -> None:
        response = parse(head + b"Content-Length: 2\r\n\r\n{}")

        assert response is not None
        assert not response.keep_alive


class TestHeaders:
    """Names and values."""

    def test_feed_repeated_headers_are_joined(self) -> None:
        response = parse(STATUS + b"X-One: a\r\nx-one:\t b \t\r\nX-Two: \xe9\r\nContent-Length: 0\r\n\r\n")

        assert response is not None
        assert response.headers == {"x-one": "a, b", "x-two": "é", "content-length": "0"}

    def test_feed_interim_and_trailing_headers_are_dropped(self) -> None:
        response = parse(b"HTTP/1.1 103 Hints\r\nX-One: a\r\n\r\n" + CHUNKED + b"0\r\nX-Two: b\r\n\r\n")

        assert response is not None
        assert response.headers == {"transfer-encoding": "chunked"}


class TestRefusal:
    """Bytes that are not an HTTP/1.1 response, or that different parsers read differently."""

    @pytest.mark.parametrize(
        "stream",
        [
            b"\r\n" + OK,
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"ICY 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 99 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
            b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + OK,
            STATUS + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            STATUS + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            STATUS + b"Transfer-Encoding: gzip\r\n\r\n{}",
            STATUS + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            STATUS + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            STATUS + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            STATUS + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            STATUS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            STATUS + b"Content-Length: 2, 2\r\n\r\n{}",
            STATUS + b"Content-Length: +2\r\n\r\n{}",
            STATUS + b"Content-Length: 0x2\r\n\r\n{}",
            STATUS + b"Content-Length:\r\n\r\n{}",
            STATUS + b"Content-Length : 2\r\n\r\n{}",
            STATUS + b"Content-Length: 99999999999999999999\r\n\r\n{}",
            STATUS + b"X: a\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
            STATUS + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
            STATUS + b"X: a\rb\r\nContent-Length: 2\r\n\r\n{}",
            STATUS + b"X: a\nContent-Length: 2\r\n\r\n{}",
            STATUS + b": nameless\r\nContent-Length: 2\r\n\r\n{}",
            STATUS + b"X Y: a\r\nContent-Length: 2\r\n\r\n{}",
            CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
            CHUNKED + b"2\r\n{}}\r\n0\r\n\r\n",
            CHUNKED + b"ffffffffffffffffff\r\n{}",
            CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
            CHUNKED + b"2\n{}\n0\n\n",
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("size", [1, 10_000])
    def test_feed_ambiguous_response_is_refused(self, stream: bytes, size: int) -> None:
        with pytest.raises(ProtocolError):
            parse(*(stream[start : start + size] for start in range(0, len(stream), size)), ends=True)

    def test_feed_refusal_does_not_quote_bytes(self) -> None:
        with pytest.raises(ProtocolError) as caught:
            parse(STATUS + b"Content-Length: canary\r\n\r\n")

        assert "canary" not in str(caught.value)


class TestLimits:
    """Heads and bodies of a size no response has."""

    @pytest.mark.parametrize(
        "pieces",
        [
            [STATUS + b"X: ", *[b"x" * 1000] * (MAX_HEAD_BYTES // 1000 + 2)],
            [STATUS + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"],
            [STATUS + b"X: y\r\n" * (MAX_HEAD_BYTES // 2) + b"\r\n"],
            [b"HTTP/1.1 100 Continue\r\n\r\n"] * (MAX_HEAD_BYTES // 20),
            [b"HTTP/1.1 200 " + b"x" * 1000, *[b"x" * 1000] * (MAX_HEAD_BYTES // 1000)],
        ],
        ids=["pieces", "one header", "many headers", "interim responses", "reason"],
    )
    def test_feed_long_head_is_refused(self, pieces: list[bytes]) -> None:
        with pytest.raises(ProtocolError, match="too long"):
            parse(*pieces)

    @pytest.mark.parametrize(
        "start",
        [b"1;ext=", b"0" * 16, b"1\r\n{\r\n0\r\nX: ", b"1\r\n{\r\n0\r\n"],
        ids=["extension", "size", "trailer", "name"],
    )
    def test_feed_long_trailer_or_chunk_size_is_refused(self, start: bytes) -> None:
        """Llhttp would keep the beginning of the trailer until its end."""
        with pytest.raises(ProtocolError, match="too long"):
            parse(CHUNKED + start, *[b"0" * 1000] * (MAX_HEAD_BYTES // 1000 + 2))

    def test_feed_long_bytes_behind_response_are_no_failure(self) -> None:
        response = parse(STATUS + b"Content-Length: 0\r\n\r\n" + b"x" * 2 * MAX_HEAD_BYTES)

        assert response is not None
        assert not response.keep_alive

    def test_feed_small_chunks_take_only_their_bytes(self) -> None:
        """As a list of pieces, a body of 16 MB took 450 MB."""
        stream = CHUNKED + b"2\r\n{}\r\n" * 50_000
        tracemalloc.start()
        try:
            assert parse(stream) is None
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 500_000

    @pytest.mark.parametrize(
        "head", [b"Content-Length: 20000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1312d00\r\n", b"\r\n"]
    )
    def test_feed_large_body_is_refused(self, head: bytes) -> None:
        with pytest.raises(InvalidResponse, match="16 MB"):
            parse(STATUS + head, *[b"x" * 500_000] * 40)


LINES = [
    b"HTTP/1.1 404",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.0 200 OK",
    b"Content-Length: 2",
    b"content-length:2",
    b"Content-Length: 02",
    b"Content-Length: 2 ",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: Keep-Alive",
    b"Upgrade: h2c",
    b"X-One: a",
    b"X-One:\t b\t",
    b"X-One: \xff",
    b" folded",
    b"",
]


def join(first: bytes, lines: list[bytes], body: bytes) -> bytes:
    """Return the bytes of a response."""
    return first + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


STREAMS = st.builds(
    join,
    st.sampled_from([STATUS, STATUS + b"Content-Length: 2\r\n", b"HTTP/1.0 200 OK\r\n", b""]),
    st.lists(st.sampled_from(LINES), max_size=6),
    st.sampled_from([b"{}", b"{", b"{}x", b"2\r\n{}\r\n0\r\n\r\n", b"", OK]),
)


def parse_by_h11(stream: bytes, *, ends: bool) -> tuple[int, bytes] | None:
    """Return the status and body of a response as h11 parses it, or None if the response is incomplete."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    if ends:
        connection.receive_data(b"")
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return status, body
        elif not isinstance(event, h11.InformationalResponse):
            return None


@given(STREAMS, st.booleans())
@example(OK + OK, False)
def test_parser_reads_only_what_h11_reads(stream: bytes, ends: bool) -> None:
    try:
        response = parse(stream, ends=ends)
    except (ProtocolError, InvalidResponse):
        return
    if response is not None:
        assert (response.status, response.body) == parse_by_h11(stream, ends=ends)


@given(STREAMS, st.lists(st.integers(1, 90), max_size=4), st.booleans())
def test_feed_result_is_the_same_in_any_pieces(stream: bytes, cuts: list[int], ends: bool) -> None:
    cuts_with_ends = [0, *sorted(cuts), len(stream)]
    pieces = [piece for start, end in pairwise(cuts_with_ends) if (piece := stream[start:end])]

    results: list[tuple[int, bytes] | str | None] = []
    for parts in ([stream], pieces):
        try:
            response = parse(*parts, ends=ends)
        except ProtocolError:
            results.append("refused")
        else:
            results.append((response.status, response.body) if response else None)
    assert results[0] == results[1]


def outcome(parser: ResponseParser, stream: bytes, *, ends: bool) -> RawResponse | str | None:
    """Return the response that a parser reads from a stream, None if incomplete, or ``"refused"``."""
    try:
        return parser.feed(stream) or (parser.end() if ends else None)
    except (ProtocolError, InvalidResponse):
        return "refused"


@given(STREAMS, STREAMS, st.booleans())
@example(OK, OK, False)
@example(STATUS + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\n{}", OK, False)
@example(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", STATUS + b"\r\n{}", True)
@example(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, STATUS + b"\r\n{}", True)
@example(CHUNKED + b"2\r\n{}\r\n0\r\nX: 1\r\n\r\n", b"HTTP/1.0 200 OK\r\nX: 2\r\n\r\n{}", True)
def test_reset_parser_reads_like_new_parser(first: bytes, second: bytes, ends: bool) -> None:
    parser = ResponseParser()
    response = outcome(parser, first, ends=False)
    if isinstance(response, RawResponse) and response.keep_alive:
        parser.reset()
        assert outcome(parser, second, ends=ends) == outcome(ResponseParser(), second, ends=ends)
