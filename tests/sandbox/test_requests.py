"""Request parsing: JSON, forms, invalid fields and unreadable bodies."""

import pytest

from paystar_async.sandbox.requests import load_json, parse_form_fields
from tests.sandbox.raw_client import CREATE_FIELDS, RawClient, envelope, post_create


async def test_form_with_php_brackets_is_parsed_as_transfers(raw_client: RawClient) -> None:
    transfer = {f"transfers[0][{name}]": value for name, value in raw_client.transfer("t", 5_000).items()}
    assert envelope(await raw_client.send("transfers.settle", transfer, form=True))["data"]["track_id"] == "t"
    assert raw_client.sandbox.ledger["t"].amount == 5_000


def test_parse_form_fields_builds_lists_and_objects() -> None:
    assert parse_form_fields([("a[0][b]", "1"), ("a[1][b]", "2"), ("c", "3"), ("d[x]", "4")]) == {
        "a": [{"b": "1"}, {"b": "2"}],
        "c": "3",
        "d": {"x": "4"},
    }
    assert parse_form_fields([("a", "1"), ("a[b]", "2"), ("[]", "3")]) == {"a": "1", "[]": "3"}


async def test_structure_request_ignores_unknown_fields_and_null(raw_client: RawClient) -> None:
    await raw_client.create_payment(surprise={"a": 1}, name=None, phone="", allotment=None)
    item = await raw_client.settle(raw_client.transfer("t", pay_id=None, surprise=1))
    assert item["status"] == "pending"


@pytest.mark.parametrize(
    "amount",
    [10_000.5, True, 1e300, "10000.5", "10000.", "1e4", "-10000", [10_000], {"a": 1}, 10**30, "9" * 5_000, "۱۰۰۰۰"],
)
async def test_structure_request_invalid_amount_is_refused(raw_client: RawClient, amount: object) -> None:
    content = await raw_client.call("gateway.create", **CREATE_FIELDS | {"amount": amount})
    assert (content["status"], list(content["data"])) == (-1, ["amount"])
    content = await raw_client.call("transfers.settle", transfers=[raw_client.transfer("t") | {"amount": amount}])
    assert (content["status"], list(content["data"])) == (10, ["transfers.0.amount"])


async def test_structure_request_names_every_invalid_field(raw_client: RawClient) -> None:
    content = await raw_client.call("identity.match_card", national_id="12", birth_date="yesterday")
    assert content["status"] == 10
    assert set(content["data"]) == {"national_id", "card_number", "birth_date"}
    assert all(texts and all(isinstance(text, str) for text in texts) for texts in content["data"].values())


@pytest.mark.parametrize("transfers", [None, [], "x", {}, 3, [1], [None], [[]]])
async def test_structure_request_invalid_transfers_are_refused(raw_client: RawClient, transfers: object) -> None:
    assert (await raw_client.call("transfers.settle", transfers=transfers))["status"] == 10
    assert not raw_client.sandbox.ledger


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"amount": NaN}', b"\xff", b"[" * 100_000])
async def test_read_fields_unreadable_body_has_no_fields(raw_client: RawClient, body: bytes) -> None:
    application = raw_client.sandbox.application
    assert application.api_key
    headers = {"authorization": f"Bearer {application.api_key.reveal()}", "content-type": "application/json"}
    response = await raw_client.http.post("/bank-transfer/v2/settlement", content=body, headers=headers)
    assert (response.status_code, envelope(response)["status"]) == (400, 2)


async def test_read_fields_multipart_is_415(raw_client: RawClient) -> None:
    response = await post_create(raw_client, b"--x\r\n", "multipart/form-data; boundary=x")
    assert (response.status_code, envelope(response)["status"]) == (415, -1)
    assert "multipart" in envelope(response)["message"]
    response = await raw_client.http.post(
        "/wallet/create-settlement", content=b"", headers={"content-type": "multipart/x"}
    )
    assert (response.status_code, envelope(response)["status"]) == (415, 10)
    response = await raw_client.http.post("/pardakht/payment", content=b"", headers={"content-type": "multipart/x"})
    assert response.status_code == 400


@pytest.mark.parametrize("body", [b'{"a": "\\ud800"}', b'{"\\udc00": 1}', b'{"a": "\xed\xa0\x80"}'])
def test_load_json_half_surrogate_pair_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"surrogates|codec"):
        load_json(body)


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/x-www-form-urlencoded", "a" + "[0]" * 50_000 + "=1"),
        ("application/json", '{"order_id":' + "[" * 600 + "]" * 600 + "}"),
        ("application/json", '{"order_id":' * 100_000),
        ("application/json", '{"amount":' + "9" * 5000 + "}"),
    ],
)
async def test_read_fields_hostile_body_is_refused_and_logged(raw_client: RawClient, media: str, body: str) -> None:
    response = await raw_client.http.post("/pardakht/create", content=body.encode(), headers={"content-type": media})

    assert response.status_code in (400, 401)
    assert (await raw_client.http.get("http://localhost/_sandbox/requests")).status_code == 200
