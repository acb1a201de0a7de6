"""The FastAPI shop: order, payment page, callback, order status."""

import pytest

from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import browsing, come_back, paid
from tests.examples.fastapi_shop import app


@pytest.mark.parametrize(("choice", "state"), [("pay", "verified"), ("cancel", "cancelled"), ("expire", "expired")])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_payer_orders_pays_comes_back_and_sees_the_order(
    sandbox: Sandbox, choice: str, state: str, method: str
) -> None:
    async with browsing(app) as browser:
        assert "/buy" in (await browser.get("/")).text
        to_the_page = await browser.post("/buy")
        fields = paid(sandbox, to_the_page.headers["location"], choice)

        back = await come_back(browser, method, fields)

        assert (back.status_code, back.headers["location"]) == (303, f"/orders/{fields['order_id']}")
        assert f'id="state">{state}<' in (await browser.get(back.headers["location"])).text


async def test_an_order_that_nobody_made_is_not_there(sandbox: Sandbox) -> None:
    async with browsing(app) as browser:
        assert (await browser.get("/orders/none")).status_code == 404
