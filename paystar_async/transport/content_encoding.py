"""Decode the Content-Encoding of a response, with a bound on every stage.

Some 20 bytes of gzip inside gzip can decode to gigabytes, and HTTP libraries decode every stage that a server names,
without a bound. So every engine returns the raw body, and the body is decoded here.
"""

import zlib

from paystar_async.errors import InvalidResponse, NoResponse
from paystar_async.transport.engine import response_too_large

ACCEPT_ENCODING = ("Accept-Encoding", "gzip,deflate")
"""The request header for the codings that are decoded here."""
MAX_CODINGS = 2
"""Nested codings that a response may have; servers use one, and some proxies add theirs."""
MAX_MEMBERS = 8
"""Consecutive streams that a coding may have."""

_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})


def decode_content(body: bytes, content_encoding: str, max_bytes: int, http_status: int) -> bytes:
    """Return a response's body without its content encoding.

    Args:
        body: the raw body.
        content_encoding: the header of that name; several are joined by commas.
        max_bytes: bytes that the result of each stage may have.
        http_status: the response's HTTP status, for the error.

    Raises:
        InvalidResponse: a coding that was not requested, more than ``MAX_CODINGS``, or a stage above ``max_bytes``.
        NoResponse: the bytes are not valid in that coding, or end too early.
    """
    names = (name.strip().lower() for name in content_encoding.split(","))
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > MAX_CODINGS or not _CODINGS.issuperset(codings):
        raise InvalidResponse("$", "a content encoding that was not requested", http_status=http_status)
    for coding in reversed(codings):
        if body:
            body = _inflate(body, coding, max_bytes, http_status)
    return body


def _inflate(body: bytes, coding: str, max_bytes: int, http_status: int) -> bytes:
    bits = _GZIP_BITS if coding != "deflate" else _ZLIB_BITS if _has_zlib_head(body) else _RAW_BITS
    parts: list[bytes] = []
    bytes_left = max_bytes
    for _ in range(MAX_MEMBERS):
        decoder = zlib.decompressobj(bits)
        try:
            parts.append(decoder.decompress(body, bytes_left + 1))
        except zlib.error:
            break
        bytes_left -= len(parts[-1])
        if bytes_left < 0:
            raise response_too_large(http_status)
        if not decoder.eof:
            break
        body = decoder.unused_data
        if not body:
            return b"".join(parts)
    raise NoResponse("the response's content encoding is broken")


def _has_zlib_head(body: bytes) -> bool:
    """Return True if a deflate stream has the zlib head of the standard; some servers send raw deflate."""
    return len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0
