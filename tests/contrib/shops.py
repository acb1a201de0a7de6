"""A small shop in each framework, for tests that hold for all frameworks."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from attrs import define, field, frozen
from django import setup
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

from paystar_async import Paystar
from paystar_async.contrib import aiohttp as with_aiohttp
from paystar_async.contrib import fastapi as with_fastapi
from paystar_async.contrib import starlette as with_starlette
from paystar_async.contrib._callback import AmountOf
from paystar_async.endpoint import Middleware
from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import browsing, token_in

AMOUNT = 50_000
HOST = "https://shop.example"


@frozen
class BrowserResponse:
    """A response, as a browser receives it."""

    status: int
    headers: Mapping[str, str]
    text: str


Visit = Callable[..., Awaitable[BrowserResponse]]
"""``await visit("POST", "/pay/callback?a=b", body=b"…", headers={…})``."""


@define
class Shop:
    """A shop with its sandbox.

    With a ``database`` the client stores the orders; without, the shop does.
    """

    sandbox: Sandbox = field(factory=Sandbox)
    orders: dict[str, int] = field(factory=dict[str, int])
    received: list[Payment] = field(factory=list[Payment])
    response: Any = "/orders/ORD-1"
    database: Path | None = None
    middleware: Sequence[Middleware] = ()

    def client(self) -> Paystar:
        return Paystar(
            gateway=self.sandbox.gateway,
            engine=self.sandbox.engine(),
            database=self.database,
            max_retries=0,
            middleware=self.middleware,
        )

    async def on_payment(self, _: object, payment: Payment) -> Any:
        self.received.append(payment)
        if isinstance(self.response, Exception):
            raise self.response
        return self.response

    @property
    def amount_of(self) -> AmountOf | None:
        return self.orders.get if self.database is None else None

    async def start_orders(self, *order_ids: str) -> dict[str, str]:
        """Start orders; return the tokens of their payment pages."""
        async with self.client() as paystar:
            tokens: dict[str, str] = {}
            for order_id in order_ids:
                fields: dict[str, Any] = {"amount": AMOUNT, "order_id": order_id, "callback": f"{HOST}/pay/callback"}
                if self.database is None:
                    self.orders[order_id] = AMOUNT
                    tokens[order_id] = (await paystar.gateway.create(**fields)).token
                else:
                    tokens[order_id] = token_in((await paystar.payments.start(**fields)).url)
            return tokens

    async def pay(self, choice: str = "pay", *, order_id: str = "ORD-1") -> dict[str, str]:
        """Start and pay an order; return the fields of the callback."""
        tokens = await self.start_orders(order_id)
        return dict(self.sandbox.pay(tokens[order_id], choice))


@asynccontextmanager
async def open_browser(app: Starlette) -> AsyncGenerator[Visit]:
    async with browsing(app) as browser:
        yield partial(visit_with, browser)


async def visit_with(
    browser: httpx.AsyncClient, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> BrowserResponse:
    response = await browser.request(method, target, content=body, headers=headers)
    return BrowserResponse(response.status_code, response.headers, response.text)


@asynccontextmanager
async def starlette(shop: Shop) -> AsyncGenerator[Visit]:
    async def balance(request: Any) -> Any:
        await with_starlette.paystar_of(request).transfers.balance(account_number="0100000000001")

    app = Starlette(
        routes=[
            with_starlette.payment_route("/pay/callback", shop.on_payment, amount_of=shop.amount_of),
            Route("/balance", balance),
        ],
        lifespan=with_starlette.paystar_lifespan(shop.client),
        exception_handlers=with_starlette.exception_handlers,
    )
    async with open_browser(app) as visit:
        yield visit


@asynccontextmanager
async def fastapi(shop: Shop) -> AsyncGenerator[Visit]:
    async def on_payment(payment: Payment) -> Any:
        return await shop.on_payment(None, payment)

    app = FastAPI(
        lifespan=with_fastapi.paystar_lifespan(shop.client), exception_handlers=with_fastapi.exception_handlers
    )
    app.include_router(
        with_fastapi.payment_router(on_payment=on_payment, path="/pay/callback", amount_of=shop.amount_of)
    )

    @app.get("/balance")
    async def balance(paystar: with_fastapi.PaystarDep) -> None:  # pyright: ignore[reportUnusedFunction]
        await paystar.transfers.balance(account_number="0100000000001")

    async with open_browser(app) as visit:
        yield visit


@asynccontextmanager
async def aiohttp(shop: Shop) -> AsyncGenerator[Visit]:
    async def balance(request: web.Request) -> web.Response:
        await request.config_dict[with_aiohttp.PAYSTAR].transfers.balance(account_number="0100000000001")
        return web.Response()

    app = web.Application(middlewares=[with_aiohttp.paystar_errors])
    app.cleanup_ctx.append(with_aiohttp.paystar_ctx(shop.client))
    app.add_routes(with_aiohttp.payment_routes("/pay/callback", shop.on_payment, amount_of=shop.amount_of))
    app.add_routes([web.get("/balance", balance)])

    async with TestClient(TestServer(app)) as browser:

        async def visit(
            method: str,
            target: str,
            body: "bytes | AsyncIterator[bytes]" = b"",
            headers: Mapping[str, str] | None = None,
        ) -> BrowserResponse:
            skipped = {"Content-Type"} if not headers else set[str]()
            async with browser.request(
                method, target, data=body or None, headers=headers, allow_redirects=False, skip_auto_headers=skipped
            ) as response:
                return BrowserResponse(response.status, response.headers, await response.text())

        yield visit


def set_up_django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib.django_settings"
    setup()


@asynccontextmanager
async def django(shop: Shop, *, is_async: bool = False) -> AsyncGenerator[Visit]:
    set_up_django()
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse
    from django.test import override_settings
    from django.urls import path

    from paystar_async.contrib import django as with_django

    def balance(request: HttpRequest) -> HttpResponse:
        with_django.get_blocking_paystar().transfers.balance(account_number="0100000000001")
        return HttpResponse()

    async def balance_async(request: HttpRequest) -> HttpResponse:
        await with_django.get_paystar().transfers.balance(account_number="0100000000001")
        return HttpResponse()

    def on_payment(request: HttpRequest, payment: Payment) -> Any:
        shop.received.append(payment)
        if isinstance(shop.response, Exception):
            raise shop.response
        return shop.response

    callback = with_django.PaymentCallbackView.as_view(
        on_payment=shop.on_payment if is_async else on_payment, amount_of=shop.amount_of
    )
    urls: Any = ModuleType("urls")
    urls.urlpatterns = [path("pay/callback", callback), path("balance", balance_async if is_async else balance)]
    options = {
        "gateway": shop.sandbox.gateway,
        "engine": shop.sandbox.engine(),
        "database": shop.database,
        "max_retries": 0,
        "middleware": shop.middleware,
    }
    with override_settings(PAYSTAR=options, ROOT_URLCONF=urls):
        application: Any = get_asgi_application()
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as browser:
            yield partial(visit_with, browser)
        await with_django.get_paystar().aclose()


FRAMEWORKS: Mapping[str, Callable[[Shop], AbstractAsyncContextManager[Visit]]] = {
    "starlette": starlette,
    "fastapi": fastapi,
    "aiohttp": aiohttp,
    "django": django,
    "django, async": partial(django, is_async=True),
}
