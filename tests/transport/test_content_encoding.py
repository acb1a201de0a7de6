"""Decoding of content encodings, with a bound on every stage."""

import gzip
import tracemalloc
import zlib

import pytest

from paystar_async.errors import InvalidResponse, NoResponse, PaystarError
from paystar_async.transport.content_encoding import MAX_MEMBERS, decode_content

BODY = b'{"status": 1}'
RAW = zlib.compressobj(wbits=-15)
RAW_DEFLATE = RAW.compress(BODY) + RAW.flush()
LIMIT = 1 << 20


def bomb(stages: int, size: int = 300 << 20) -> bytes:
    body = zlib.compressobj(9, wbits=31)
    packed = b"".join([body.compress(bytes(1 << 20)) for _ in range(size >> 20)] + [body.flush()])
    for _ in range(stages - 1):
        packed = gzip.compress(packed, 9)
    return packed


@pytest.mark.parametrize(
    ("codings", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        (" X-GZIP ", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", RAW_DEFLATE),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
        ("deflate, identity, gzip", gzip.compress(zlib.compress(BODY))),
        ("gzip", gzip.compress(BODY[:5]) + gzip.compress(BODY[5:])),
    ],
)
def test_decode_content_known_coding_is_decoded(codings: str, body: bytes) -> None:
    assert decode_content(body, codings, LIMIT, 200) == BODY


def test_decode_content_empty_body_stays_empty() -> None:
    assert decode_content(b"", "gzip", LIMIT, 204) == b""


@pytest.mark.parametrize("codings", ["br", "zstd", "gzip, br", "gzip, gzip, gzip", "deflate, gzip, br", "gzip," * 999])
def test_decode_content_unrequested_coding_is_refused(codings: str) -> None:
    with pytest.raises(InvalidResponse, match="not requested") as raised:
        decode_content(gzip.compress(BODY), codings, LIMIT, 502)

    assert (raised.value.executed, raised.value.http_status) == ("maybe", 502)


@pytest.mark.parametrize("stages", [1, 2])
def test_decode_content_bomb_is_refused_in_bounds(stages: int) -> None:
    packed = bomb(stages)
    tracemalloc.start()
    with pytest.raises(InvalidResponse, match="more than"):
        decode_content(packed, ", ".join(["gzip"] * stages), LIMIT, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * LIMIT


@pytest.mark.parametrize(
    "body",
    [BODY, gzip.compress(BODY)[:-3], gzip.compress(BODY) + b"x", gzip.compress(b"") * (MAX_MEMBERS + 1)],
    ids=["not gzip", "cut off", "bytes behind", "too many members"],
)
def test_decode_content_broken_coding_is_no_response(body: bytes) -> None:
    with pytest.raises(PaystarError) as raised:
        decode_content(body, "gzip", LIMIT, 200)

    assert type(raised.value) is NoResponse
    assert raised.value.executed == "maybe"


def test_decode_content_limit_is_of_all_members() -> None:
    half = gzip.compress(b" " * (LIMIT // 2 + 1))

    with pytest.raises(InvalidResponse, match="more than"):
        decode_content(half * 2, "gzip", LIMIT, 200)
