"""Ours, on each engine, and on one that carries nothing."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.asked import BODY, ID, MATCH, PASSWORD, PERSON, TOKEN
from benchmarks.measure import Call, Subject


class Nothing:
    """An engine that carries nothing: what is left is the SDK."""

    fences = True

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        return 200, {"content-type": "application/json"}, MATCH

    async def aclose(self) -> None: ...


@asynccontextmanager
async def _paystar(url: str, in_flight: int, engine: Any) -> AsyncGenerator[Call]:
    from paystar_async import Application, Paystar

    application = Application(id=ID, access_password=PASSWORD, api_key=TOKEN)
    async with Paystar(application, base_url=url, concurrency=in_flight, engine=engine, timeout=60) as paystar:

        async def call() -> object:
            return await paystar.identity.match_mobile(**PERSON)

        yield call


def default(url: str, in_flight: int) -> Any:
    return _paystar(url, in_flight, "httpx")


def fast(url: str, in_flight: int) -> Any:
    return _paystar(url, in_flight, "fast")


def aiohttp(url: str, in_flight: int) -> Any:
    return _paystar(url, in_flight, "aiohttp")


@asynccontextmanager
async def stock(url: str, in_flight: int) -> AsyncGenerator[Call]:
    import httpx

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client, _paystar(url, in_flight, client) as call:
        yield call


def nothing(url: str, in_flight: int) -> Any:
    return _paystar(url, in_flight, Nothing())


@asynccontextmanager
async def json_alone(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """The stdlib's json on the same bodies: what no client can do without."""
    del url, in_flight

    async def call() -> object:
        json.dumps(BODY).encode()
        return json.loads(MATCH)

    yield call


OURS: dict[str, Subject] = {
    "ours": default,
    "ours (stock client)": stock,
    "ours (fast)": fast,
    "ours (aiohttp)": aiohttp,
    "ours (nothing carried)": nothing,
    "json": json_alone,
}
