"""The payment page as HTML; tests/browser tests the page in a browser."""

import re
from html import unescape

import httpx
import pytest

from paystar_async.sandbox.pages.payment import MAX_CARD_CHARACTERS, group_digits
from paystar_async.sandbox.payments import PayerChoice
from paystar_async.values.masking import mask_card
from tests.sandbox.raw_client import RawClient, open_page, press

CARD = "6037990000000006"
OTHER_CARD = "6219861034529007"


def text_of(response: httpx.Response) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", response.text)))


async def test_payment_page_shows_merchant_order_and_amount(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.payer_fee = 12_005
    created = await raw_client.create_payment(1_500_000, "ORD-7", description="دو کتاب")
    response = await open_page(raw_client, created["token"], lang="fa")
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
    assert choices == [[str(choice)] for choice in PayerChoice]


async def test_payment_page_enter_pays_and_language_switch_sends_card(raw_client: RawClient) -> None:
    """Enter presses the first button of the form, whatever its place on the page."""
    response = await open_page(raw_client, (await raw_client.create_payment())["token"])
    submits = re.findall(r'<(?:button|input type="submit") form="pay" name="(\w+)" value="(\w+)"', response.text)
    assert submits == [("choice", "pay"), ("show", "fa")]


@pytest.mark.parametrize(
    ("header", "language"), [("fa-IR,en;q=0.1", "fa"), ("de,fa;q=0.2,en;q=0.1", "fa"), ("de", "en")]
)
async def test_payment_page_language_follows_browser_until_switched(
    raw_client: RawClient, header: str, language: str
) -> None:
    token = (await raw_client.create_payment())["token"]
    raw_client.http.headers["accept-language"] = header
    assert f'<html lang="{language}"' in (await open_page(raw_client, token)).text
    other = {"fa": "en", "en": "fa"}[language]
    switched = await press(raw_client, token, lang=language, show=other)
    assert f'<html lang="{other}"' in switched.text
    assert f'<html lang="{other}"' in (await press(raw_client, token, choice="pay", card="1", lang=other)).text


async def test_payment_page_language_switch_keeps_typed_card(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment())["token"]
    await open_page(raw_client, token)
    response = await press(raw_client, token, lang="en", show="fa", card="۶۰۳۷ ۹۹\u202e\x00")
    assert 'value="۶۰۳۷ ۹۹"' in response.text
    other_site = await press(
        raw_client, (await raw_client.create_payment())["token"], "https://evil.example", card=CARD, lang="en"
    )
    assert CARD not in other_site.text


async def test_payment_page_fills_test_card_that_pays(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment())["token"]
    await open_page(raw_client, token)
    response = await press(raw_client, token, lang="en", fill="card", card="1")
    card = re.findall(r'id="card" [^>]*value="([^"]*)"', response.text, re.DOTALL)[0]
    assert card.replace(" ", "") == raw_client.sandbox.people[0].card
    assert "autofocus" in response.text
    paid = await press(raw_client, token, choice="pay", card=card)
    assert httpx.URL(paid.headers["location"]).params["card_number"] == mask_card(card)


async def test_payment_page_fills_required_card_of_sandbox_only(raw_client: RawClient) -> None:
    own_card = raw_client.sandbox.people[2].card
    token = (await raw_client.create_payment(card_number=own_card))["token"]
    assert 'name="fill"' in (await open_page(raw_client, token)).text
    filled = await press(raw_client, token, lang="en", fill="card")
    assert f'value="{group_digits(own_card)}"' in filled.text
    other = (await raw_client.create_payment(card_number=CARD))["token"]
    assert 'name="fill"' not in (await open_page(raw_client, other)).text
    forced = await press(raw_client, other, lang="en", fill="card")
    assert 'value=""' in forced.text
    assert CARD not in forced.text.replace(" ", "")


async def test_payment_page_counts_down_then_cancels(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.page_seconds = 600
    created = await raw_client.create_payment()
    raw_client.clock.advance(3_600)  # the time runs while the page is open
    opened = await open_page(raw_client, created["token"], lang="fa")
    assert 'data-seconds="600.0">۱۰:۰۰<' in opened.text
    raw_client.clock.advance(599)
    assert "00:01" in (await press(raw_client, created["token"], lang="en")).text
    raw_client.clock.advance(1)
    late = await press(raw_client, created["token"], choice="pay", card=CARD, lang="en")
    assert late.status_code == 410
    assert "The time to pay is over" in text_of(late)
    (link,) = re.findall(r'href="(https://shop.example/back[?][^"]+)"', late.text)
    assert httpx.URL(unescape(link)).params["status"] == "-98"
    assert (await raw_client.data("gateway.inquiry", ref_num=created["ref_num"]))["status"] == "CANCELLED"


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
    assert f'value="{card[:MAX_CARD_CHARACTERS]}"' in unescape(response.text)
    assert "<b>" not in response.text
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
    for fields in ({"choice": "pay"}, {"choice": "cancel"}, {"lang": "en"}, {"lang": "en", "show": "fa", "fill": "1"}):
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
