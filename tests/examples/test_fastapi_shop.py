"""The FastAPI shop: order, payment page, callback, order status."""

import pytest

from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import browsing, come_back, paid
from tests.examples.fastapi_shop import app


@pytest.mark.parametrize(("choice", "state"), [("pay", "verified"), ("cancel", "cancelled"), ("expire", "expired")])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_fastapi_shop_payer_pays_and_sees_order(sandbox: Sandbox, choice: str, state: str, method: str) -> None:
    async with browsing(app) as browser:
        assert "/buy" in (await browser.get("/")).text
        to_the_page = await browser.post("/buy")
        fields = paid(sandbox, to_the_page.headers["location"], choice)

        back = await come_back(browser, method, fields)

        assert back.status_code == 303
        order = (await browser.get(back.headers["location"])).text
        assert f'id="state">{state}<' in order
        assert f'id="handed-over">{int(state == "verified")}<' in order
        assert 'id="session">open<' in order


async def test_fastapi_shop_repeated_callback_fulfils_once(
    sandbox: Sandbox,
) -> None:
    async with browsing(app) as browser:
        fields = paid(sandbox, (await browser.post("/buy")).headers["location"])
        for callback in (fields, fields, fields | {"status": "-98"}):
            assert (await come_back(browser, "POST", callback)).status_code == 303

        order = (await browser.get(f"/orders/{fields['order_id']}?result=declined")).text
        assert 'id="state">verified<' in order
        assert 'id="handed-over">1<' in order


async def test_fastapi_shop_query_cannot_claim_verified(sandbox: Sandbox) -> None:
    async with browsing(app) as browser:
        page = (await browser.post("/buy")).headers["location"]
        order_id = paid(sandbox, page, "cancel")["order_id"]

        assert 'id="state">waiting<' in (await browser.get(f"/orders/{order_id}?result=verified")).text
        assert "<script" not in (await browser.get(f"/orders/{order_id}?result=<script>")).text


async def test_fastapi_shop_without_cookies_redirects(sandbox: Sandbox) -> None:
    async with browsing(app) as browser:
        to_the_page = await browser.post("/buy")
        assert "samesite=lax" in to_the_page.headers["set-cookie"].lower()
        browser.cookies.clear()
        back = await come_back(browser, "POST", paid(sandbox, to_the_page.headers["location"]))

        assert back.status_code == 303
        assert back.headers["location"].endswith("?result=verified")


async def test_fastapi_shop_unknown_order_is_404(sandbox: Sandbox) -> None:
    async with browsing(app) as browser:
        assert (await browser.get("/orders/none")).status_code == 404
