"""The subjects: this SDK on each engine, raw HTTP clients, and other SDKs, each with one small JSON call.

A subject is an async context manager that opens a client and yields its call. Libraries are imported when a subject is
opened, so that a missing library is skipped and named.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import urlsplit

from benchmarks.server import MATCH

Call = Callable[[], Awaitable[object]]
Subject = Callable[[str, int], AbstractAsyncContextManager[Call]]
"""A function of the server's base URL and the number of calls in flight, which opens a client."""

PERSON = {"national_id": "0012345679", "mobile_number": "09121234567"}
APPLICATION = {"id": "77", "access_password": "a-password-of-some-length", "api_key": "an-api-key-of-some-length"}
PATH = "/open-banking/service/info-matching/mobile-national-id"
BODY = {"application_id": APPLICATION["id"], "access_password": APPLICATION["access_password"], **PERSON}
"""The body of the raw clients: the fields that the SDK sends."""
HEADERS = {"Authorization": f"Bearer {APPLICATION['api_key']}"}


class NullEngine:
    """An engine without a network, so that only the cost of the SDK is measured."""

    supports_before_send = True

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        if before_send is not None:
            before_send()
        return 200, {"content-type": "application/json"}, self.respond(body)

    def respond(self, body: bytes | None) -> bytes:
        """Return the response body to a request body."""
        return MATCH

    async def aclose(self) -> None: ...


@asynccontextmanager
async def paystar(engine: Any, url: str, in_flight: int, middleware: Sequence[Any] = ()) -> AsyncGenerator[Call]:
    """Open this SDK with all its middleware."""
    from paystar_async import Application, Paystar

    engine = NullEngine() if engine == "null" else engine
    application = Application(**APPLICATION)
    async with Paystar(
        application, base_url=url, concurrency=in_flight, engine=engine, middleware=middleware
    ) as client:
        yield lambda: client.identity.match_mobile(**PERSON)


@asynccontextmanager
async def recorded(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open this SDK without a network, with a recorder of shapes."""
    from paystar_async.conform import ShapeRecorder

    with TemporaryDirectory() as folder:
        async with paystar("null", url, in_flight, [ShapeRecorder(f"{folder}/shapes.jsonl")]) as call:
            yield call


@asynccontextmanager
async def stdlib_json(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Encode and decode the bodies of the call with the standard library."""

    async def call() -> object:
        json.dumps(BODY).encode()
        return json.loads(MATCH)

    yield call


class ProbeProtocol(asyncio.Protocol):
    """A connection that writes a request and awaits the bytes of its response; it parses nothing."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._response: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._response is not None:
            self._response.set_result(data)

    async def send(self, request: bytes) -> bytes:
        """Write a request and return the first bytes of its response, which here are the whole response."""
        self._response = self._loop.create_future()
        self.transport.write(request)
        return await self._response


@asynccontextmanager
async def asyncio_probe(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open the probe: the lower bound of the cost of this call for any asyncio client."""
    body = json.dumps(BODY).encode()
    address = urlsplit(url)
    lines = [f"POST {PATH} HTTP/1.1", f"Host: {address.netloc}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in HEADERS.items()), "", ""]
    request = "\r\n".join(lines).encode() + body
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(ProbeProtocol, address.hostname, address.port) for _ in range(in_flight)]
    idle = [protocol for _, protocol in opened]

    async def call() -> object:
        connection = idle.pop()
        response = await connection.send(request)
        idle.append(connection)
        return response

    yield call
    for transport, _ in opened:
        transport.close()


@asynccontextmanager
async def raw_httpx(library: str, url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open httpx or httpx2."""
    httpx = import_module(library)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:

        async def call() -> object:
            response = await client.post(url + PATH, json=BODY, headers=HEADERS)
            return response.json()

        yield call


@asynccontextmanager
async def raw_aiohttp(url: str, in_flight: int) -> AsyncGenerator[Call]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def call() -> object:
            async with session.post(url + PATH, json=BODY, headers=HEADERS) as response:
                return await response.json()

        yield call


@asynccontextmanager
async def raw_pyreqwest(url: str, in_flight: int) -> AsyncGenerator[Call]:
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().no_proxy().pool_max_idle_per_host(in_flight).build() as client:

        async def call() -> object:
            response = await client.post(url + PATH).headers(HEADERS).body_json(BODY).build().send()
            return await response.json()

        yield call


@asynccontextmanager
async def stripe(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open stripe on aiohttp, the faster of its HTTP clients."""
    import stripe

    http_client = stripe.AIOHTTPClient()
    client = stripe.StripeClient("sk_test_1", http_client=http_client, base_addresses={"api": url})
    yield lambda: client.v1.customers.create_async(params={"email": "a@b.example"})
    await http_client.close_async()


@asynccontextmanager
async def openai(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open openai on aiohttp, the faster of its HTTP clients."""
    import openai

    http_client = openai.DefaultAioHttpClient()
    async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http_client, max_retries=0) as client:
        yield lambda: client.models.retrieve("gpt")


@asynccontextmanager
async def aiobotocore(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open aiobotocore on aiohttp, its default and the faster of its HTTP clients."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(max_pool_connections=in_flight, retries={"max_attempts": 0})
    credentials = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "s"}
    session = get_session()
    async with session.create_client(
        "dynamodb", endpoint_url=f"{url}/dynamodb", config=config, **credentials
    ) as client:
        yield lambda: client.get_item(TableName="people", Key={"id": {"S": "1"}})


@asynccontextmanager
async def githubkit(url: str, in_flight: int) -> AsyncGenerator[Call]:
    """Open githubkit on httpx-aiohttp, the faster of its transports."""
    from githubkit import GitHub
    from httpx_aiohttp import AiohttpTransport

    settings = {"http_cache": False, "auto_retry": False, "trust_env": False, "async_transport": AiohttpTransport()}
    async with GitHub("token", base_url=url, **settings) as github:

        async def call() -> object:
            response = await github.rest.rate_limit.async_get()
            return response.parsed_data

        yield call


SUBJECTS: Mapping[str, Subject] = {
    "auto": partial(paystar, "auto"),
    "engine httpx": partial(paystar, "httpx"),
    "engine httpx2": partial(paystar, "httpx2"),
    "engine aiohttp": partial(paystar, "aiohttp"),
    "null engine": partial(paystar, "null"),
    "null engine, recorded": recorded,
    "stdlib json": stdlib_json,
    "asyncio probe": asyncio_probe,
    "httpx": partial(raw_httpx, "httpx"),
    "httpx2": partial(raw_httpx, "httpx2"),
    "aiohttp": raw_aiohttp,
    "pyreqwest": raw_pyreqwest,
    "stripe": stripe,
    "openai": openai,
    "aiobotocore": aiobotocore,
    "githubkit": githubkit,
}
