"""Features of aiohttp: encoded bodies, sub-applications, HTTP exceptions."""

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import FormData, StreamReader, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from aiohttp.typedefs import Handler

from paystar_async.contrib.aiohttp import PAYSTAR, payment_handler, payment_routes, paystar_ctx
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment
from tests.contrib.shops import Shop, Visit, aiohttp


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def visit(shop: Shop) -> AsyncIterator[Visit]:
    async with aiohttp(shop) as visit:
        yield visit


async def test_callback_wrong_content_encoding_is_refused(visit: Visit, shop: Shop) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}

    assert (await visit("POST", "/pay/callback", b"status=1", headers)).status == 400
    assert not shop.received


async def test_callback_aborted_form_is_not_a_shop_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = StreamReader(Mock(), 2**16)
    body.set_exception(ConnectionResetError("gone"))
    app = web.Application()
    app[PAYSTAR] = Shop().client()
    request = make_mocked_request("POST", "/back", app=app, payload=body)
    request.match_info.add_app(app)

    response = await payment_handler(Shop().on_payment)(request)

    assert response.status == 400
    assert caplog.messages == ["payments: a callback is refused: not a form"]


async def test_paystar_ctx_client_is_found_in_sub_application() -> None:
    shop = Shop()
    shop.response = web.Response(text="thank you")
    sub = web.Application()
    sub.add_routes([web.get("/back", payment_handler(shop.on_payment, amount_of=shop.amount_of))])
    app = web.Application()
    app.cleanup_ctx.append(paystar_ctx(shop.client()))
    app.add_subapp("/pay", sub)

    async with TestClient(TestServer(app)) as browser:
        assert await (await browser.get("/pay/back", params=await shop.pay())).text() == "thank you"
        assert app[PAYSTAR].payments is not None


async def test_payment_routes_without_handler_show_result() -> None:
    shop = Shop()
    app = web.Application()
    app.cleanup_ctx.append(paystar_ctx(shop.client()))
    app.add_routes(payment_routes("/pay/callback", amount_of=shop.amount_of))

    async with TestClient(TestServer(app)) as browser:
        back = await browser.get("/pay/callback", params=await shop.pay("cancel"))
        assert (back.status, "The payment was not made." in await back.text()) == (200, True)


async def test_payment_routes_are_named() -> None:
    app = web.Application()
    app.add_routes(payment_routes("/pay/callback", Shop().on_payment))

    assert str(app.router["paystar_callback"].url_for()) == "/pay/callback"


@pytest.mark.parametrize("is_multipart", [False, True])
@pytest.mark.parametrize(("reader", "status"), [("post", 303), ("read", 303), ("content", 503)])
async def test_callback_body_read_by_middleware_is_accepted(reader: str, status: int, is_multipart: bool) -> None:
    shop = Shop()
    fields = await shop.pay()

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        await (request.content.read() if reader == "content" else getattr(request, reader)())
        return await handler(request)

    app = web.Application(middlewares=[read])
    app.cleanup_ctx.append(paystar_ctx(shop.client()))
    app.add_routes(payment_routes("/back", shop.on_payment, amount_of=shop.amount_of))
    form = FormData(fields, default_to_multipart=is_multipart)
    async with TestClient(TestServer(app)) as browser:
        assert (await browser.post("/back", data=form, allow_redirects=False)).status == status


async def test_callback_handler_may_read_form() -> None:
    shop = Shop()
    fields = await shop.pay()

    async def on_payment(request: web.Request, payment: Payment) -> str:
        ref_num = (await request.post())["ref_num"]
        assert isinstance(ref_num, str)
        return f"/{ref_num}"

    app = web.Application(client_max_size=0)
    app.cleanup_ctx.append(paystar_ctx(shop.client()))
    app.add_routes(payment_routes("/back", on_payment, amount_of=shop.amount_of))
    async with TestClient(TestServer(app)) as browser:
        response = await browser.post("/back", data=fields, allow_redirects=False)

    assert response.headers["location"] == f"/{fields['ref_num']}"


async def test_callback_http_exception_of_handler_is_kept() -> None:
    shop = Shop()
    fields = await shop.pay()

    async def on_payment(request: web.Request, payment: Payment) -> str:
        raise web.HTTPGone

    app = web.Application()
    app.cleanup_ctx.append(paystar_ctx(shop.client()))
    app.add_routes(payment_routes("/back", on_payment, amount_of=shop.amount_of))
    async with TestClient(TestServer(app)) as browser:
        assert (await browser.get("/back", params=fields)).status == 410


def test_payment_routes_handler_without_payment_is_refused() -> None:
    async def shows_thanks(request: object) -> str:
        raise AssertionError

    handler: Any = shows_thanks
    with pytest.raises(ConfigurationError, match=r"shows_thanks cannot be called .* a payment"):
        payment_routes("/back", handler)


@pytest.mark.parametrize("amount_of", [50_000, "o-1", lambda: 50_000])
def test_payment_routes_wrong_amount_of_is_refused(amount_of: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"amount_of .*(must be a function|cannot be called)"):
        payment_routes("/back", amount_of=amount_of)
