"""Features of FastAPI: dependencies, in the callback too, and an OpenAPI schema."""

import functools
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Form, Request
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
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment, Undecided, Verified
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
async def test_payment_router_injects_dependencies(app: FastAPI, shop: Shop, method: str) -> None:
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
        back = await come_back(browser, method, await shop.pay())

    assert back.headers["location"] == "/pay/callback/Verified/basket/fa"


async def test_payment_router_without_handler_shows_result(app: FastAPI, shop: Shop) -> None:
    app.include_router(payment_router(amount_of=shop.amount_of))
    async with browsing(app) as browser:
        back = await come_back(browser, "GET", await shop.pay())

    assert (back.status_code, "The payment was made." in back.text) == (200, True)


def _written(source: str) -> Any:
    """Return ``on_payment`` of a module's source, which may be untyped."""
    module: dict[str, Any] = {"Depends": Depends, "basket": basket}
    exec(source, module)
    return module["on_payment"]


async def _without_payment() -> str:
    raise AssertionError


async def _with_anything(**fields: Any) -> str:
    raise AssertionError


@pytest.mark.parametrize(
    "on_payment", [_written("async def on_payment(payment): ..."), _without_payment, _with_anything, 5]
)
def test_payment_router_handler_without_payment_is_refused(on_payment: Any) -> None:
    name = getattr(on_payment, "__name__", "int")
    with pytest.raises(ConfigurationError, match=f"{name} takes no payment.*payment: Payment"):
        payment_router(on_payment)


class ItemHandler:
    async def method(self, payment: Payment, item: Annotated[str, Depends(basket)]) -> str:
        return f"/{payment.order_id}/{item}"

    async def __call__(self, payment: "Payment", item: Annotated[str, Depends(basket)]) -> str:
        return f"/{payment.order_id}/{item}"


async def _function_handler(item: "Annotated[str, Depends(basket)]", payment: "Payment", prefix: str = "") -> str:
    return f"{prefix}/{payment.order_id}/{item}"


@functools.wraps(_function_handler)
async def _decorated_handler(*args: Any, **kwargs: Any) -> str:
    return await _function_handler(*args, **kwargs)


HANDLERS = [
    ItemHandler().method,
    ItemHandler(),
    _function_handler,
    functools.partial(_function_handler, prefix=""),
    _decorated_handler,
]


@pytest.mark.parametrize("on_payment", HANDLERS, ids=["method", "object", "function", "partial", "decorated"])
async def test_payment_router_evaluates_annotations(app: FastAPI, shop: Shop, on_payment: Any) -> None:
    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        back = await come_back(browser, "GET", await shop.pay())

    assert back.headers["location"] == "/ORD-1/basket"


def test_payment_router_accepts_typing_only_imports() -> None:
    on_payment = _written("async def on_payment(payment: 'Payment', item: 'Missing' = Depends(basket)): ...")

    assert payment_router(on_payment).routes


@pytest.mark.parametrize(("choice", "status"), [("pay", 303), ("cancel", 200)])
async def test_payment_router_calls_for_named_outcomes_only(app: FastAPI, shop: Shop, choice: str, status: int) -> None:
    async def on_payment(outcome: Verified | Undecided) -> str:
        assert isinstance(outcome, Verified)
        return "/thanks"

    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        assert (await come_back(browser, "POST", await shop.pay(choice))).status_code == status


async def _form_of(request: Request) -> object:
    return await request.form()


async def _by_form(payment: Payment, ref_num: Annotated[str, Form()]) -> str:
    return f"/{ref_num}"


async def _by_request(payment: Payment, request: Request) -> str:
    return f"/{(await request.form())['ref_num']}"


async def _by_dependency(form: Annotated[Any, Depends(_form_of)], payment: Payment) -> str:
    return f"/{form['ref_num']}"


@pytest.mark.parametrize("on_payment", [_by_form, _by_request, _by_dependency])
async def test_callback_handler_may_read_form(app: FastAPI, shop: Shop, on_payment: Any) -> None:
    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    fields = await shop.pay()
    async with browsing(app) as browser:
        back = await come_back(browser, "POST", fields)

    assert back.headers.get("location") == f"/{fields['ref_num']}"


async def test_callback_invalid_parameter_is_503(app: FastAPI, shop: Shop) -> None:
    async def on_payment(payment: Payment, tracking_code: Annotated[str, Form()]) -> str:
        raise AssertionError

    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        back = await come_back(browser, "GET", await shop.pay())

    assert (back.status_code, back.headers["content-type"]) == (503, "text/html; charset=utf-8")


async def test_callback_failing_handler_rolls_back_dependencies(app: FastAPI, shop: Shop) -> None:
    transaction_ends: list[str] = []

    async def session() -> AsyncGenerator[str]:
        try:
            yield "session"
        except RuntimeError:
            transaction_ends.append("rollback")
            raise
        transaction_ends.append("commit")

    async def on_payment(payment: Payment, session: Annotated[str, Depends(session)]) -> str:
        raise RuntimeError

    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        assert (await come_back(browser, "GET", await shop.pay())).status_code == 503

    assert transaction_ends == ["rollback"]


async def test_callback_exception_handler_of_shop_is_kept(app: FastAPI, shop: Shop) -> None:
    @app.exception_handler(LookupError)
    async def response(request: Request, error: LookupError) -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        return PlainTextResponse("shop", 418)

    async def on_payment(payment: Payment) -> str:
        raise KeyError

    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        assert (await come_back(browser, "GET", await shop.pay())).text == "shop"


async def test_payment_router_plain_function_runs_in_thread(app: FastAPI, shop: Shop) -> None:
    threads: list[int] = []

    def on_payment(payment: Payment) -> str:
        threads.append(threading.get_ident())
        return "/thanks"

    app.include_router(payment_router(on_payment, amount_of=shop.amount_of))
    async with browsing(app) as browser:
        back = await come_back(browser, "POST", await shop.pay())

    assert back.headers["location"] == "/thanks"
    assert threads != [threading.get_ident()]


async def test_payment_router_accepts_callable_object(app: FastAPI, shop: Shop) -> None:
    class PaymentHandler:
        async def __call__(self, payment: Payment) -> str:
            return f"/{payment.order_id}"

    app.include_router(payment_router(PaymentHandler(), amount_of=shop.amount_of))
    async with browsing(app) as browser:
        assert (await come_back(browser, "GET", await shop.pay())).headers["location"] == "/ORD-1"


async def test_paystar_lifespan_wraps_other_lifespan(shop: Shop) -> None:
    clients: list[object] = []

    @asynccontextmanager
    async def shop_lifespan(app: FastAPI) -> AsyncGenerator[None]:
        clients.append(app.state.paystar)
        yield

    client = shop.client()
    app = FastAPI(lifespan=paystar_lifespan(client, around=shop_lifespan))
    async with app.router.lifespan_context(app):
        assert clients == [client]


async def test_paystar_of_override_replaces_every_client(shop: Shop) -> None:
    async def on_payment(payment: Payment) -> str:
        return f"/{type(payment.outcome).__name__}"

    app = FastAPI(lifespan=paystar_lifespan(Paystar))
    app.include_router(payment_router(on_payment=on_payment, path="/pay/callback", amount_of=shop.amount_of))
    other = shop.client()
    app.dependency_overrides[paystar_of] = lambda: other

    async with browsing(app) as browser:
        assert (await browser.get("/pay/callback", params=await shop.pay())).headers["location"] == "/Verified"


async def test_payment_router_is_not_in_schema(app: FastAPI, shop: Shop) -> None:
    async def on_payment(payment: Payment) -> str:
        raise AssertionError

    app.include_router(payment_router(on_payment=on_payment))

    assert app.openapi()["paths"] == {}


async def test_payment_dep_in_own_route(app: FastAPI, shop: Shop) -> None:
    @app.api_route("/back", methods=["GET", "POST"])
    async def back(payment: PaymentDep) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        return {"outcome": type(payment.outcome).__name__}

    async with browsing(app) as browser:
        refused = await browser.get("/back", params={"status": "1"})

    assert refused.status_code == 400
    assert refused.json() == {"detail": "This is not a return from the payment page. Nothing was changed."}


async def test_paystar_dep_in_websocket(app: FastAPI) -> None:
    from fastapi import WebSocket

    async with app.router.lifespan_context(app):
        socket = WebSocket({"type": "websocket", "app": app}, receive=_never, send=_never)
        assert await paystar_of(socket) is app.state.paystar


async def _never(*_: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize("amount_of", [50_000, "o-1", lambda: 50_000])
def test_payment_router_wrong_amount_of_is_refused(amount_of: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"amount_of .*(must be a function|cannot be called)"):
        payment_router(amount_of=amount_of)
