"""A shop of one product, in FastAPI: order, payment page, callback, order status.

``paystar sandbox -- uvicorn tests.examples.fastapi_shop:app --port 8001``
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

# In place of a database of the shop: its orders, and the order that was handed over for each payment.
orders: set[str] = set()
handed_over: dict[str, str] = {}


async def hand_over(payment: Payment) -> None:
    # Called at least once, so the work is unique by the payment's id; in a database: insert, on conflict do nothing.
    handed_over.setdefault(payment.id, payment.order_id)


app = FastAPI(lifespan=paystar_lifespan(on_verified=hand_over), exception_handlers=exception_handlers)


@app.get("/")
async def shop_page() -> HTMLResponse:
    return page(
        f'<p>یک فنجان چای · A cup of tea</p><p><bdi id="price">{PRICE:,}</bdi> Rial</p>'
        '<form method="post" action="/buy"><button id="buy">خرید · Buy</button></form>'
    )


@app.post("/buy")
async def buy(request: Request, paystar: PaystarDep) -> RedirectResponse:
    order_id = uuid.uuid4().hex  # cannot be guessed, so knowing the address of the order is permission to see it
    orders.add(order_id)
    payment = await paystar.payments.start(
        amount=PRICE,
        order_id=order_id,
        callback=str(request.url_for("paystar_callback")),
        callback_method=CALLBACK_METHOD,
    )
    redirect = RedirectResponse(payment.url, 303)
    redirect.set_cookie("session", "open", httponly=True, samesite="lax")  # stands for the session of a real shop
    return redirect


async def on_payment(payment: Payment) -> str:
    """Return where the payer goes next; store nothing, since a callback may be forged before the payment is made."""
    return f"/orders/{payment.order_id}?result={type(payment.outcome).__name__.lower()}"


app.include_router(payment_router(on_payment=on_payment, path="/pay/callback"))


@app.get("/orders/{order_id}")
async def order(request: Request, order_id: str, result: str = "waiting") -> HTMLResponse:
    if order_id not in orders:
        raise HTTPException(404)
    times = list(handed_over.values()).count(order_id)
    state = "verified" if times else "waiting" if result == "verified" else result
    return page(
        f'<p>سفارش · Order <bdi id="order">{order_id}</bdi></p><p id="state">{escape(state)}</p>'
        f'<p>تحویل · Handed over: <bdi id="handed-over">{times}</bdi></p>'
        f'<p>نشست · Session: <bdi id="session">{"open" if "session" in request.cookies else "lost"}</bdi></p>'
    )


def page(content: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="fa" dir="rtl"><head><meta charset="utf-8"><title>چایخانه</title></head>'
        f"<body><main><h1>چایخانه · Tea house</h1>{content}</main></body></html>"
    )
