"""The limit of request bodies."""

from collections.abc import AsyncIterator

import pytest

from paystar_async.sandbox.body_limit import MAX_CALL_BYTES, MAX_CONTROL_BYTES
from tests.sandbox.raw_client import RawClient

CONTROL, CALL = "http://localhost/_sandbox/clock", "http://localhost/api/pardakht/create"


@pytest.mark.parametrize(("path", "limit"), [(CONTROL, MAX_CONTROL_BYTES), (CALL, MAX_CALL_BYTES)])
async def test_body_limit_large_body_is_413(raw_client: RawClient, path: str, limit: int) -> None:
    response = await raw_client.http.post(path, content=b" " * (limit + 1))

    assert response.status_code == 413
    assert response.json() == {"error": f"a body of more than {limit} bytes"}


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/json"])
async def test_body_limit_endless_stream_is_refused(raw_client: RawClient, content_type: str) -> None:
    async def endless_body() -> AsyncIterator[bytes]:
        while True:
            yield b"a" * 40_000

    response = await raw_client.http.post(CALL, content=endless_body(), headers={"content-type": content_type})

    assert response.status_code in (400, 413)  # the form parser has its own limit
