"""Payments: create, the payment page, the callback, verify and inquiry."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from paystar_async.sandbox.payments import PayerChoice
from tests.sandbox.raw_client import RawClient, envelope, open_page, press

COMMON_FIELDS = {"status", "order_id", "ref_num", "transaction_id"}
PAID_FIELDS = COMMON_FIELDS | {"card_number", "hashed_card_number", "tracking_code"}


async def inquire(raw_client: RawClient, ref_num: str, **fields: object) -> Any:
    return await raw_client.data("gateway.inquiry", ref_num=ref_num, **fields)


async def test_payment_created_paid_and_verified(raw_client: RawClient) -> None:
    created = await raw_client.create_payment(order_id="ORD-1")
    assert (created["order_id"], created["payment_amount"]) == ("ORD-1", 10_000)
    ref_num = created["ref_num"]
    waiting = await inquire(raw_client, ref_num)
    assert (waiting["status"], waiting["payment_date"], waiting["card_number"]) == ("INIT", None, None)

    callback = raw_client.sandbox.pay(created["token"])
    assert set(callback) == PAID_FIELDS
    assert all(isinstance(value, str) for value in callback.values())
    assert (callback["status"], callback["order_id"], callback["ref_num"]) == ("1", "ORD-1", ref_num)
    assert re.fullmatch(r"\d{6}\*{6}\d{4}", callback["card_number"])
    assert (await inquire(raw_client, ref_num))["status"] == "UNVERIFIED"

    verified = await raw_client.verify(callback)
    assert verified["data"] == {"price": 10_000.0, "ref_num": ref_num, "card_number": callback["card_number"]}
    transaction = await inquire(raw_client, ref_num)
    assert transaction["status"] == "SUCCEED"
    assert transaction["payment_date"] == "2026-01-01 03:30:00"
    assert transaction["tracking_code"] == callback["tracking_code"]
    assert transaction["hashed_card_number"] == callback["hashed_card_number"]
    assert (await raw_client.verify(callback))["status"] == -6


async def test_payer_fee_is_in_payment_amount_but_not_verified(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.payer_fee = 1_500
    created = await raw_client.create_payment()
    assert created["payment_amount"] == 11_500
    callback = raw_client.sandbox.pay(created["token"])
    assert (await raw_client.verify(callback, 11_500))["status"] == -7
    assert (await raw_client.verify(callback, 10_000))["data"]["price"] == 10_000.0
    assert (await inquire(raw_client, created["ref_num"]))["payment_amount"] == 11_500


async def test_verify_price_fee_is_added_to_price(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.payer_fee = raw_client.sandbox.settings.price_fee = 1_500
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    assert (await raw_client.verify(callback, 10_000))["data"]["price"] == 11_500.0
    assert (await inquire(raw_client, created["ref_num"]))["payment_amount"] == 11_500


@pytest.mark.parametrize(
    ("invalid", "field"),
    [({"amount": 4_999}, "amount"), ({"callback": "shop"}, "callback"), ({"order_id": None}, "order_id")],
)
async def test_create_invalid_field_is_refused_by_name(
    raw_client: RawClient, invalid: dict[str, object], field: str
) -> None:
    fields = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"} | invalid
    content = await raw_client.call("gateway.create", **fields)
    assert (content["status"], list(content["data"])) == (-1, [field])


async def test_create_above_ceiling_is_refused(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.gateway_ceiling = 9_999
    content = await raw_client.call("gateway.create", amount=10_000, order_id="1", callback="https://shop.example/")
    assert content["status"] == -4


async def test_verify_signature_covers_masked_card(raw_client: RawClient) -> None:
    created = await raw_client.create_payment(card_number="6037990000000006")
    callback = raw_client.sandbox.pay(created["token"])
    assert callback["card_number"] == "603799******0006"
    for changes in ({"card_number": "6037990000000006"}, {"card_number": ""}, {"tracking_code": "1"}):
        content = await raw_client.verify(callback | changes)
        assert (content["status"], list(content["data"])) == (-1, ["sign"])
    assert (await inquire(raw_client, created["ref_num"]))["status"] == "UNVERIFIED"
    assert (await raw_client.verify(callback))["status"] == 1


async def test_verify_ignores_card_number_in_body(raw_client: RawClient) -> None:
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    callback_values = {name: callback[name] for name in ("card_number", "tracking_code")}
    fields = {"ref_num": created["ref_num"], "amount": 10_000, "card_number": "6037990000000006"}
    forged = await raw_client.send(
        "gateway.verify", fields, unsent=callback_values | {"card_number": "6037990000000006"}
    )
    assert envelope(forged)["status"] == -1
    assert envelope(await raw_client.send("gateway.verify", fields, unsent=callback_values))["status"] == 1


async def test_verify_wrong_amount_is_refused_and_can_be_retried(raw_client: RawClient) -> None:
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    assert (await raw_client.verify(callback, 100_000))["status"] == -7
    assert (await raw_client.verify(callback))["status"] == 1


async def test_verify_unpaid_payment_with_forged_callback_is_refused(raw_client: RawClient) -> None:
    created = await raw_client.create_payment()
    forged = {"ref_num": created["ref_num"], "card_number": "603799******0006", "tracking_code": "1"}
    assert (await raw_client.verify(forged))["status"] == -8
    assert (await raw_client.verify({"ref_num": "none"}))["status"] == -5
    assert (await raw_client.call("gateway.inquiry", ref_num="none"))["status"] == -5


@pytest.mark.parametrize(("seconds", "status", "state"), [(600, 1, "SUCCEED"), (600.5, -8, "REVERSED")])
async def test_verify_after_ten_minutes_is_refused(
    raw_client: RawClient, seconds: float, status: int, state: str
) -> None:
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    raw_client.clock.advance(seconds)
    assert (await raw_client.verify(callback))["status"] == status
    assert (await inquire(raw_client, created["ref_num"]))["status"] == state


@pytest.mark.parametrize(
    ("choice", "status", "state"),
    [("cancel", "-98", "CANCELLED"), ("fail", "-98", "FAILED"), ("expire", "1", "REVERSED")],
)
async def test_payer_choice_other_than_pay_sets_status(
    raw_client: RawClient, choice: str, status: str, state: str
) -> None:
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"], choice)
    assert callback["status"] == status
    assert set(callback) == (PAID_FIELDS if choice == "expire" else COMMON_FIELDS)
    assert (await raw_client.verify(callback))["status"] == -8
    assert (await inquire(raw_client, created["ref_num"]))["status"] == state


async def test_inquiry_with_signature_checks_it(raw_client: RawClient) -> None:
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    fields = {"ref_num": created["ref_num"], "amount": 10_000}
    callback_values = {name: callback[name] for name in ("card_number", "tracking_code")}
    for unsent in (callback_values, {}):
        assert envelope(await raw_client.send("gateway.inquiry", fields, unsent=unsent))["status"] == 1
    invalid = await raw_client.send("gateway.inquiry", fields, unsent=callback_values | {"tracking_code": "0"})
    assert envelope(invalid)["status"] == -1
    other = await raw_client.send("gateway.inquiry", fields | {"amount": 20_000}, unsent=callback_values)
    assert envelope(other)["status"] == -7


async def test_payment_page_opens_once(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment())["token"]
    first = await open_page(raw_client, token)
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("text/html")
    assert re.findall(r'<button name="choice" value="(\w+)"', first.text) == list(PayerChoice)
    second = await open_page(raw_client, token)
    assert (second.status_code, "(-3)" in second.text) == (400, True)
    unknown = await open_page(raw_client, "none")
    assert (unknown.status_code, "(-5)" in unknown.text) == (400, True)
    assert (await press(raw_client, token, choice="pay")).status_code == 303
    assert "(-3)" in (await press(raw_client, token, choice="pay")).text


async def test_payment_page_opens_by_post_and_under_direct(raw_client: RawClient) -> None:
    for path in ("/pardakht/payment", "/direct/payment/"):
        token = (await raw_client.create_payment())["token"]
        response = await raw_client.http.post(path, data={"token": token})
        assert response.status_code == 200
        assert token in response.text


async def test_callback_by_get_keeps_query_of_callback_url(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment(callback="https://shop.example/back?shop=7&x=%20", callback_method=1))[
        "token"
    ]
    response = await press(raw_client, token, choice="pay")
    assert response.status_code == 303
    location = urlsplit(response.headers["location"])
    fields = dict(parse_qsl(location.query))
    assert (location.netloc, location.path) == ("shop.example", "/back")
    assert (fields.pop("shop"), fields.pop("x")) == ("7", " ")
    assert set(fields) == PAID_FIELDS
    assert (await raw_client.verify(fields))["status"] == 1


async def test_callback_by_post_is_a_form_with_fields(raw_client: RawClient) -> None:
    token = (await raw_client.create_payment(callback="https://shop.example/?a=1&b=2", callback_method=2))["token"]
    response = await press(raw_client, token, choice="cancel")
    assert response.status_code == 200
    (action,) = re.findall(r'<form method="post" action="([^"]*)">', response.text)
    assert unescape(action) == "https://shop.example/?a=1&b=2"
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', response.text))
    assert set(fields) == COMMON_FIELDS
    assert fields["status"] == "-98"
    assert "<button" in response.text
