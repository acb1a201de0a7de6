"""Request forms of other clients: forms, digits as text, missing names, any callback URL."""

from urllib.parse import urlencode

import pytest

from tests.sandbox.raw_client import CREATE_FIELDS, FORM_TYPE, RawClient, envelope, post_create, sign_create


@pytest.mark.parametrize("callback", ["https://shop.example/?order_id=45", "http://shop.example/back#done"])
async def test_create_accepts_callback_of_other_clients(raw_client: RawClient, callback: str) -> None:
    created = await raw_client.create_payment(order_id=" ORD-1 ", callback=callback)

    assert created["order_id"] == " ORD-1 "
    assert raw_client.sandbox.pay(created["token"])["order_id"] == " ORD-1 "


async def test_form_amount_as_digits_is_accepted(raw_client: RawClient) -> None:
    response = await raw_client.send(
        "gateway.create", CREATE_FIELDS | {"amount": "10000", "callback_method": "1"}, form=True
    )
    token = envelope(response)["data"]["token"]
    callback = raw_client.sandbox.pay(token)
    unsent = {name: callback[name] for name in ("card_number", "tracking_code")}
    fields = {"ref_num": callback["ref_num"], "amount": "10000"}
    verified = await raw_client.send("gateway.verify", fields, unsent=unsent, form=True, path="/direct/verify/")
    assert envelope(verified)["data"]["price"] == 10_000.0


@pytest.mark.parametrize("amount", ["10000", "10000.0", '"10000"', '"10000.0"', '"10000.00"', "1e4"])
@pytest.mark.parametrize("order_id", ["1", '"1"'])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
async def test_create_accepts_amount_and_order_id_of_other_clients(
    raw_client: RawClient, amount: str, order_id: str, content_type: str | None
) -> None:
    fields = f'"callback": "{CREATE_FIELDS["callback"]}", "sign": "{sign_create(raw_client)}", "allotment": []'
    response = await post_create(
        raw_client, f'{{"amount": {amount}, "order_id": {order_id}, {fields}}}', content_type, "bearer"
    )
    data = envelope(response)["data"]
    assert (data["order_id"], data["payment_amount"]) == ("1", 10_000)


@pytest.mark.parametrize("amount", ["10000", "10000.0"])
@pytest.mark.parametrize("content_type", [FORM_TYPE, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"])
async def test_create_form_content_type_is_case_insensitive(
    raw_client: RawClient, amount: str, content_type: str
) -> None:
    fields = {**CREATE_FIELDS, "amount": amount, "sign": sign_create(raw_client), "phone": ""}
    assert envelope(await post_create(raw_client, urlencode(fields), content_type))["status"] == 1


@pytest.mark.parametrize("value", [1, 1.0, "1", True, "true", "GET", "get"])
async def test_parse_callback_method_get_values_return_by_get(raw_client: RawClient, value: object) -> None:
    raw_client.sandbox.settings.default_callback_method = "POST"
    token = (await raw_client.create_payment(callback_method=value))["token"]
    assert raw_client.sandbox.return_payer(token).uses_get


@pytest.mark.parametrize("value", [0, 2, "2", False, "POST", "post", [], {}, 10**30, "x"])
async def test_parse_callback_method_other_values_return_by_post(raw_client: RawClient, value: object) -> None:
    token = (await raw_client.create_payment(callback_method=value))["token"]
    assert not raw_client.sandbox.return_payer(token).uses_get


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("value", [None, "", ...])
async def test_callback_method_missing_follows_setting(raw_client: RawClient, method: str, value: object) -> None:
    raw_client.sandbox.settings.default_callback_method = method
    token = (await raw_client.create_payment(callback_method=value))["token"]
    assert raw_client.sandbox.return_payer(token).uses_get is (method == "GET")


@pytest.mark.parametrize("missing", [..., None, ""])
async def test_wallet_transfer_without_track_id_gets_generated_id(raw_client: RawClient, missing: object) -> None:
    fields = {"track_id": missing, "destination_firstname": missing, "destination_lastname": missing}
    payout = {name: value for name, value in (raw_client.wallet_transfer() | fields).items() if value is not ...}
    data = await raw_client.data("wallet.settle", transfers=[payout, payout])
    first, second = (item["data"] for item in data["created_settlements"])
    assert first["track_id"] != second["track_id"]
    assert first["destination_firstname"] == first["destination_lastname"] == ""
    (item,) = await raw_client.data("wallet.find", track_id=first["track_id"])
    assert item["track_id"] == f"{raw_client.sandbox.wallet.hashid}*{first['track_id']}*1"


async def test_to_text_integer_track_id_becomes_digits(raw_client: RawClient) -> None:
    await raw_client.data(
        "wallet.settle", transfers=[raw_client.wallet_transfer() | {"track_id": 17, "amount": "1000.0"}]
    )
    await raw_client.settle(raw_client.transfer() | {"track_id": 18, "amount": 1_000.0})
    assert {name: line.amount for name, line in raw_client.sandbox.ledger.items()} == {"17": 1_000, "18": 1_000}
    assert (await raw_client.data("wallet.find", track_id=17))[0]["track_id"].endswith("*17*1")
    assert (await raw_client.data("transfers.find", track_id=18))[0]["track_id"] == "18"


@pytest.mark.parametrize("missing", [..., None, ""])
async def test_bank_transfer_without_track_id_is_refused(raw_client: RawClient, missing: object) -> None:
    transfer = {
        name: value for name, value in (raw_client.transfer() | {"track_id": missing}).items() if value is not ...
    }
    content = await raw_client.call("transfers.settle", transfers=[transfer])
    assert list(content["data"]) == ["transfers.0.track_id"]
