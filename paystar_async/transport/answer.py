"""One answer out of the bytes of a connection.

The usual answer – a plain head, its length, its body – is taken by one expression, at a tenth of what h11 costs.
Everything else is h11's to read or to refuse: chunks, encodings, interim answers, an end by closing, and whatever is
broken. The expression takes nothing that h11 reads otherwise; a test holds the two against each other.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import h11
from attrs import frozen

from paystar_async.errors import BadAnswer

LARGEST = 16 << 20
"""Bytes; a list of 500 transfers has about 200,000."""
LONGEST_HEAD = 100 << 10
_HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [\t -~]*)?\r\n((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t -~]*\r\n)+)\r\n")
_LENGTH = re.compile(r"[0-9]{1,8}")
_UNUSUAL = frozenset({"transfer-encoding", "content-encoding", "upgrade"})


def too_large(http_status: int | None = None) -> BadAnswer:
    """What is said of an answer of a size none has."""
    return BadAnswer("$", f"an answer of more than {LARGEST >> 20} MB", http_status=http_status)


class Garbled(ValueError):
    """What came is no HTTP; the text quotes none of it, since it may be an echo of what was sent."""


@frozen
class Answer:
    """An answer, whole.

    Attributes:
        status: the HTTP status.
        headers: names in lower case; those that came more than once are joined.
        body: as it came: a content encoding is not undone.
        is_last: whether the connection is over with it, or bytes stand behind it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_last: bool


class Reading:
    """Reads one answer.

    Args:
        method: how it was asked for.
    """

    __slots__ = ("_buffer", "_by_the_book", "_headers", "_method", "_size", "_starts", "_status")

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer: bytes | bytearray = b""
        self._starts = self._size = self._status = 0
        self._headers: dict[str, str] = {}
        self._by_the_book: ByTheBook | None = None

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once ``data`` has made it whole; raises Garbled, or BadAnswer for a size none has."""
        if self._by_the_book is not None:
            return self._by_the_book.feed(data)
        if not self._buffer:
            self._buffer = data
        elif isinstance(self._buffer, bytearray):
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer) + data
        if not self._starts:
            head = _HEAD.match(self._buffer)
            if head is None and _may_grow(self._buffer):
                return None
            if head is None or not self._take(head):
                self._by_the_book = ByTheBook(self._method)
                return self._by_the_book.feed(bytes(self._buffer))
        ends = self._starts + self._size
        if len(self._buffer) < ends:
            return None
        is_last = len(self._buffer) > ends
        return Answer(self._status, self._headers, bytes(self._buffer[self._starts : ends]), is_last)

    def end(self) -> Answer:
        """The answer, which the other side's end makes whole; raises Garbled where it does not."""
        if self._by_the_book is None:
            self._by_the_book = ByTheBook(self._method)
            self._by_the_book.feed(bytes(self._buffer))
        return self._by_the_book.end()

    def _take(self, head: re.Match[bytes]) -> bool:
        """Keep the head, if it is a usual one."""
        headers: dict[str, str] = {}
        for line in head[2].decode("ascii").split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip(" \t")
            if name in headers:
                if name in ("content-length", "connection"):
                    return False
                value = f"{headers[name]}, {value}"
            headers[name] = value
        length = headers.get("content-length", "")
        status = int(head[1])
        if not _LENGTH.fullmatch(length) or not _UNUSUAL.isdisjoint(headers) or status in (204, 304):
            return False
        if headers.get("connection", "keep-alive").lower() != "keep-alive" or int(length) > LARGEST:
            return False
        self._starts, self._size, self._status, self._headers = head.end(), int(length), status, headers
        return True


def _may_grow(buffer: bytes | bytearray) -> bool:
    """Whether more bytes may still make a head of it."""
    return b"\n\r\n" not in buffer and b"\n\n" not in buffer and len(buffer) < LONGEST_HEAD


class ByTheBook:
    """Reads one answer as h11 does.

    Args:
        method: how it was asked for.
    """

    def __init__(self, method: str) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        # It reads an answer by what was asked, of which the method is all that matters.
        self._h11.send(h11.Request(method=method, target="/", headers=[("Host", "asked")]))
        self._h11.send(h11.EndOfMessage())
        self._head: h11.Response | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Answer | None:
        """See ``Reading.feed``."""
        if data:
            self._h11.receive_data(data)
        return self._read()

    def end(self) -> Answer:
        """See ``Reading.end``."""
        self._h11.receive_data(b"")
        answer = None
        with suppress(Garbled):
            answer = self._read()
        if answer is None:
            raise Garbled("the connection ended before its answer did")
        return answer

    def _read(self) -> Answer | None:
        while True:
            try:
                event: Any = self._h11.next_event()
            except h11.RemoteProtocolError as problem:
                # Behind a colon stands what the server sent.
                raise Garbled(str(problem).partition(":")[0]) from None
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._parts.append(bytes(event.data))
                self._size += len(event.data)
                if self._size > LARGEST:
                    raise too_large()
            elif isinstance(event, h11.EndOfMessage):
                return self._whole(self._head)
            elif not isinstance(event, h11.InformationalResponse):
                return None  # more must come

    def _whole(self, head: Any) -> Answer:
        headers: dict[str, str] = {}
        for name, value in ((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        is_last = self._h11.their_state is not h11.DONE or bool(self._h11.trailing_data[0])
        return Answer(head.status_code, headers, b"".join(self._parts), is_last)
