"""The aiohttp shop: order, payment page, callback, order status."""

import pytest
from aiohttp.test_utils import TestClient, TestServer

from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import paid
from tests.examples.aiohttp_shop import FULFILLED, make_app


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_aiohttp_shop_fulfils_paid_orders_only(sandbox: Sandbox, method: str) -> None:
    app = make_app()
    async with TestClient(TestServer(app)) as browser:
        assert "/buy" in await (await browser.get("/")).text()
        for choice, status in (("pay", 200), ("cancel", 404)):
            to_the_page = await browser.post("/buy", allow_redirects=False)
            fields = paid(sandbox, to_the_page.headers["location"], choice)
            arguments = {"params": fields} if method == "GET" else {"data": fields}
            back = await browser.request(method, "/pay/callback", allow_redirects=False, **arguments)  # type: ignore[arg-type]

            assert back.status == 303
            assert (await browser.get(back.headers["location"])).status == status
            assert (fields["order_id"] in app[FULFILLED]) is (choice == "pay")
