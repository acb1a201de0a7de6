"""What the sandbox puts up with, since the live service does: forms, slashes, digits as texts, unknown fields."""

import pytest

from paystar_async.sandbox.reading import unfold
from paystar_async.table import TABLE
from tests.sandbox.merchant import Merchant, envelope, example_fields

CREATE: dict[str, object] = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"}


@pytest.mark.parametrize("row", [row for row in TABLE if row.kind == "call"], ids=lambda row: row.id)
async def test_every_call_answers_at_every_path_with_and_without_a_slash(merchant: Merchant, row: object) -> None:
    row = next(one for one in TABLE if one is row)
    fields = example_fields(row.id)
    if row.id in ("gateway.verify", "gateway.inquiry"):
        fields["ref_num"] = "none"
    for path in row.paths:
        for slash in ("", "/"):
            answer = await merchant.send(row.id, fields, path=path + slash)
            assert envelope(answer)["status"] in (1, "ok", -5), (path, answer.text)


def test_the_gateway_has_direct_twins_and_the_refresh_two_paths() -> None:
    paths = [path for row in TABLE for path in row.paths]
    assert len(paths) == len(set(paths)) == len(TABLE) + 4 + 1
    assert "/direct/create" in paths
    assert "/application/refresh-api-key" in paths


async def test_an_unknown_path_is_not_found_and_another_method_not_allowed(merchant: Merchant) -> None:
    assert (await merchant.http.post("/pardakht/refund")).status_code == 404
    assert (await merchant.http.get("/pardakht/create")).status_code == 405


async def test_forms_are_read_with_amounts_as_digits(merchant: Merchant) -> None:
    answer = await merchant.send("gateway.create", CREATE | {"amount": "10000", "callback_method": "1"}, form=True)
    token = envelope(answer)["data"]["token"]
    callback = merchant.sandbox.pay(token)
    unsent = {name: callback[name] for name in ("card_number", "tracking_code")}
    fields = {"ref_num": callback["ref_num"], "amount": "10000"}
    verified = await merchant.send("gateway.verify", fields, unsent=unsent, form=True, path="/direct/verify/")
    assert envelope(verified)["data"]["price"] == 10_000.0


async def test_forms_nest_as_php_writes_them(merchant: Merchant) -> None:
    transfer = {f"transfers[0][{name}]": value for name, value in merchant.transfer("t", 5_000).items()}
    assert envelope(await merchant.send("transfers.settle", transfer, form=True))["data"]["track_id"] == "t"
    assert merchant.sandbox.ledger["t"].amount == 5_000


def test_unfolding() -> None:
    assert unfold([("a[0][b]", "1"), ("a[1][b]", "2"), ("c", "3"), ("d[x]", "4")]) == {
        "a": [{"b": "1"}, {"b": "2"}],
        "c": "3",
        "d": {"x": "4"},
    }
    assert unfold([("a", "1"), ("a[b]", "2"), ("[]", "3")]) == {"a": "1", "[]": "3"}


async def test_unknown_fields_are_passed_over_and_null_is_nothing(merchant: Merchant) -> None:
    await merchant.created(surprise={"a": 1}, name=None, phone="", allotment=None)
    item = await merchant.settle(merchant.transfer("t", pay_id=None, surprise=1))
    assert item["status"] == "pending"


@pytest.mark.parametrize("amount", [10_000.0, True, "1e4", "-10000", [10_000], {"a": 1}, 10**30, "9" * 5_000, "۱۰۰۰۰"])
async def test_an_amount_that_is_none_is_refused(merchant: Merchant, amount: object) -> None:
    content = await merchant.call("gateway.create", **CREATE | {"amount": amount})
    assert (content["status"], list(content["data"])) == (-1, ["amount"])
    content = await merchant.call("transfers.settle", transfers=[merchant.transfer("t") | {"amount": amount}])
    assert (content["status"], list(content["data"])) == (10, ["transfers.0.amount"])


async def test_every_wrong_field_is_named(merchant: Merchant) -> None:
    content = await merchant.call("identity.match_card", national_id="12", birth_date="yesterday")
    assert content["status"] == 10
    assert set(content["data"]) == {"national_id", "card_number", "birth_date"}
    assert all(texts and all(isinstance(text, str) for text in texts) for texts in content["data"].values())


@pytest.mark.parametrize("transfers", [None, [], "x", {}, 3, [1], [None], [[]]])
async def test_transfers_that_are_none_are_refused(merchant: Merchant, transfers: object) -> None:
    assert (await merchant.call("transfers.settle", transfers=transfers))["status"] == 10
    assert not merchant.sandbox.ledger


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"amount": NaN}', b"\xff", b"[" * 100_000])
async def test_a_body_that_cannot_be_read_says_nothing(merchant: Merchant, body: bytes) -> None:
    application = merchant.sandbox.application
    assert application.api_key
    headers = {"authorization": f"Bearer {application.api_key.reveal()}", "content-type": "application/json"}
    answer = await merchant.http.post("/bank-transfer/v2/settlement", content=body, headers=headers)
    assert (answer.status_code, envelope(answer)["status"]) == (400, 2)


@pytest.mark.parametrize("http", [400, 200])
async def test_refusals_come_with_the_http_status_that_is_set(merchant: Merchant, http: int) -> None:
    merchant.sandbox.settings.failure_http = http
    answer = await merchant.send("transfers.find", {"limit": 0})
    assert (answer.status_code, envelope(answer)["status"]) == (http, 10)
    assert set(envelope(answer)) == {"status", "message", "data"}
