"""The Starlette shop: an order is fulfilled once paid, whether or not the payer comes back."""

import pytest

from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import browsing, come_back, paid
from tests.examples.starlette_shop import app, fulfilled


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_starlette_shop_fulfils_paid_orders_only(sandbox: Sandbox, method: str) -> None:
    async with browsing(app) as browser:
        assert "/buy" in (await browser.get("/")).text
        for choice, status in (("pay", 200), ("cancel", 404)):
            to_the_page = await browser.post("/buy")
            fields = paid(sandbox, to_the_page.headers["location"], choice)
            back = await come_back(browser, method, fields)

            assert back.status_code == 303
            assert (await browser.get(back.headers["location"])).status_code == status
            assert (fields["order_id"] in fulfilled) is (choice == "pay")
