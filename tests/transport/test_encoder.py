"""Encoding of requests: fields, headers, signatures and URL of each endpoint."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from paystar_async._version import USER_AGENT
from paystar_async.credentials import Application, Credentials, Gateway
from paystar_async.endpoint import Endpoint
from paystar_async.models.gateway import CreatePayment, InquirePayment, PaymentPage, VerifyPayment
from paystar_async.models.transfers import FindTransfers, Settle, Transfer
from paystar_async.models.wallet import SettleWallet, WalletTransfer
from paystar_async.table import BY_ID, REFRESH_ENDPOINTS
from paystar_async.transport.encoder import RequestEncoder
from tests.describe.endpoints import example_values
from tests.transport.endpoint_requests import (
    BASE,
    CALLS,
    GATEWAY,
    encode,
    example_request,
    fields_in,
    hmac_sha512,
    minimal_request,
)

CALLBACK = "https://merchant.example/pay/callback"
CARD, MASKED, IBAN, ACCOUNT, NATIONAL_ID = (
    "6037990000000006",
    "502229******6708",
    "IR110170000000123456789001",
    "0111234567890",
    "0012345679",
)
DAY, TRACK_ID = "1991-03-21", "payroll-2026-07-0001"
APP = {"application_id": "77", "access_password": "p&ss=1"}
WALLET = {"wallet_hashid": "w123", "password": "p@ss", "sign": hmac_sha512("w123#p@ss")}
OWNER = {"destination_firstname": "Ali", "destination_lastname": "Ali", "track_id": TRACK_ID}
VERIFY = {"ref_num": "ref-1", "amount": 50_000, "sign": hmac_sha512(f"50000#ref-1#{MASKED}#123456")}

# Written out for each endpoint, so that a change of a request to Paystar changes this table.
SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "identity.match_mobile": (
        "POST /open-banking/service/info-matching/mobile-national-id",
        APP | {"national_id": NATIONAL_ID, "mobile_number": "09121234567"},
    ),
    "identity.match_card": (
        "POST /open-banking/service/info-matching/card-national-id",
        APP | {"national_id": NATIONAL_ID, "card_number": CARD, "birth_date": DAY},
    ),
    "identity.match_iban": (
        "POST /open-banking/service/info-matching/iban-national-id",
        APP | {"national_id": NATIONAL_ID, "iban": IBAN, "birth_date": DAY},
    ),
    "inquiry.account_to_iban": (
        "POST /open-banking/service/bank-inquiry/account-to-iban",
        APP | {"account_number": ACCOUNT, "bank_id": "017"},
    ),
    "inquiry.card_to_iban": ("POST /open-banking/service/bank-inquiry/card-to-iban", APP | {"card": CARD}),
    "inquiry.iban": ("POST /open-banking/service/bank-inquiry/iban-inquiry", APP | {"iban": IBAN}),
    "transfers.settle": (
        "POST /bank-transfer/v2/settlement",
        APP
        | {
            "transfers": [
                {"amount": 50_000, "deposit": ACCOUNT, "destination_account": IBAN, "pay_id": "123456789"} | OWNER
            ]
        },
    ),
    "transfers.find": (
        "GET /bank-transfer/settlement-requests",
        APP | {"deposit": ACCOUNT, "track_id": TRACK_ID, "limit": "50", "skip": "0"},
    ),
    "transfers.balance": ("GET /open-banking/service/balance", APP | {"account_number": ACCOUNT}),
    "transfers.statement": (
        "GET /open-banking/service/invoice",
        APP | {"account_number": ACCOUNT, "from_date": DAY, "to_date": DAY},
    ),
    "gateway.create": (
        "POST /pardakht/create",
        {
            "amount": 50_000,
            "order_id": "ORD-45245",
            "callback": CALLBACK,
            "name": "Ali",
            "phone": "09121234567",
            "mail": "an order of two books",
            "description": "an order of two books",
            "allotment": [{"id": 0, "sheba_id": "w123", "share": 0, "amount": 50_000}],
            "callback_method": 1,
            "wallet_hashid": "w123",
            "national_code": NATIONAL_ID,
            "card_number": CARD,
            "referer_id": "w123",
            "sign": hmac_sha512(f"50000#ORD-45245#{CALLBACK}"),
        },
    ),
    "gateway.verify": ("POST /pardakht/verify", VERIFY),
    "gateway.inquiry": ("POST /pardakht/inquiry", VERIFY),
    "wallet.settle": (
        "POST /wallet/create-settlement",
        WALLET | {"withdraw_type": 7, "transfers": [{"amount": 50_000, "destination_number": IBAN} | OWNER]},
    ),
    "wallet.find": ("GET /wallet/settlement-requests", {"wallet_hashid": "w123", "track_id": TRACK_ID}),
    "wallet.balance": ("GET /wallet/wallets-balance", {"wallet_hashid": "w123"}),
    "keys.refresh_application_key": (
        "POST /open-banking/application/refresh-api-key",
        APP | {"refresh_token": "the-key"},
    ),
    "keys.refresh_wallet_key": ("POST /wallet/refresh-api-key", WALLET | {"refresh_token": "the-key"}),
    "keys.refresh_inquiry_key": ("POST /wallet/refresh-inquiry-key", WALLET | {"refresh_inquiry_key": "the-key"}),
}

VECTORS = (
    "c45343e42a41fe562e54eb644c22a2dc2756fc74ded2f5061bf0bf32bfba045e"
    "584eeb0cb7ef07b4d779739567aeb8d42d1c0cbd81d5e9da6de7d320c415fe8f",
    "83770c4c0eb2c55e6da66f9e27d871b1eb7111b851c74d3fe881b9a43529df4f"
    "137ae27e9d2fb8fb36614084dfd44b16ae508cc02041877a54ced0ab4082266b",
    "8d82df7760e481ff577ce8795b8b328f0113441c474a87d3f399249be7a1eb6a"
    "733cb1eceec49e499557f68ed3ea7f3c97c0529ee998f054e3f07a9449bf0eb8",
)

each_call = pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.id)


def test_encoded_table_lists_every_endpoint() -> None:
    assert list(SENT) == [endpoint.id for endpoint in CALLS]


@each_call
def test_encode_sends_method_path_and_fields(endpoint: Endpoint) -> None:
    encoded = encode(example_request(endpoint))
    sent = f"{encoded.method} {encoded.url.partition('?')[0].removeprefix(BASE)}", fields_in(encoded)

    assert sent == SENT[endpoint.id]


@each_call
def test_encode_sends_headers(endpoint: Endpoint) -> None:
    expected = {"Accept": "application/json", "User-Agent": USER_AGENT}
    if endpoint.method == "POST":
        expected["Content-Type"] = "application/json"
    # A refresh sends its refresh token in the body; the key that it replaces may have expired.
    if endpoint not in REFRESH_ENDPOINTS.values():
        expected["Authorization"] = "Bearer the-key"

    assert dict(encode(example_request(endpoint)).headers) == expected


@each_call
def test_encode_post_has_no_query_and_get_no_body(endpoint: Endpoint) -> None:
    encoded = encode(example_request(endpoint))

    assert (encoded.body is None) == (endpoint.method == "GET")
    assert ("?" in encoded.url) == (endpoint.method == "GET")


@each_call
def test_encode_omits_optional_fields(endpoint: Endpoint) -> None:
    fields = fields_in(encode(minimal_request(endpoint)))

    assert None not in fields.values()
    assert set(fields) <= set(SENT[endpoint.id][1])


@each_call
def test_encoded_request_repr_shows_only_url(endpoint: Endpoint) -> None:
    encoded = encode(example_request(endpoint))

    assert repr(encoded) == f"EncodedRequest(method='{encoded.method}', url={encoded.url.partition('?')[0]})"


def test_encode_escapes_query_and_writes_utf_8_body() -> None:
    query = encode(FindTransfers(track_id="a&b=c#d%?")).url.partition("?")[2]
    body = encode(minimal_request(BY_ID["gateway.create"])).body
    persian_body = encode(CreatePayment(amount=5_000, order_id="سفارش", callback=CALLBACK)).body

    assert query == "application_id=77&access_password=p%26ss%3D1&track_id=a%26b%3Dc%23d%25%3F"
    assert body is not None
    assert b" " not in body
    assert persian_body is not None
    assert "سفارش".encode() in persian_body


class TestSignatures:
    """The three signed messages, made from the values exactly as they are sent."""

    def create(self, **fields: Any) -> CreatePayment:
        return CreatePayment(amount=10_000, order_id="ORD-45245", callback=CALLBACK, **fields)

    def test_sign_matches_published_vectors(self) -> None:
        verify = VerifyPayment(ref_num="ref-1", amount=10_000, card_number=MASKED, tracking_code="123456")
        wallet = SettleWallet(transfers=[WalletTransfer(**example_values(WalletTransfer))])

        assert fields_in(encode(self.create()))["sign"] == VECTORS[0]
        assert fields_in(encode(verify))["sign"] == VECTORS[1]
        assert fields_in(encode(wallet))["sign"] == VECTORS[2]

    def test_sign_callback_is_unchanged(self) -> None:
        url = "https://Merchant.example:443/%D8%A8?a=1&b=%20%23x"
        fields = fields_in(encode(CreatePayment(amount=5_000, order_id="1", callback=url)))

        assert fields["callback"] == url
        assert fields["sign"] == hmac_sha512(f"5000#1#{url}")

    def test_sign_create_extra_is_sent_unsigned(self) -> None:
        extra: dict[str, object] = {
            "products": [{"name": "کتاب", "price": 1.5, "tags": []}],
            "wallet": None,
            "first_name": "علی",
        }
        plain, fields = fields_in(encode(self.create())), fields_in(encode(self.create(extra=extra)))

        assert fields == extra | plain
        assert fields["sign"] == VECTORS[0]

    def test_sign_only_fields_are_not_sent(self) -> None:
        fields = fields_in(encode(example_request("gateway.verify")))

        assert set(fields) == {"ref_num", "amount", "sign"}

    def test_sign_missing_card_and_code_are_empty(self) -> None:
        verify = VerifyPayment(ref_num="ref-1", amount=10_000, card_number="", tracking_code="")

        assert fields_in(encode(verify))["sign"] == hmac_sha512("10000#ref-1##")
        assert fields_in(encode(InquirePayment(ref_num="ref-1", amount=10_000)))["sign"] == hmac_sha512("10000#ref-1##")

    def test_sign_inquiry_by_ref_num_alone_is_omitted(self) -> None:
        assert fields_in(encode(InquirePayment(ref_num="ref-1"))) == {"ref_num": "ref-1"}
        fields = fields_in(encode(InquirePayment(ref_num="ref-1", card_number=MASKED, tracking_code="1")))
        assert fields == {"ref_num": "ref-1"}

    @pytest.mark.parametrize("name", ["gateway.create", "gateway.verify", "gateway.inquiry"])
    def test_sign_gateway_without_sign_key_is_omitted(self, name: str) -> None:
        credentials = Credentials(gateway=Gateway(id="gateway-1"))

        assert "sign" not in fields_in(encode(example_request(name), credentials))

    @given(st.integers(5_000, 2**63 - 1))
    def test_sign_amount_is_plain_digits(self, amount: int) -> None:
        encoded = encode(CreatePayment(amount=amount, order_id="1", callback=CALLBACK))

        assert encoded.body is not None
        assert f'"amount":{amount},'.encode() in encoded.body
        assert fields_in(encoded)["sign"] == hmac_sha512(f"{amount}#1#{CALLBACK}")

    def test_sign_int_subclass_amount_as_sent(self) -> None:
        class Odd(int):
            def __str__(self) -> str:
                return "odd"

        encoded = encode(CreatePayment(amount=Odd(5_000), order_id="1", callback=CALLBACK))
        assert fields_in(encoded) == {
            "amount": 5_000,
            "order_id": "1",
            "callback": CALLBACK,
            "sign": hmac_sha512(f"5000#1#{CALLBACK}"),
        }

    def test_sign_open_banking_is_omitted(self) -> None:
        assert not [
            endpoint.id for endpoint in CALLS if endpoint.realm == "application" and "sign" in SENT[endpoint.id][1]
        ]


@pytest.mark.parametrize("name", ["create", "verify", "inquiry"])
def test_encode_direct_gateway_changes_only_path(name: str) -> None:
    direct = Credentials(gateway=evolve(GATEWAY, direct=True))
    value = example_request(f"gateway.{name}")

    assert encode(value, direct).url == f"{BASE}/direct/{name}"
    assert encode(value, direct).body == encode(value).body


@pytest.mark.parametrize(("direct", "path"), [(False, "/pardakht/payment"), (True, "/direct/payment")])
def test_page_url_has_fields_in_query(direct: bool, path: str) -> None:
    encoder = RequestEncoder(Credentials(gateway=evolve(GATEWAY, direct=direct)), BASE)

    page = encoder.page_url(BY_ID["gateway.payment_url"], PaymentPage(token="a b&c=/?"))
    assert page == f"{BASE}{path}?token=a+b%26c%3D%2F%3F"


@pytest.mark.parametrize("count", [1, 2])
def test_encode_transfers_are_one_list(count: int) -> None:
    transfer: Any = Transfer(**example_values(Transfer))
    value = Settle(transfers=[evolve(transfer, track_id=f"t-{number}") for number in range(count)])

    assert [item["track_id"] for item in fields_in(encode(value))["transfers"]] == [
        f"t-{number}" for number in range(count)
    ]


def test_encode_sends_credentials_of_own_realm() -> None:
    other = Credentials(application=Application(id="78", access_password="x"), gateway=GATEWAY)

    assert fields_in(encode(example_request("inquiry.iban"), other))["application_id"] == "78"
