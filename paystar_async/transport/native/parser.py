"""Parse one HTTP/1.1 response with httptools (llhttp)."""

from collections.abc import Mapping

import httptools
from attrs import define

from paystar_async.errors import InvalidResponse
from paystar_async.transport.engine import MAX_HEAD_BYTES, MAX_RESPONSE_BYTES, response_too_large

_VERSIONS = frozenset({"1.0", "1.1"})


class ProtocolError(ValueError):
    """Bytes that are not an HTTP/1.1 response. The text quotes none of them, since they may echo the request."""


@define  # not frozen: each call creates an instance, and frozen would double the cost
class RawResponse:
    """A complete response.

    Attributes:
        status: HTTP status.
        headers: values by lower-case name; repeated headers are joined by commas.
        body: the raw body, not decoded from its content encoding.
        keep_alive: whether the connection may carry another request: neither side closes it, and no bytes follow.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


class ResponseParser:
    """A parser for the responses of one connection, one at a time, each to a GET or POST."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.reset()

    def reset(self) -> None:
        """Begin a new response; the previous response was complete, and no bytes followed it."""
        self._first_bytes = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()  # not a list of pieces, of which each would take 40 bytes more
        self._framing_bytes = self._header_bytes = self._status = 0
        self._has_head = self._is_complete = self._has_trailing_bytes = self._keep_alive = False
        self._failure: ProtocolError | InvalidResponse | None = None

    def feed(self, data: bytes) -> RawResponse | None:
        """Return the response once ``data`` completes it, else None.

        Raises:
            ProtocolError: the bytes are not an HTTP/1.1 response, or its head has more than ``MAX_HEAD_BYTES``.
            InvalidResponse: the body has more than ``MAX_RESPONSE_BYTES``.
        """
        if len(self._first_bytes) < 5:
            # llhttp also skips blank lines before a status line, and takes RTSP for HTTP.
            self._first_bytes = (self._first_bytes + data)[:5]
            if not b"HTTP/".startswith(self._first_bytes):
                raise ProtocolError("not an HTTP response")
        body_bytes = len(self._body)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # Bytes after a complete response only mean that the connection cannot be reused.
            self._has_trailing_bytes = self._is_complete
            if not self._is_complete and self._failure is None:
                is_upgrade = isinstance(error, httptools.HttpParserUpgrade)
                self._failure = ProtocolError("the server switched protocols" if is_upgrade else str(error))
        # llhttp keeps the beginning of a header or trailer until its end, however long it becomes.
        has_progress = self._is_complete or len(self._body) > body_bytes
        self._framing_bytes = 0 if has_progress else self._framing_bytes + len(data)
        if max(self._framing_bytes, self._header_bytes) > MAX_HEAD_BYTES:
            self._failure = ProtocolError("the headers are too long")
        if self._failure is not None:
            raise self._failure
        return self._response() if self._is_complete else None

    def end(self) -> RawResponse:
        """Return the response that ends with the connection; raise ProtocolError if the response is incomplete."""
        has_framing = "content-length" in self._headers or "transfer-encoding" in self._headers
        if not self._has_head or has_framing:
            raise ProtocolError("the connection ended before its response did")
        return self._response()

    def _response(self) -> RawResponse:
        keep_alive = self._keep_alive and not self._has_trailing_bytes
        return RawResponse(self._status, self._headers, bytes(self._body), keep_alive)

    # Called by httptools, which replaces an exception raised here by its own.

    def on_message_begin(self) -> None:
        """Record that bytes follow a complete response."""
        self._has_trailing_bytes = self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header of the head; ignore trailers of a chunked body."""
        if self._has_head:
            return
        key, text = name.decode("ascii").lower(), value.decode("latin-1").strip(" \t")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text
        self._header_bytes += len(name) + len(value) + 4  # a colon, a space, the line end

    def on_headers_complete(self) -> None:
        """Check the head of the response; ignore the head of an interim response."""
        if self._is_complete:
            return
        if self._parser.get_http_version() not in _VERSIONS:
            self._failure = ProtocolError("not HTTP/1.1")
        elif self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            # llhttp would return the body still in that encoding.
            self._failure = ProtocolError("an unknown transfer encoding")
        self._status = self._parser.get_status_code()
        self._has_head = self._status >= 200
        if not self._has_head:
            self._headers = {}

    def on_body(self, data: bytes) -> None:
        """Store a piece of the body."""
        if self._is_complete:
            return
        self._body += data
        if len(self._body) > MAX_RESPONSE_BYTES:
            self._failure = response_too_large(self._status)

    def on_message_complete(self) -> None:
        """Record the end of the response; ignore the end of an interim response."""
        if self._has_head and not self._is_complete:
            self._is_complete, self._keep_alive = True, self._parser.should_keep_alive()
