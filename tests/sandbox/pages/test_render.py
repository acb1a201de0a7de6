"""Rendering: escaping, the content security policy and the assets."""

import re
from html import unescape

from tests.sandbox.raw_client import BROWSER_HEADERS, RawClient, open_page, press


async def test_payment_page_escapes_merchant_texts(raw_client: RawClient) -> None:
    markup = "\"><script>alert('x')</script>"
    created = await raw_client.create_payment(
        order_id=markup, description=markup, callback=f"https://shop.example/{markup}", callback_method=2
    )
    opened = await open_page(raw_client, created["token"])
    back = await press(raw_client, created["token"], choice="pay")
    unknown = await open_page(raw_client, markup)
    for response, scripts in ((opened, 0), (back, 1), (unknown, 0)):
        assert markup not in response.text
        assert response.text.count("<script") == scripts
    assert unescape(opened.text).count(markup) == 2
    assert unescape(back.text).count(markup) == 2


async def test_dashboard_runs_no_inline_script(raw_client: RawClient) -> None:
    response = await raw_client.http.get("http://localhost/_sandbox/", headers=BROWSER_HEADERS)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|<style|https?://", response.text)


async def test_payment_page_runs_no_inline_script_and_no_frame(raw_client: RawClient) -> None:
    page = await open_page(raw_client, (await raw_client.create_payment(callback_method=2))["token"])
    token = re.findall(r'name="token" value="([^"]+)"', page.text)[0]
    back = await press(raw_client, token, choice="pay")
    for response in (page, back):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|<style", response.text)
        assert response.headers["cache-control"] == "no-store"
        # The page's own form must send its origin, and no other site may see the token in the URL.
        assert response.headers["referrer-policy"] == "strict-origin"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "script-src 'self'" in back.headers["content-security-policy"]


async def test_asset_routes_serve_every_file_of_a_page(raw_client: RawClient) -> None:
    response = await open_page(raw_client, (await raw_client.create_payment())["token"])
    paths = re.findall(r'(?:href|src)="(/[^"]+)"', response.text)
    assert len(paths) >= 3
    for path in paths:
        asset = await raw_client.http.get(f"http://localhost{path}")
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in {"text/css", "image/svg+xml", "text/javascript"}
