"""A shop of one product, in FastAPI: order, redirect to the payment page, callback, order status.

``paystar sandbox`` prints the PAYSTAR_ variables to set; then ``uvicorn tests.examples.fastapi_shop:app``.
"""

import os
import uuid
from html import escape

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from paystar_async import Toman
from paystar_async.contrib.fastapi import PaystarDep, exception_handlers, payment_router, paystar_lifespan
from paystar_async.payments import Payment

PRICE = Toman(5_000)
CALLBACK_METHOD = int(os.environ.get("SHOP_CALLBACK_METHOD", "1"))  # 1: the payer comes back by GET, 2: by POST

orders: dict[str, str] = {}

app = FastAPI(lifespan=paystar_lifespan(), exception_handlers=exception_handlers)


@app.get("/")
async def product() -> HTMLResponse:
    return page(
        f'<p>یک فنجان چای · A cup of tea</p><p><bdi id="price">{PRICE:,}</bdi> Rial</p>'
        '<form method="post" action="/buy"><button id="buy">خرید · Pay</button></form>'
    )


@app.post("/buy")
async def buy(request: Request, paystar: PaystarDep) -> RedirectResponse:
    order_id = uuid.uuid4().hex  # nobody guesses it, so whoever has the address of the order may see it
    orders[order_id] = "waiting"
    created = await paystar.gateway.create(
        amount=PRICE,
        order_id=order_id,
        callback=str(request.url_for("paystar_callback")),
        callback_method=CALLBACK_METHOD,
    )
    return RedirectResponse(paystar.gateway.payment_url(token=created.token), 303)


async def on_payment(payment: Payment) -> str:
    orders[payment.order_id] = type(payment.outcome).__name__.lower()
    return f"/orders/{payment.order_id}"


def amount_of(order_id: str) -> int | None:
    return PRICE if order_id in orders else None


app.include_router(payment_router(on_payment=on_payment, path="/pay/callback", amount_of=amount_of))


@app.get("/orders/{order_id}")
async def order(order_id: str) -> HTMLResponse:
    if order_id not in orders:
        raise HTTPException(404)
    return page(f'<p>سفارش · Order <bdi id="order">{escape(order_id)}</bdi></p><p id="state">{orders[order_id]}</p>')


def page(content: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="fa" dir="rtl"><head><meta charset="utf-8"><title>چایخانه</title></head>'
        f"<body><main><h1>چایخانه · Tea house</h1>{content}</main></body></html>"
    )
