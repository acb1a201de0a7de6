"""Rendering: escaping, the content security policy and the assets."""

import re
from html import unescape
from pathlib import Path

from paystar_async.sandbox.pages import render
from paystar_async.sandbox.pages.render import ASSETS_PATH
from tests.sandbox.raw_client import BROWSER_HEADERS, RawClient, open_page, press

ASSETS = Path(render.__file__).parent / "assets"


async def test_payment_page_escapes_merchant_texts(raw_client: RawClient) -> None:
    markup = "\"><script>alert('x')</script>"
    created = await raw_client.create_payment(
        order_id=markup, description=markup, callback=f"https://shop.example/{markup}", callback_method=2
    )
    opened = await open_page(raw_client, created["token"])
    back = await press(raw_client, created["token"], choice="pay")
    unknown = await open_page(raw_client, markup)
    for response, scripts in ((opened, 1), (back, 1), (unknown, 0)):
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
        assert "script-src 'self'" in policy
    refused = await press(raw_client, token, choice="pay")
    assert "script-src" not in refused.headers["content-security-policy"]


async def test_asset_routes_serve_every_file_of_a_page(raw_client: RawClient) -> None:
    response = await open_page(raw_client, (await raw_client.create_payment())["token"])
    paths = re.findall(r'(?:href|src)="(/[^"]+)"', response.text)
    assert len(paths) >= 3
    for path in paths:
        asset = await raw_client.http.get(f"http://localhost{path}")
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in {"text/css", "image/svg+xml", "text/javascript"}


async def test_fonts_of_styles_are_served_or_generic(raw_client: RawClient) -> None:
    """A font that a reader does not have would show another one than was looked at."""
    names: set[str] = set()
    for path in ASSETS.glob("*.css"):
        css = path.read_text("utf-8")
        families = re.findall(r"font(?:-family)?: (?:[\d./rem]+ )?([^;{}]*[a-z][^;{}]*);", css)
        names |= {name.strip() for family in families for name in family.split(",")}
        for file in re.findall(r'url\("([^"]+)"\)', css):
            font = await raw_client.http.get(f"http://localhost{ASSETS_PATH}/{file}")
            assert (font.status_code, font.headers["content-type"], font.content[:4]) == (200, "font/woff2", b"wOF2")
    assert names == {"Vazirmatn", "system-ui", "sans-serif", "ui-monospace", "monospace", "inherit"}
    assert "SIL OPEN FONT LICENSE Version 1.1" in (ASSETS / "vazirmatn-OFL.txt").read_text("utf-8")
