"""What FastAPI brings of its own: dependencies, in the callback too, and an OpenAPI schema."""

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse

from paystar_async import Paystar
from paystar_async.contrib.fastapi import (
    PaymentDep,
    PaystarDep,
    exception_handlers,
    payment_router,
    paystar_lifespan,
    paystar_of,
)
from paystar_async.payments import Payment
from tests.contrib.browsing import browsing, come_back
from tests.contrib.shops import Shop


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def app(shop: Shop) -> FastAPI:
    return FastAPI(lifespan=paystar_lifespan(shop.client), exception_handlers=exception_handlers)


async def basket() -> str:
    return "basket"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_on_payment_is_given_what_it_asks_for_as_any_route_is(app: FastAPI, shop: Shop, method: str) -> None:
    async def on_payment(
        request: Request,
        payment: Payment,
        paystar: PaystarDep,
        basket: Annotated[str, Depends(basket)],
        lang: str = "fa",
    ) -> str:
        assert isinstance(paystar, Paystar)
        return f"{request.url.path}/{type(payment.outcome).__name__}/{basket}/{lang}"

    app.include_router(payment_router(on_payment=on_payment, amount_of=shop.amount_of), prefix="")
    async with browsing(app) as browser:
        back = await come_back(browser, method, await shop.pays())

    assert back.headers["location"] == "/pay/callback/Verified/basket/fa"


async def test_on_payment_need_not_ask_for_anything(app: FastAPI, shop: Shop) -> None:
    async def thanks() -> PlainTextResponse:
        return PlainTextResponse("thank you")

    app.include_router(payment_router(thanks, path="/back", amount_of=shop.amount_of), prefix="/pay")
    async with browsing(app) as browser:
        assert (await browser.get("/pay/back", params=await shop.pays())).text == "thank you"


async def test_on_payment_may_be_a_plain_function_and_then_runs_in_a_thread_as_routes_do(
    app: FastAPI, shop: Shop
) -> None:
    threads: list[int] = []

    def on_payment(payment: Payment) -> str:
        threads.append(threading.get_ident())
        return "/thanks"

    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        back = await come_back(browser, "POST", await shop.pays())

    assert back.headers["location"] == "/thanks"
    assert threads != [threading.get_ident()]


async def test_on_payment_may_be_an_object_that_is_called(app: FastAPI, shop: Shop) -> None:
    class Desk:
        async def __call__(self, payment: Payment) -> str:
            return f"/{payment.order_id}"

    app.include_router(payment_router(Desk(), amount_of=shop.amount_of))
    async with browsing(app) as browser:
        assert (await come_back(browser, "GET", await shop.pays())).headers["location"] == "/ORD-1"


async def test_a_lifespan_one_has_already_is_kept(shop: Shop) -> None:
    seen: list[object] = []

    @asynccontextmanager
    async def mine(app: FastAPI) -> AsyncGenerator[None]:
        seen.append(app.state.paystar)
        yield

    client = shop.client()
    app = FastAPI(lifespan=paystar_lifespan(client, around=mine))
    async with app.router.lifespan_context(app):
        assert seen == [client]


async def test_a_test_gives_every_route_another_client_the_callbacks_too(shop: Shop) -> None:
    async def on_payment(payment: Payment) -> str:
        return f"/{type(payment.outcome).__name__}"

    app = FastAPI(lifespan=paystar_lifespan(Paystar))
    app.include_router(payment_router(on_payment=on_payment, path="/pay/callback", amount_of=shop.amount_of))
    other = shop.client()
    app.dependency_overrides[paystar_of] = lambda: other

    async with browsing(app) as browser:
        assert (await browser.get("/pay/callback", params=await shop.pays())).headers["location"] == "/Verified"


async def test_a_callback_is_no_part_of_the_schema(app: FastAPI, shop: Shop) -> None:
    async def on_payment(payment: Payment) -> str:
        raise AssertionError

    app.include_router(payment_router(on_payment=on_payment))

    assert app.openapi()["paths"] == {}


async def test_a_route_of_ones_own_takes_the_payment_and_refuses_as_an_api_does(app: FastAPI, shop: Shop) -> None:
    @app.api_route("/back", methods=["GET", "POST"])
    async def back(payment: PaymentDep) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return {"outcome": type(payment.outcome).__name__}

    async with browsing(app) as browser:
        refused = await browser.get("/back", params={"status": "1"})

    assert refused.status_code == 400
    assert refused.json() == {"detail": "This is not a return from the payment page. Nothing was changed."}


async def test_a_websocket_finds_the_client_too(app: FastAPI) -> None:
    from fastapi import WebSocket

    async with app.router.lifespan_context(app):
        socket = WebSocket({"type": "websocket", "app": app}, receive=_never, send=_never)
        assert await paystar_of(socket) is app.state.paystar


async def _never(*_: Any) -> Any:
    raise AssertionError
