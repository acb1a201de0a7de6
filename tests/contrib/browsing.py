"""A payer's browser: an HTTP client of an application in this process."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from starlette.applications import Starlette

from paystar_async.sandbox import Sandbox


@asynccontextmanager
async def browsing(app: Starlette) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield a browser of a started application."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser,
    ):
        yield browser


def token_in(address: str) -> str:
    """Return the token in the address of a payment page."""
    return parse_qs(urlsplit(address).query)["token"][0]


def paid(sandbox: Sandbox, address: str, choice: str = "pay") -> dict[str, str]:
    """Choose on a payment page and return the fields of the callback."""
    return dict(sandbox.pay(token_in(address), choice))


async def come_back(browser: httpx.AsyncClient, method: str, fields: Mapping[str, Any]) -> httpx.Response:
    """Return the shop's response to a callback."""
    path = "/pay/callback"
    if method == "GET":
        return await browser.get(path, params=dict(fields))
    if method == "multipart":
        return await browser.post(path, files={name: (None, text) for name, text in fields.items()})
    return await browser.post(path, data=dict(fields))
