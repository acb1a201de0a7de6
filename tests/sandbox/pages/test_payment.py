"""The payment page as HTML; tests/browser tests the page in a browser."""

import re
from html import unescape

import httpx
import pytest

from paystar_async.sandbox.payments import PayerChoice
from tests.sandbox.raw_client import RawClient, open_page, press

CARD = "6037990000000006"
OTHER_CARD = "6219861034529007"


def text_of(response: httpx.Response) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.text)))


async def test_payment_page_shows_merchant_order_and_amount(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.payer_fee = 12_005
    created = await raw_client.create_payment(1_500_000, "ORD-7", description="دو کتاب")
    response = await open_page(raw_client, created["token"])
    assert '<html lang="fa" dir="rtl">' in response.text
    for text in ("shop.example", "۱٬۵۱۲٬۰۰۵ ریال", "۱۵۱٬۲۰۰٫۵ تومان", "ORD-7", "دو کتاب", "۱۲٬۰۰۵", created["ref_num"]):
        assert text in text_of(response)


async def test_payment_page_lang_en_is_english(raw_client: RawClient) -> None:
    response = await open_page(raw_client, (await raw_client.create_payment(1_500_000))["token"], lang="en")
    assert '<html lang="en" dir="ltr">' in response.text
    assert "1,500,000 Rial" in text_of(response)
    assert "150,000 Toman" in text_of(response)
    assert "Fee" not in text_of(response)


async def test_payment_page_has_one_form_per_choice(raw_client: RawClient) -> None:
    response = await open_page(raw_client, (await raw_client.create_payment())["token"])
    forms = re.findall(r"<form method=\"post\".*?</form>", response.text, re.DOTALL)
    choices = [re.findall(r'<button name="choice" value="(\w+)"', form) for form in forms]
    assert [names for names in choices if names] == [[str(choice)] for choice in PayerChoice]


async def test_payment_page_switches_language_until_choice(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment())["token"]
    await open_page(raw_client, token)
    for language in ("en", "fa", "en"):
        assert f'<html lang="{language}"' in (await press(raw_client, token, lang=language)).text
    assert (await press(raw_client, token)).status_code == 400
    assert (await press(raw_client, token, choice="cancel", lang="en")).status_code == 303
    refused = await press(raw_client, token, lang="en")
    assert (refused.status_code, "(-3)" in refused.text) == (400, True)


@pytest.mark.parametrize("method", [1, 2])
async def test_payment_page_second_press_leads_back_to_shop(raw_client: RawClient, method: int) -> None:
    token = (await raw_client.create_payment(callback_method=method))["token"]
    await press(raw_client, token, choice="pay")
    second = await press(raw_client, token, choice="cancel", lang="en")
    assert (second.status_code, "(-3)" in second.text) == (400, True)
    links = re.findall(r'href="(https://shop.example/back[?][^"]+)"|action="(https://shop.example/back)"', second.text)
    assert len(links) == 1
    assert 'name="status" value="1"' in second.text or "?status=1&amp;" in second.text
    for other in (
        await open_page(raw_client, token),
        await press(raw_client, token, "https://evil.example", choice="pay"),
    ):
        assert "shop.example" not in other.text


async def test_payment_page_entered_card_pays(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment())["token"]
    await open_page(raw_client, token)
    response = await press(raw_client, token, choice="pay", card="۶۰۳۷-۹۹۰۰ 0000 0006")
    assert httpx.URL(response.headers["location"]).params["card_number"] == "603799******0006"


@pytest.mark.parametrize("card", ["6037990000000007", "1", "x" * 100, "<b>"])
async def test_payment_page_invalid_card_can_be_retried(raw_client: RawClient, card: str) -> None:
    token = (await raw_client.create_payment())["token"]
    await open_page(raw_client, token)
    response = await press(raw_client, token, choice="pay", card=card, lang="en")
    assert response.status_code == 422
    assert "This is not a valid card number" in text_of(response)
    assert 'aria-invalid="true"' in response.text
    assert f'"{card}"' not in response.text
    assert (await press(raw_client, token, choice="pay", card=CARD)).status_code == 303


async def test_payment_page_refuses_other_card_than_required(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment(card_number=CARD))["token"]
    response = await open_page(raw_client, token, lang="en")
    assert "603799******0006" in response.text
    assert "Bank Melli Iran" in response.text
    assert CARD not in response.text
    refused = await press(raw_client, token, choice="pay", card=OTHER_CARD, lang="en")
    assert (refused.status_code, "may not pay" in text_of(refused)) == (422, True)
    assert (await press(raw_client, token, choice="pay", card=CARD)).status_code == 303


async def test_payment_page_cancel_ignores_card(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment())["token"]
    assert (await press(raw_client, token, choice="cancel", card="1")).status_code == 303


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:81", "http://localhost.evil"])
async def test_payment_page_cross_origin_cannot_choose(raw_client: RawClient, origin: str) -> None:
    created = await raw_client.create_payment()
    assert (await press(raw_client, created["token"], origin)).status_code == 200  # a shop may open the page by a form
    for fields in ({"choice": "pay"}, {"choice": "cancel"}, {"lang": "en"}):
        response = await press(raw_client, created["token"], origin, **fields)
        assert response.status_code in (400, 403)
        assert "Location" not in response.headers
    assert (await raw_client.data("gateway.inquiry", ref_num=created["ref_num"]))["status"] == "INIT"
    assert (await press(raw_client, created["token"], "http://localhost", choice="pay")).status_code == 303


async def test_refusal_page_shows_text_or_message_of_service(raw_client: RawClient) -> None:
    unknown = await open_page(raw_client, "none", lang="en")
    assert "There is no such payment." in text_of(unknown)
    without_token = await raw_client.http.post("/pardakht/payment", content=b"[")
    assert without_token.status_code == 400
