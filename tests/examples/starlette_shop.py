"""A shop of one product, in Starlette: ``paystar sandbox -- uvicorn tests.examples.starlette_shop:app``."""

import uuid

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from paystar_async import Toman
from paystar_async.contrib.starlette import exception_handlers, payment_route, paystar_lifespan, paystar_of
from paystar_async.payments import Payment

fulfilled: dict[str, str] = {}


async def shop_page(_: Request) -> Response:
    return HTMLResponse('<form method="post" action="/buy"><button>Tea, 5,000 Toman</button></form>')


async def buy(request: Request) -> Response:
    payment = await paystar_of(request).payments.start(
        amount=Toman(5_000), order_id=uuid.uuid4().hex, callback=str(request.url_for("paystar_callback"))
    )
    return RedirectResponse(payment.url, 303)


async def hand_over(payment: Payment) -> None:
    fulfilled[payment.order_id] = payment.id  # in a database: insert, unique by payment.id


async def on_payment(request: Request, payment: Payment) -> str:
    return str(request.url_for("order", order_id=payment.order_id))


async def order(request: Request) -> Response:
    order_id = request.path_params["order_id"]
    if order_id not in fulfilled:
        raise HTTPException(404, "not paid, or not yet")
    return PlainTextResponse("your tea is on its way")


app = Starlette(
    routes=[
        Route("/", shop_page),
        Route("/buy", buy, methods=["POST"]),
        Route("/orders/{order_id}", order, name="order"),
        payment_route("/pay/callback", on_payment),
    ],
    lifespan=paystar_lifespan(on_verified=hand_over),
    exception_handlers=exception_handlers,
)
