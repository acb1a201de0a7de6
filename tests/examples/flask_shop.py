"""A shop of one product, in Flask: order, payment page, callback, order status.

``paystar sandbox`` prints the variables to set, PAYSTAR_DATABASE names a file for the orders; then
``gunicorn tests.examples.flask_shop:app``.
"""

import os
import uuid
from pathlib import Path

from flask import Flask, abort, redirect, request, url_for
from werkzeug.wrappers import Response

from paystar_async import Callback, Toman
from paystar_async.blocking import BlockingPaystar
from paystar_async.errors import InvalidValue, PaystarError
from paystar_async.payments import Payment, Undecided

PRICE = Toman(5_000)
CALLBACK_METHOD = int(os.environ.get("SHOP_CALLBACK_METHOD", "1"))  # 1: the payer comes back by GET, 2: by POST
DELIVERIES = Path(os.environ.get("SHOP_DELIVERIES", "deliveries"))
"""In place of a database of the shop: a file for each payment that was delivered."""

app = Flask(__name__)
paystar = BlockingPaystar.from_env()


@paystar.payments.on_verified
def deliver(payment: Payment) -> None:
    # Called at least once, so the work is unique by the payment's id; in a database: insert, on conflict do nothing.
    DELIVERIES.mkdir(exist_ok=True)
    (DELIVERIES / f"{payment.order_id}.{payment.ref_num}").touch()


@app.get("/")
def home() -> str:
    return '<form method="post" action="/buy"><button>خرید · Buy</button></form>'


@app.post("/buy")
def buy() -> Response:
    payment = paystar.payments.start(
        amount=PRICE,
        order_id=uuid.uuid4().hex,
        callback=url_for("pay_callback", _external=True),
        callback_method=CALLBACK_METHOD,
    )
    return redirect(payment.url, 303)


@app.route("/pay/callback", methods=["GET", "POST"])
def pay_callback() -> Response:
    request.max_content_length = 16 * 1024  # anyone can send a callback
    try:
        callback = Callback.parse((request.form or request.args).to_dict(flat=False))
        payment = paystar.payments.confirm(callback)
    except InvalidValue:
        abort(400)  # not a callback, or an unknown order
    except PaystarError:
        app.logger.exception("a callback cannot be decided now")
        abort(503)  # the payer may open the page again
    if isinstance(payment.outcome, Undecided):
        abort(503)
    return redirect(url_for("order", order_id=payment.order_id), 303)


@app.get("/orders/<order_id>")
def order(order_id: str) -> str:
    stored = paystar.payments.find(order_id=order_id)
    if stored is None:
        abort(404)
    return f"{stored.state}, delivered {len(list(DELIVERIES.glob(f'{order_id}.*')))}"


if os.environ.get("SHOP_CALL_BEFORE_FORK"):
    paystar.wallet.balance()  # under gunicorn --preload: the event loop runs before the workers are forked
