"""What the sandbox puts up with, since the live service does: forms, slashes, digits as texts, unknown fields."""

import json
from urllib.parse import urlencode

import httpx
import pytest

from paystar_async.accounts import signature
from paystar_async.sandbox.requests import load_json, unfold
from paystar_async.table import TABLE
from paystar_async.values.secret import Secret
from tests.sandbox.merchant import Merchant, envelope, example_fields

CREATE: dict[str, object] = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"}
FORM = "application/x-www-form-urlencoded"


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


@pytest.mark.parametrize(
    "amount",
    [10_000.5, True, 1e300, "10000.5", "10000.", "1e4", "-10000", [10_000], {"a": 1}, 10**30, "9" * 5_000, "۱۰۰۰۰"],
)
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


def signed(merchant: Merchant, amount: int = 10_000, order_id: str = "1") -> str:
    key = merchant.sandbox.gateway.sign_key
    assert key
    return signature(key, (amount, order_id, CREATE["callback"]))


async def post(
    merchant: Merchant, body: str | bytes, content_type: str | None, scheme: str = "Bearer"
) -> httpx.Response:
    """Post a create call as it stands."""
    headers = {"authorization": f"{scheme} {merchant.sandbox.gateway.id.reveal()}"}
    if content_type is not None:
        headers["content-type"] = content_type
    return await merchant.http.post("/pardakht/create", content=body, headers=headers)


@pytest.mark.parametrize("amount", ["10000", "10000.0", '"10000"', '"10000.0"', '"10000.00"', "1e4"])
@pytest.mark.parametrize("order_id", ["1", '"1"'])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
async def test_create_amount_and_order_id_of_other_clients_are_read(
    merchant: Merchant, amount: str, order_id: str, content_type: str | None
) -> None:
    fields = f'"callback": "{CREATE["callback"]}", "sign": "{signed(merchant)}", "allotment": []'
    answer = await post(merchant, f'{{"amount": {amount}, "order_id": {order_id}, {fields}}}', content_type, "bearer")
    data = envelope(answer)["data"]
    assert (data["order_id"], data["payment_amount"]) == ("1", 10_000)


@pytest.mark.parametrize("amount", ["10000", "10000.0"])
@pytest.mark.parametrize("content_type", [FORM, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"])
async def test_create_form_is_read_in_any_case(merchant: Merchant, amount: str, content_type: str) -> None:
    fields = {**CREATE, "amount": amount, "sign": signed(merchant), "phone": ""}
    assert envelope(await post(merchant, urlencode(fields), content_type))["status"] == 1


async def test_multipart_body_is_refused_plainly(merchant: Merchant) -> None:
    answer = await post(merchant, b"--x\r\n", "multipart/form-data; boundary=x")
    assert (answer.status_code, envelope(answer)["status"]) == (415, -1)
    assert "multipart" in envelope(answer)["message"]
    answer = await merchant.http.post("/wallet/create-settlement", content=b"", headers={"content-type": "multipart/x"})
    assert (answer.status_code, envelope(answer)["status"]) == (415, 10)
    answer = await merchant.http.post("/pardakht/payment", content=b"", headers={"content-type": "multipart/x"})
    assert answer.status_code == 400


@pytest.mark.parametrize("value", [1, 1.0, "1", True, "true", "GET", "get"])
async def test_callback_method_of_get_comes_back_by_get(merchant: Merchant, value: object) -> None:
    merchant.sandbox.settings.default_callback_method = "POST"
    token = (await merchant.created(callback_method=value))["token"]
    assert merchant.sandbox.come_back(token).by_get


@pytest.mark.parametrize("value", [0, 2, "2", False, "POST", "post", [], {}, 10**30, "x"])
async def test_callback_method_of_anything_else_comes_back_by_post(merchant: Merchant, value: object) -> None:
    token = (await merchant.created(callback_method=value))["token"]
    assert not merchant.sandbox.come_back(token).by_get


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("value", [None, "", ...])
async def test_callback_method_left_out_follows_the_setting(merchant: Merchant, method: str, value: object) -> None:
    merchant.sandbox.settings.default_callback_method = method
    token = (await merchant.created(callback_method=value))["token"]
    assert merchant.sandbox.come_back(token).by_get is (method == "GET")


@pytest.mark.parametrize("missing", [..., None, ""])
async def test_wallet_transfer_without_names_is_named_by_the_service(merchant: Merchant, missing: object) -> None:
    fields = {"track_id": missing, "destination_firstname": missing, "destination_lastname": missing}
    payout = {name: value for name, value in (merchant.payout() | fields).items() if value is not ...}
    data = await merchant.data("wallet.settle", transfers=[payout, payout])
    first, second = (item["data"] for item in data["created_settlements"])
    assert first["track_id"] != second["track_id"]
    assert first["destination_firstname"] == first["destination_lastname"] == ""
    (found,) = await merchant.data("wallet.find", track_id=first["track_id"])
    assert found["track_id"] == f"{merchant.sandbox.wallet.hashid}*{first['track_id']}*1"


async def test_integer_track_id_is_kept_as_its_digits(merchant: Merchant) -> None:
    await merchant.data("wallet.settle", transfers=[merchant.payout() | {"track_id": 17, "amount": "1000.0"}])
    await merchant.settle(merchant.transfer() | {"track_id": 18, "amount": 1_000.0})
    assert {name: line.amount for name, line in merchant.sandbox.ledger.items()} == {"17": 1_000, "18": 1_000}
    assert (await merchant.data("wallet.find", track_id=17))[0]["track_id"].endswith("*17*1")
    assert (await merchant.data("transfers.find", track_id=18))[0]["track_id"] == "18"


@pytest.mark.parametrize("missing", [..., None, ""])
async def test_bank_transfer_without_a_track_id_is_refused(merchant: Merchant, missing: object) -> None:
    transfer = {
        name: value for name, value in (merchant.transfer() | {"track_id": missing}).items() if value is not ...
    }
    content = await merchant.call("transfers.settle", transfers=[transfer])
    assert list(content["data"]) == ["transfers.0.track_id"]


ODD_NAMES = ("sign", "password", "wallet_hashid", "callback_method", "allotment", "\ud800", "refresh_token")
NASTY: list[object] = [
    "\ud800", "x\udc00", "\x00", "a\x00b", "\u202e", "", " ", 10**400, -(10**30), 1e308, True, [], {}, [[]], {"a": {}},
    [None] * 3, "9" * 5_000, {"\ud800": 1}, {"": ""}, 0.1, -1,
]  # fmt: skip


@pytest.mark.parametrize("row", [row for row in TABLE if row.kind == "call"], ids=lambda row: row.id)
async def test_nasty_value_in_any_field_is_never_a_server_error(merchant: Merchant, row: object) -> None:
    row = next(one for one in TABLE if one is row)
    fields = example_fields(row.id)
    for name in [
        *fields,
        "sign",
        "password",
        "wallet_hashid",
        "callback_method",
        "allotment",
        "\ud800",
        "refresh_token",
    ]:
        for value in NASTY:
            accounts = merchant.accounts
            body: dict[str, object] = {**accounts.credentials(row.realm, row.method), **fields}
            body = {one: text.reveal() if isinstance(text, Secret) else text for one, text in body.items()}
            token = accounts.first_key(row.realm)[0]
            headers = {"authorization": f"Bearer {token.reveal() if token else ''}"}
            content = json.dumps(body | {name: value})
            if row.method == "GET":
                query = urlencode(body | {name: value}, errors="surrogatepass")
                answer = await merchant.http.get(f"{row.paths[0]}?{query}", headers=headers)
            else:
                answer = await merchant.http.post(row.paths[0], content=content, headers=headers)
                form = urlencode(body | {name: value}, errors="surrogatepass")
                headers["content-type"] = FORM
                assert (await merchant.http.post(row.paths[0], content=form, headers=headers)).status_code < 500
            assert answer.status_code < 500, (name, value)
            answer.json()


@pytest.mark.parametrize("path", ["/wallet/wallets-balance", "/pardakht/create", "/pardakht/payment"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
async def test_other_method_is_not_allowed_and_allow_says_which(merchant: Merchant, path: str, method: str) -> None:
    answer = await merchant.http.request(method, path)
    assert answer.status_code == 405
    allowed = {"GET"} if "balance" in path else {"POST"} if "create" in path else {"GET", "POST"}
    assert {name.strip() for name in answer.headers["allow"].split(",")} == allowed


async def test_other_method_on_a_control_names_all_its_methods(merchant: Merchant) -> None:
    answer = await merchant.http.request("PUT", "http://localhost/_sandbox/faults")
    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("body", [b'{"a": "\\ud800"}', b'{"\\udc00": 1}', b'{"a": "\xed\xa0\x80"}'])
def test_load_json_half_a_surrogate_pair_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"surrogates|codec"):
        load_json(body)
