"""The others: raw clients, and SDKs known for being good ones. Each does its own cheapest small call.

What is imported is imported when its peer is opened, so that one that is not installed is left out and named.
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import certifi

from benchmarks.asked import BODY, PATH, TOKEN
from benchmarks.measure import Call, Subject

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def _context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())


@asynccontextmanager
async def httpx(url: str, in_flight: int) -> AsyncGenerator[Call]:
    import httpx

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, verify=_context(), timeout=60) as client:

        async def call() -> object:
            response = await client.post(url + PATH, json=BODY, headers=HEADERS)
            return response.json()

        yield call


@asynccontextmanager
async def aiohttp(url: str, in_flight: int) -> AsyncGenerator[Call]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=in_flight, ssl=_context())
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call() -> object:
            async with session.post(url + PATH, json=BODY, headers=HEADERS) as response:
                return await response.json()

        yield call


@asynccontextmanager
async def pyreqwest(url: str, in_flight: int) -> AsyncGenerator[Call]:
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().no_proxy().pool_max_idle_per_host(in_flight).build() as client:

        async def call() -> object:
            response = await client.post(url + PATH).headers(HEADERS).body_json(BODY).build().send()
            return await response.json()

        yield call


@asynccontextmanager
async def _stripe(url: str, carrier: Any) -> AsyncGenerator[Call]:
    import stripe

    client = stripe.StripeClient("sk_test_1", http_client=carrier, base_addresses={"api": url})
    params: Any = {"email": "a@b.example"}

    async def call() -> object:
        return await client.v1.customers.create_async(params=params)

    yield call
    await carrier.close_async()


def stripe_httpx(url: str, _: int) -> Any:
    import stripe

    return _stripe(url, stripe.HTTPXClient())


def stripe_aiohttp(url: str, _: int) -> Any:
    import stripe

    return _stripe(url, stripe.AIOHTTPClient())


@asynccontextmanager
async def _openai(url: str, carrier: Any) -> AsyncGenerator[Call]:
    import openai

    async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=carrier, max_retries=0) as client:

        async def call() -> object:
            return await client.models.retrieve("gpt")

        yield call


def openai_httpx(url: str, _: int) -> Any:
    return _openai(url, None)


def openai_aiohttp(url: str, _: int) -> Any:
    import openai

    return _openai(url, openai.DefaultAioHttpClient())


@asynccontextmanager
async def githubkit(url: str, in_flight: int) -> AsyncGenerator[Call]:
    from githubkit import GitHub

    del in_flight
    async with GitHub("token", base_url=url, http_cache=False, auto_retry=False, trust_env=False) as github:

        async def call() -> object:
            response = await github.rest.rate_limit.async_get()
            return response.parsed_data

        yield call


@asynccontextmanager
async def aiobotocore(url: str, in_flight: int) -> AsyncGenerator[Call]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(max_pool_connections=in_flight, retries={"max_attempts": 0})
    given: Any = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "s"}
    async with get_session().create_client(
        "dynamodb", endpoint_url=f"{url}/dynamodb", config=config, **given
    ) as client:

        async def call() -> object:
            return await client.get_item(TableName="people", Key={"id": {"S": "1"}})

        yield call


PEERS: dict[str, Subject] = {
    "httpx": httpx,
    "aiohttp": aiohttp,
    "pyreqwest": pyreqwest,
    "stripe (httpx)": stripe_httpx,
    "stripe (aiohttp)": stripe_aiohttp,
    "openai (httpx)": openai_httpx,
    "openai (aiohttp)": openai_aiohttp,
    "githubkit": githubkit,
    "aiobotocore": aiobotocore,
}
