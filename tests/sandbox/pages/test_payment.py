"""The payment page, as HTML; what a browser makes of it is tested in tests/browser."""

import re
from html import unescape

import httpx
import pytest

from paystar_async.sandbox.payments import Choice
from tests.sandbox.merchant import Merchant

CARD = "6037990000000006"
OTHER_CARD = "6219861034529007"


async def opened(merchant: Merchant, token: str, **more: str) -> httpx.Response:
    return await merchant.http.get("/pardakht/payment", params={"token": token, **more})


async def press(merchant: Merchant, token: str, origin: str | None = None, **fields: str) -> httpx.Response:
    headers = {} if origin is None else {"origin": origin}
    return await merchant.http.post("/pardakht/payment", data={"token": token, **fields}, headers=headers)


def text_of(answer: httpx.Response) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.text)))


async def test_it_names_merchant_order_and_amount_in_rial_and_toman(merchant: Merchant) -> None:
    merchant.sandbox.settings.payer_fee = 12_005
    created = await merchant.created(1_500_000, "ORD-7", description="دو کتاب")
    answer = await opened(merchant, created["token"])
    assert '<html lang="fa" dir="rtl">' in answer.text
    for said in ("shop.example", "۱٬۵۱۲٬۰۰۵ ریال", "۱۵۱٬۲۰۰٫۵ تومان", "ORD-7", "دو کتاب", "۱۲٬۰۰۵", created["ref_num"]):
        assert said in text_of(answer)


async def test_it_is_english_where_english_is_asked_for(merchant: Merchant) -> None:
    answer = await opened(merchant, (await merchant.created(1_500_000))["token"], lang="en")
    assert '<html lang="en" dir="ltr">' in answer.text
    assert "1,500,000 Rial" in text_of(answer)
    assert "150,000 Toman" in text_of(answer)
    assert "Fee" not in text_of(answer)


async def test_each_choice_is_a_form_with_one_button(merchant: Merchant) -> None:
    answer = await opened(merchant, (await merchant.created())["token"])
    forms = re.findall(r"<form method=\"post\".*?</form>", answer.text, re.DOTALL)
    pressed = [re.findall(r'<button name="choice" value="(\w+)"', form) for form in forms]
    assert [names for names in pressed if names] == [[str(choice)] for choice in Choice]


async def test_the_language_is_switched_as_often_as_one_likes_until_the_payer_has_chosen(merchant: Merchant) -> None:
    token = (await merchant.created())["token"]
    await opened(merchant, token)
    for language in ("en", "fa", "en"):
        assert f'<html lang="{language}"' in (await press(merchant, token, lang=language)).text
    assert (await press(merchant, token)).status_code == 400
    assert (await press(merchant, token, choice="cancel", lang="en")).status_code == 303
    refused = await press(merchant, token, lang="en")
    assert (refused.status_code, "(-3)" in refused.text) == (400, True)


@pytest.mark.parametrize("method", [1, 2])
async def test_who_pressed_twice_is_shown_the_way_back_and_nobody_else_is(merchant: Merchant, method: int) -> None:
    token = (await merchant.created(callback_method=method))["token"]
    await press(merchant, token, choice="pay")
    again = await press(merchant, token, choice="cancel", lang="en")
    assert (again.status_code, "(-3)" in again.text) == (400, True)
    way = re.findall(r'href="(https://shop.example/back[?][^"]+)"|action="(https://shop.example/back)"', again.text)
    assert len(way) == 1
    assert 'name="status" value="1"' in again.text or "?status=1&amp;" in again.text
    for other in (await opened(merchant, token), await press(merchant, token, "https://evil.example", choice="pay")):
        assert "shop.example" not in other.text


async def test_the_card_that_is_entered_pays(merchant: Merchant) -> None:
    token = (await merchant.created())["token"]
    await opened(merchant, token)
    answer = await press(merchant, token, choice="pay", card="۶۰۳۷-۹۹۰۰ 0000 0006")
    assert httpx.URL(answer.headers["location"]).params["card_number"] == "603799******0006"


@pytest.mark.parametrize("card", ["6037990000000007", "1", "x" * 100, "<b>"])
async def test_a_card_that_is_none_is_refused_and_the_payer_may_try_again(merchant: Merchant, card: str) -> None:
    token = (await merchant.created())["token"]
    await opened(merchant, token)
    answer = await press(merchant, token, choice="pay", card=card, lang="en")
    assert answer.status_code == 422
    assert "This is no card number" in text_of(answer)
    assert 'aria-invalid="true"' in answer.text
    assert f'"{card}"' not in answer.text
    assert (await press(merchant, token, choice="pay", card=CARD)).status_code == 303


async def test_where_one_card_may_pay_no_other_does(merchant: Merchant) -> None:
    token = (await merchant.created(card_number=CARD))["token"]
    answer = await opened(merchant, token, lang="en")
    assert "603799******0006" in answer.text
    assert "Bank Melli Iran" in answer.text
    assert CARD not in answer.text
    refused = await press(merchant, token, choice="pay", card=OTHER_CARD, lang="en")
    assert (refused.status_code, "may not pay" in text_of(refused)) == (422, True)
    assert (await press(merchant, token, choice="pay", card=CARD)).status_code == 303


async def test_a_card_counts_for_nothing_where_nothing_is_paid(merchant: Merchant) -> None:
    token = (await merchant.created())["token"]
    assert (await press(merchant, token, choice="cancel", card="1")).status_code == 303


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:81", "http://localhost.evil"])
async def test_a_page_elsewhere_neither_pays_nor_looks_again(merchant: Merchant, origin: str) -> None:
    created = await merchant.created()
    assert (await press(merchant, created["token"], origin)).status_code == 200  # a shop may open it by a form
    for fields in ({"choice": "pay"}, {"choice": "cancel"}, {"lang": "en"}):
        answer = await press(merchant, created["token"], origin, **fields)
        assert answer.status_code in (400, 403)
        assert "Location" not in answer.headers
    assert (await merchant.data("gateway.inquiry", ref_num=created["ref_num"]))["status"] == "INIT"
    assert (await press(merchant, created["token"], "http://localhost", choice="pay")).status_code == 303


async def test_nothing_runs_in_it_that_is_not_ours_and_nobody_frames_it(merchant: Merchant) -> None:
    page = await opened(merchant, (await merchant.created(callback_method=2))["token"])
    token = re.findall(r'name="token" value="([^"]+)"', page.text)[0]
    back = await press(merchant, token, choice="pay")
    for answer in (page, back):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|<style", answer.text)
        assert answer.headers["cache-control"] == "no-store"
        # An own form must name its origin, and the token in the address must go to nobody.
        assert answer.headers["referrer-policy"] == "strict-origin"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "script-src 'self'" in back.headers["content-security-policy"]


async def test_what_a_page_loads_is_there(merchant: Merchant) -> None:
    answer = await opened(merchant, (await merchant.created())["token"])
    loaded = re.findall(r'(?:href|src)="(/[^"]+)"', answer.text)
    assert len(loaded) >= 3
    for path in loaded:
        asset = await merchant.http.get(f"http://localhost{path}")
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] in {"text/css", "image/svg+xml", "text/javascript"}


async def test_a_refusal_no_text_was_written_for_says_what_the_service_says(merchant: Merchant) -> None:
    unknown = await opened(merchant, "none", lang="en")
    assert "There is no such payment." in text_of(unknown)
    nameless = await merchant.http.post("/pardakht/payment", content=b"[")
    assert nameless.status_code == 400
