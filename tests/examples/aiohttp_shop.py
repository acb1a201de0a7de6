"""A shop of one product, in aiohttp: ``paystar sandbox -- python -m tests.examples.aiohttp_shop``."""

import uuid

from aiohttp import web

from paystar_async import Toman
from paystar_async.contrib.aiohttp import PAYSTAR, payment_routes, paystar_ctx, paystar_errors
from paystar_async.payments import Payment

FULFILLED: web.AppKey[dict[str, str]] = web.AppKey("fulfilled", dict)


async def shop_page(_: web.Request) -> web.Response:
    form = '<form method="post" action="/buy"><button>Tea, 5,000 Toman</button></form>'
    return web.Response(text=form, content_type="text/html")


async def buy(request: web.Request) -> web.Response:
    back = request.url.join(request.app.router["paystar_callback"].url_for())
    payment = await request.config_dict[PAYSTAR].payments.start(
        amount=Toman(5_000), order_id=uuid.uuid4().hex, callback=str(back)
    )
    raise web.HTTPSeeOther(payment.url)


async def on_payment(request: web.Request, payment: Payment) -> str:
    return str(request.app.router["order"].url_for(order_id=payment.order_id))


async def order(request: web.Request) -> web.Response:
    if request.match_info["order_id"] not in request.app[FULFILLED]:
        raise web.HTTPNotFound(text="not paid, or not yet")
    return web.Response(text="your tea is on its way")


def make_app() -> web.Application:
    app = web.Application(middlewares=[paystar_errors])
    fulfilled = app[FULFILLED] = {}

    async def hand_over(payment: Payment) -> None:
        fulfilled[payment.order_id] = payment.id  # in a database: insert, unique by payment.id

    app.cleanup_ctx.append(paystar_ctx(on_verified=hand_over))
    app.add_routes([web.get("/", shop_page), web.post("/buy", buy)])
    app.add_routes([web.get("/orders/{order_id}", order, name="order")])
    app.add_routes(payment_routes("/pay/callback", on_payment))
    return app


if __name__ == "__main__":
    web.run_app(make_app())
