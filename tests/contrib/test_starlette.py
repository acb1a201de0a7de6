"""Features of Starlette: nested lifespans, mounted applications, disconnected browsers."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from paystar_async import Paystar
from paystar_async.contrib._callback import NoPayment
from paystar_async.contrib.starlette import (
    exception_handlers,
    page_response,
    payment_of,
    payment_route,
    paystar_lifespan,
    paystar_of,
)
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment
from tests.contrib.browsing import browsing, come_back
from tests.contrib.shops import Shop


async def client_name(request: Request) -> Response:
    return PlainTextResponse(type(paystar_of(request)).__name__)


async def test_paystar_lifespan_wraps_other_lifespan() -> None:
    events: list[object] = []

    @asynccontextmanager
    async def shop_lifespan(app: Starlette) -> AsyncGenerator[dict[str, Any]]:
        events.append(app.state.paystar)
        yield {"database": "mine"}
        events.append("closed")

    client = Shop().client()
    lifespan = paystar_lifespan(client, around=shop_lifespan)
    async with lifespan(Starlette()) as state:
        assert dict(state) == {"database": "mine", "paystar": client}
        assert events == [client]
    assert events == [client, "closed"]


async def test_payment_route_without_handler_shows_result() -> None:
    shop = Shop()
    route = payment_route("/pay/callback", amount_of=shop.amount_of)
    async with browsing(Starlette(routes=[route], lifespan=paystar_lifespan(shop.client))) as browser:
        back = await come_back(browser, "GET", await shop.pay())

    assert (back.status_code, "The payment was made." in back.text) == (200, True)


async def test_paystar_lifespan_reads_environment_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Starlette(lifespan=paystar_lifespan())
    client = Paystar()
    monkeypatch.setattr(Paystar, "from_env", lambda: client)

    async with app.router.lifespan_context(app):
        assert app.state.paystar is client


def test_paystar_of_in_mounted_application() -> None:
    with warnings.catch_warnings():
        # TestClient would need another HTTP client; only its use of the lifespan matters here.
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    sub = Starlette(routes=[Route("/client-name", client_name)])
    app = Starlette(routes=[Mount("/sub", sub)], lifespan=paystar_lifespan(Shop().client))

    with TestClient(app) as browser:
        assert browser.get("/sub/client-name").text == "Paystar"  # pyright: ignore[reportUnknownMemberType]


async def test_paystar_of_without_lifespan_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app = Starlette(routes=[Route("/client-name", client_name)], exception_handlers=exception_handlers)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example") as browser:
        response = await browser.get("/client-name")

    assert (response.status_code, response.json()["detail"]) == (500, "The payment service is not set up")
    assert "paystar_lifespan" in caplog.text


async def test_callback_aborted_form_is_not_a_shop_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop()
    app = Starlette(routes=[payment_route("/back", shop.on_payment)], lifespan=paystar_lifespan(shop.client))
    received: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"status=1", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return received.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app):
        await app(
            {"type": "http", "method": "POST", "path": "/back", "query_string": b"", "headers": []}, receive, send
        )

    assert sent[0]["status"] == 400
    assert caplog.messages == ["payments: a callback is refused: not a form"]


async def test_payment_route_own_response_is_returned() -> None:
    shop = Shop()
    shop.response = PlainTextResponse("thank you")
    route = payment_route("/back", shop.on_payment, amount_of=shop.amount_of)
    async with browsing(Starlette(routes=[route], lifespan=paystar_lifespan(shop.client))) as browser:
        assert (await browser.get("/back", params=await shop.pay())).text == "thank you"


async def test_paystar_lifespan_bad_setting_is_raised() -> None:
    def nothing() -> Paystar:
        raise ConfigurationError("no gateway")

    app = Starlette(lifespan=paystar_lifespan(nothing))
    with pytest.raises(ConfigurationError, match="no gateway"):
        async with app.router.lifespan_context(app):
            pass


async def test_paystar_lifespan_handler_needs_database() -> None:
    app = Starlette(lifespan=paystar_lifespan(Shop().client, on_verified=print))
    with pytest.raises(ConfigurationError, match="database"):
        async with app.router.lifespan_context(app):
            pass


async def test_paystar_lifespan_reused_client_notifies_once(tmp_path: Path) -> None:
    shop = Shop(database=tmp_path / "orders.db")
    notified: list[str] = []

    async def hand_over(payment: Payment) -> None:
        notified.append(payment.id)

    app = Starlette(
        routes=[payment_route("/back", shop.on_payment)],
        lifespan=paystar_lifespan(shop.client(), on_verified=hand_over),
    )
    async with browsing(app):
        pass
    async with browsing(app) as browser:
        fields = await shop.pay()
        responses = await asyncio.gather(*(browser.get("/back", params=fields) for _ in range(4)))

    assert [result.status_code for result in responses] == [303] * 4
    assert notified == [f"ORD-1:{fields['ref_num']}"]


@pytest.mark.parametrize(("reader", "status"), [("body", 303), ("form", 503)])
async def test_callback_body_read_by_middleware_is_accepted(
    reader: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette replays ``body()`` to the route, and passes an empty body after ``form()``."""
    shop = Shop()
    fields = await shop.pay()
    route = payment_route("/pay/callback", shop.on_payment, amount_of=shop.amount_of)
    app = Starlette(routes=[route], lifespan=paystar_lifespan(shop.client))

    async def read(request: Request, call_next: RequestResponseEndpoint) -> Response:
        await getattr(request, reader)()
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=read)
    async with browsing(app) as browser:
        assert (await come_back(browser, "POST", fields)).status_code == status

    assert ("other code has consumed its body" in caplog.text) is (status == 503)


@pytest.mark.parametrize("is_multipart", [False, True])
@pytest.mark.parametrize(("reader", "refused"), [("body", False), ("form", False), ("stream", True)])
async def test_payment_of_body_read_before_is_accepted(reader: str, refused: bool, is_multipart: bool) -> None:
    shop = Shop()
    fields = await shop.pay()

    async def back(request: Request) -> Response:
        if reader == "stream":
            assert [chunk async for chunk in request.stream()]
        else:
            await getattr(request, reader)()
        try:
            payment = await payment_of(request, paystar_of(request), shop.amount_of)
        except NoPayment as error:
            return page_response(error.page)
        return PlainTextResponse(payment.order_id)

    route = Route("/pay/callback", back, methods=["POST"])
    async with browsing(Starlette(routes=[route], lifespan=paystar_lifespan(shop.client))) as browser:
        response = await come_back(browser, "multipart" if is_multipart else "POST", fields)

    assert (response.status_code, response.text == "ORD-1") == (503 if refused else 200, not refused)


async def test_callback_http_exception_of_handler_is_kept() -> None:
    shop = Shop()
    shop.response = HTTPException(418)
    route = payment_route("/pay/callback", shop.on_payment, amount_of=shop.amount_of)
    async with browsing(Starlette(routes=[route], lifespan=paystar_lifespan(shop.client))) as browser:
        assert (await come_back(browser, "GET", await shop.pay())).status_code == 418


def test_payment_route_handler_without_payment_is_refused() -> None:
    async def shows_thanks(request: object) -> str:
        raise AssertionError

    handler: Any = shows_thanks
    with pytest.raises(ConfigurationError, match=r"shows_thanks cannot be called .* a payment"):
        payment_route("/back", handler)


@pytest.mark.parametrize("amount_of", [50_000, "o-1", lambda: 50_000])
def test_payment_route_wrong_amount_of_is_refused(amount_of: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"amount_of .*(must be a function|cannot be called)"):
        payment_route("/back", amount_of=amount_of)


@pytest.mark.parametrize("on_payment", [5, "address", None])
def test_payment_route_without_function_is_refused(on_payment: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_payment must be a function"):
        payment_route("/back", on_payment)
