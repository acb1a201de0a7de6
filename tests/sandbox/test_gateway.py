"""Payments: create, the payer's page, the callback, verify and inquiry."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from paystar_async.sandbox.payments import Choice
from tests.sandbox.merchant import Merchant, envelope

ALWAYS = {"status", "order_id", "ref_num", "transaction_id"}
WHEN_PAID = ALWAYS | {"card_number", "hashed_card_number", "tracking_code"}


async def inquire(merchant: Merchant, ref_num: str, **fields: object) -> Any:
    return await merchant.data("gateway.inquiry", ref_num=ref_num, **fields)


async def page(merchant: Merchant, token: str) -> httpx.Response:
    return await merchant.http.get("/pardakht/payment", params={"token": token})


async def press(merchant: Merchant, token: str, choice: str) -> httpx.Response:
    return await merchant.http.post("/pardakht/payment", data={"token": token, "choice": choice})


async def test_a_payment_is_created_paid_verified_and_known(merchant: Merchant) -> None:
    created = await merchant.created(order_id="ORD-1")
    assert (created["order_id"], created["payment_amount"]) == ("ORD-1", 10_000)
    ref_num = created["ref_num"]
    waiting = await inquire(merchant, ref_num)
    assert (waiting["status"], waiting["payment_date"], waiting["card_number"]) == ("INIT", None, None)

    callback = merchant.sandbox.pay(created["token"])
    assert set(callback) == WHEN_PAID
    assert all(isinstance(value, str) for value in callback.values())
    assert (callback["status"], callback["order_id"], callback["ref_num"]) == ("1", "ORD-1", ref_num)
    assert re.fullmatch(r"\d{6}\*{6}\d{4}", callback["card_number"])
    assert (await inquire(merchant, ref_num))["status"] == "UNVERIFIED"

    verified = await merchant.verify(callback)
    assert verified["data"] == {"price": 10_000.0, "ref_num": ref_num, "card_number": callback["card_number"]}
    known = await inquire(merchant, ref_num)
    assert known["status"] == "SUCCEED"
    assert known["payment_date"] == "2026-01-01 03:30:00"
    assert known["tracking_code"] == callback["tracking_code"]
    assert known["hashed_card_number"] == callback["hashed_card_number"]
    assert (await merchant.verify(callback))["status"] == -6


async def test_the_payers_fee_is_paid_and_not_signed(merchant: Merchant) -> None:
    merchant.sandbox.settings.payer_fee = 1_500
    created = await merchant.created()
    assert created["payment_amount"] == 11_500
    callback = merchant.sandbox.pay(created["token"])
    assert (await merchant.verify(callback, 11_500))["status"] == -7
    assert (await merchant.verify(callback, 10_000))["data"]["price"] == 10_000.0
    assert (await inquire(merchant, created["ref_num"]))["payment_amount"] == 11_500


async def test_verify_price_fee_is_named_on_top_of_the_amount(merchant: Merchant) -> None:
    merchant.sandbox.settings.payer_fee = merchant.sandbox.settings.price_fee = 1_500
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"])
    assert (await merchant.verify(callback, 10_000))["data"]["price"] == 11_500.0
    assert (await inquire(merchant, created["ref_num"]))["payment_amount"] == 11_500


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"amount": 4_999}, "amount"), ({"callback": "shop"}, "callback"), ({"order_id": None}, "order_id")],
)
async def test_create_refuses_what_is_wrong_by_field(merchant: Merchant, wrong: dict[str, object], field: str) -> None:
    fields = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"} | wrong
    content = await merchant.call("gateway.create", **fields)
    assert (content["status"], list(content["data"])) == (-1, [field])


@pytest.mark.parametrize("callback", ["https://shop.example/?order_id=45", "http://shop.example/back#done"])
async def test_create_takes_callback_of_other_clients(merchant: Merchant, callback: str) -> None:
    created = await merchant.created(order_id=" ORD-1 ", callback=callback)

    assert created["order_id"] == " ORD-1 "
    assert merchant.sandbox.pay(created["token"])["order_id"] == " ORD-1 "


async def test_above_the_ceiling(merchant: Merchant) -> None:
    merchant.sandbox.settings.gateway_ceiling = 9_999
    content = await merchant.call("gateway.create", amount=10_000, order_id="1", callback="https://shop.example/")
    assert content["status"] == -4


async def test_verify_is_signed_over_the_masked_card(merchant: Merchant) -> None:
    created = await merchant.created(card_number="6037990000000006")
    callback = merchant.sandbox.pay(created["token"])
    assert callback["card_number"] == "603799******0006"
    for wrong in ({"card_number": "6037990000000006"}, {"card_number": ""}, {"tracking_code": "1"}):
        content = await merchant.verify(callback | wrong)
        assert (content["status"], list(content["data"])) == (-1, ["sign"])
    assert (await inquire(merchant, created["ref_num"]))["status"] == "UNVERIFIED"
    assert (await merchant.verify(callback))["status"] == 1


async def test_a_card_number_that_is_sent_all_the_same_counts_for_nothing(merchant: Merchant) -> None:
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"])
    brought = {name: callback[name] for name in ("card_number", "tracking_code")}
    fields = {"ref_num": created["ref_num"], "amount": 10_000, "card_number": "6037990000000006"}
    forged = await merchant.send("gateway.verify", fields, unsent=brought | {"card_number": "6037990000000006"})
    assert envelope(forged)["status"] == -1
    assert envelope(await merchant.send("gateway.verify", fields, unsent=brought))["status"] == 1


async def test_another_amount_does_not_fit_and_decides_nothing(merchant: Merchant) -> None:
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"])
    assert (await merchant.verify(callback, 100_000))["status"] == -7
    assert (await merchant.verify(callback))["status"] == 1


async def test_an_unpaid_payment_cannot_be_verified_whatever_a_callback_says(merchant: Merchant) -> None:
    created = await merchant.created()
    forged = {"ref_num": created["ref_num"], "card_number": "603799******0006", "tracking_code": "1"}
    assert (await merchant.verify(forged))["status"] == -8
    assert (await merchant.verify({"ref_num": "none"}))["status"] == -5
    assert (await merchant.call("gateway.inquiry", ref_num="none"))["status"] == -5


@pytest.mark.parametrize(("seconds", "status", "state"), [(600, 1, "SUCCEED"), (600.5, -8, "REVERSED")])
async def test_there_are_ten_minutes_to_verify(merchant: Merchant, seconds: float, status: int, state: str) -> None:
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"])
    merchant.clock.advance(seconds)
    assert (await merchant.verify(callback))["status"] == status
    assert (await inquire(merchant, created["ref_num"]))["status"] == state


@pytest.mark.parametrize(
    ("choice", "status", "state"),
    [("cancel", "-98", "CANCELLED"), ("fail", "-98", "FAILED"), ("expire", "1", "REVERSED")],
)
async def test_what_the_payer_may_do_instead_of_paying(
    merchant: Merchant, choice: str, status: str, state: str
) -> None:
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"], choice)
    assert callback["status"] == status
    assert set(callback) == (WHEN_PAID if choice == "expire" else ALWAYS)
    assert (await merchant.verify(callback))["status"] == -8
    assert (await inquire(merchant, created["ref_num"]))["status"] == state


async def test_inquiry_is_checked_where_it_is_signed(merchant: Merchant) -> None:
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"])
    fields = {"ref_num": created["ref_num"], "amount": 10_000}
    brought = {name: callback[name] for name in ("card_number", "tracking_code")}
    for unsent in (brought, {}):
        assert envelope(await merchant.send("gateway.inquiry", fields, unsent=unsent))["status"] == 1
    wrong = await merchant.send("gateway.inquiry", fields, unsent=brought | {"tracking_code": "0"})
    assert envelope(wrong)["status"] == -1
    other = await merchant.send("gateway.inquiry", fields | {"amount": 20_000}, unsent=brought)
    assert envelope(other)["status"] == -7


async def test_a_page_opens_once(merchant: Merchant) -> None:
    token = (await merchant.created())["token"]
    first = await page(merchant, token)
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("text/html")
    assert re.findall(r'name="choice" value="(\w+)"', first.text) == list(Choice)
    second = await page(merchant, token)
    assert (second.status_code, "(-3)" in second.text) == (400, True)
    unknown = await page(merchant, "none")
    assert (unknown.status_code, "(-5)" in unknown.text) == (400, True)
    assert (await press(merchant, token, "pay")).status_code == 303
    assert "(-3)" in (await press(merchant, token, "pay")).text


async def test_a_page_opens_by_post_too_and_under_direct(merchant: Merchant) -> None:
    for path in ("/pardakht/payment", "/direct/payment/"):
        token = (await merchant.created())["token"]
        answer = await merchant.http.post(path, data={"token": token})
        assert answer.status_code == 200
        assert token in answer.text


async def test_the_payer_comes_back_by_get_with_the_callbacks_own_query_kept(merchant: Merchant) -> None:
    token = (await merchant.created(callback="https://shop.example/back?shop=7&x=%20", callback_method=1))["token"]
    answer = await press(merchant, token, "pay")
    assert answer.status_code == 303
    location = urlsplit(answer.headers["location"])
    fields = dict(parse_qsl(location.query))
    assert (location.netloc, location.path) == ("shop.example", "/back")
    assert (fields.pop("shop"), fields.pop("x")) == ("7", " ")
    assert set(fields) == WHEN_PAID
    assert (await merchant.verify(fields))["status"] == 1


async def test_the_payer_comes_back_by_post_where_the_merchant_asked_for_it(merchant: Merchant) -> None:
    token = (await merchant.created(callback="https://shop.example/?a=1&b=2", callback_method=2))["token"]
    answer = await press(merchant, token, "cancel")
    assert answer.status_code == 200
    (action,) = re.findall(r'<form method="post" action="([^"]*)">', answer.text)
    assert unescape(action) == "https://shop.example/?a=1&b=2"
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))
    assert set(fields) == ALWAYS
    assert fields["status"] == "-98"
    assert "<button" in answer.text


async def test_what_a_merchant_wrote_is_escaped(merchant: Merchant) -> None:
    nasty = "\"><script>alert('x')</script>"
    created = await merchant.created(
        order_id=nasty, description=nasty, callback=f"https://shop.example/{nasty}", callback_method=2
    )
    opened = await page(merchant, created["token"])
    back = await press(merchant, created["token"], "pay")
    lost = await page(merchant, nasty)
    for answer, scripts in ((opened, 0), (back, 1), (lost, 0)):
        assert nasty not in answer.text
        assert answer.text.count("<script") == scripts
    assert unescape(opened.text).count(nasty) == 2
    assert unescape(back.text).count(nasty) == 2
