"""A payer's browser, as far as a shop sees one: it asks an application in this process."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.applications import Starlette

from paystar_async.sandbox import Sandbox


@asynccontextmanager
async def browsing(app: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    """An application that was started, and somebody who asks it."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser,
    ):
        yield browser


def token_in(address: str) -> str:
    """The token in the address of a payment page."""
    return parse_qs(urlsplit(address).query)["token"][0]


def paid(sandbox: Sandbox, address: str, choice: str = "pay") -> dict[str, str]:
    """The fields a payer comes back with who was sent to a payment page."""
    return dict(sandbox.pay(token_in(address), choice))


async def come_back(browser: httpx.AsyncClient, method: str, fields: Mapping[str, Any]) -> httpx.Response:
    """What a shop answers to a payer who comes back."""
    path = "/pay/callback"
    if method == "GET":
        return await browser.get(path, params=dict(fields))
    return await browser.post(path, data=dict(fields))
