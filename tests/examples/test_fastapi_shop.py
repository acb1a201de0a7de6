"""The FastAPI shop: order, payment page, callback, order status."""

import os

import httpx
import pytest
from starlette.testclient import TestClient

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.clock import SandboxClock
from tests.contrib.browsing import browsing, come_back, paid
from tests.examples.fastapi_shop import app, handed_over


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


def test_fastapi_shop_in_test_client_fulfils_once(paystar_env: Sandbox) -> None:
    """The application and its client run in the event loop of another thread."""
    with TestClient(app, base_url="https://shop.example", follow_redirects=False) as browser:
        page = browser.post("/buy").headers["location"]
        assert page.startswith(os.environ["PAYSTAR_BASE_URL"])
        assert httpx.get(page).status_code == 200
        fields = paystar_env.pay(page)
        addresses = [browser.post("/pay/callback", data=fields).headers["location"] for _ in range(2)]
        assert 'id="handed-over">1<' in browser.get(addresses[0]).text
    assert addresses[0] == addresses[1]
    assert addresses[0].endswith("?result=verified")
    assert paystar_env.stats["requests"]["gateway.verify"] == 1


def test_fastapi_shop_sweeper_follows_clock_of_test(paystar_env: Sandbox, paystar_clock: SandboxClock) -> None:
    """The payer never comes back: the sweeper of the application verifies the payment and fulfils the order."""
    already = set(handed_over)
    with TestClient(app, base_url="https://shop.example", follow_redirects=False) as browser:
        order_id = paystar_env.pay(browser.post("/buy").headers["location"])["order_id"]
        paystar_clock.advance(150)
        for _ in range(10_000):  # the sweeper runs beside these requests
            if order_id in handed_over.values():
                break
            browser.get("/")
    assert [handed_over[payment] for payment in set(handed_over) - already] == [order_id]
