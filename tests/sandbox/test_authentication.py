"""Authentication: keys, credentials and signatures of every realm."""

from datetime import timedelta

import pytest

from paystar_async.credentials import Realm, signature
from paystar_async.endpoint import Endpoint
from paystar_async.sandbox.responses import INVALID_ACCESS
from paystar_async.table import REFRESH_ENDPOINTS, TABLE
from paystar_async.values.dates import parse_tehran
from tests.sandbox.raw_client import RawClient, envelope, example_fields

REFRESH_IDS = {realm: endpoint.id for realm, endpoint in REFRESH_ENDPOINTS.items()}
READ_ENDPOINTS = {Realm.APPLICATION: "transfers.find", Realm.WALLET: "wallet.balance", Realm.INQUIRY: "wallet.balance"}


def key_field(realm: Realm) -> str:
    return "inquiry_key" if realm is Realm.INQUIRY else "api_key"


@pytest.mark.parametrize("realm", REFRESH_IDS)
async def test_refresh_returns_key_valid_for_its_lifetime(raw_client: RawClient, realm: Realm) -> None:
    raw_client.clock.advance(90_000)
    now = raw_client.clock.time()
    data = await raw_client.data(REFRESH_IDS[realm])
    assert set(data) == {key_field(realm), f"{key_field(realm)}_expire_date"}
    expires = parse_tehran(data[f"{key_field(realm)}_expire_date"])
    assert expires is not None
    assert expires.utcoffset() == timedelta(hours=3, minutes=30)
    assert expires.timestamp() == now + 86_400
    bearer = f"Bearer {data[key_field(realm)]}"
    assert envelope(await raw_client.send(READ_ENDPOINTS[realm], bearer=bearer))["status"] in (1, "ok")
    raw_client.clock.advance(86_400)
    assert envelope(await raw_client.send(READ_ENDPOINTS[realm], bearer=bearer))["status"] not in (1, "ok")


@pytest.mark.parametrize("realm", REFRESH_IDS)
async def test_refresh_wrong_refresh_token_is_status_13(raw_client: RawClient, realm: Realm) -> None:
    token_field = REFRESH_ENDPOINTS[realm].refresh_token_field
    assert token_field
    for invalid in ("wrong", None, "", 13):
        assert (await raw_client.call(REFRESH_IDS[realm], **{token_field: invalid}))["status"] == 13
    assert (await raw_client.call(REFRESH_IDS[realm], **{token_field: ...}))["status"] == 13


@pytest.mark.parametrize("path", ["/open-banking/application/refresh-api-key", "/application/refresh-api-key"])
async def test_refresh_application_key_needs_no_bearer_on_both_paths(raw_client: RawClient, path: str) -> None:
    response = await raw_client.send("keys.refresh_application_key", path=path, bearer="")
    assert envelope(response)["data"]["api_key"]


@pytest.mark.parametrize("realm", REFRESH_IDS)
async def test_refresh_rotates_refresh_token_only_if_set(raw_client: RawClient, realm: Realm) -> None:
    sandbox, token_field = raw_client.sandbox, REFRESH_ENDPOINTS[realm].refresh_token_field
    assert token_field
    await raw_client.data(REFRESH_IDS[realm])
    await raw_client.data(REFRESH_IDS[realm])
    first_token = raw_client.credentials.initial_token(realm)[1]
    sandbox.settings.rotate_refresh_tokens = True
    data = await raw_client.data(REFRESH_IDS[realm])
    assert first_token
    assert data[token_field] != first_token.reveal()
    assert (await raw_client.call(REFRESH_IDS[realm], **{token_field: first_token.reveal()}))["status"] == 13
    await raw_client.data(REFRESH_IDS[realm], **{token_field: data[token_field]})
    assert sandbox.stats["refreshes"][realm] == 4


@pytest.mark.parametrize("ends_old_key", [False, True])
async def test_refresh_ends_old_key_only_if_set(raw_client: RawClient, ends_old_key: bool) -> None:
    raw_client.sandbox.settings.refresh_ends_old_key = ends_old_key
    old_key = raw_client.sandbox.application.api_key
    assert old_key
    await raw_client.data("keys.refresh_application_key")
    response = await raw_client.send("transfers.find", bearer=f"Bearer {old_key.reveal()}")
    assert envelope(response)["status"] == (4 if ends_old_key else "ok")


async def test_key_expiry_ignores_jump_of_time_of_day(raw_client: RawClient) -> None:
    raw_client.clock.jump(200_000)
    await raw_client.data("transfers.find")


CALLS = [endpoint for endpoint in TABLE if endpoint.kind == "call"]
OPEN_BANKING = [endpoint.id for endpoint in CALLS if endpoint.realm is Realm.APPLICATION]
WALLET = [endpoint.id for endpoint in CALLS if endpoint.realm in (Realm.WALLET, Realm.INQUIRY)]
CALLS_WITH_KEY = [endpoint for endpoint in CALLS if not endpoint.refresh_token_field]


@pytest.mark.parametrize("endpoint_id", OPEN_BANKING)
async def test_authenticate_application_checks_id_and_password(raw_client: RawClient, endpoint_id: str) -> None:
    fields = example_fields(endpoint_id)
    assert (await raw_client.call(endpoint_id, **fields))["status"] in (1, "ok")
    for invalid in ("other", ..., None, "", 5, ["a"]):
        assert (await raw_client.call(endpoint_id, **fields, application_id=invalid))["status"] == 2
        assert (await raw_client.call(endpoint_id, **fields, access_password=invalid))["status"] == 6


@pytest.mark.parametrize("endpoint", CALLS_WITH_KEY, ids=lambda endpoint: endpoint.id)
async def test_authenticate_unknown_key_is_refused_per_realm(raw_client: RawClient, endpoint: Endpoint) -> None:
    for bearer in ("Bearer unknown", "", "Basic abc", "Bearer"):
        response = await raw_client.send(endpoint.id, example_fields(endpoint.id), bearer=bearer)
        content = envelope(response)
        match endpoint.realm:
            case Realm.APPLICATION | Realm.WALLET | Realm.INQUIRY:
                assert (response.status_code, content["status"], content["message"]) == (400, 4, INVALID_ACCESS)
            case Realm.GATEWAY:
                assert (response.status_code, content["status"]) == (401, "unauthenticated")
                assert (content["action"], content["tag"]) == ("PardakhtCreate", "unauthenticated")
                assert content["api_version"]


async def test_key_expires_after_its_lifetime(raw_client: RawClient) -> None:
    raw_client.clock.advance(86_399)
    await raw_client.data("transfers.find")
    await raw_client.data("wallet.balance")
    raw_client.clock.advance(1)
    assert (await raw_client.call("transfers.find"))["status"] == 5
    assert (await raw_client.call("wallet.balance"))["status"] == 5
    await raw_client.create_payment()  # a gateway_id does not expire


@pytest.mark.parametrize("endpoint_id", ["transfers.find", "wallet.balance"])
async def test_key_refusal_hidden_codes_sends_message_only(raw_client: RawClient, endpoint_id: str) -> None:
    raw_client.sandbox.settings.hide_token_codes = True
    response = await raw_client.send(endpoint_id, bearer="Bearer unknown")
    assert (response.status_code, envelope(response)["message"]) == (400, INVALID_ACCESS)
    assert envelope(response)["status"] not in (4, 5)


@pytest.mark.parametrize("endpoint_id", WALLET)
async def test_authenticate_wallet_wrong_hashid_is_refused(raw_client: RawClient, endpoint_id: str) -> None:
    content = await raw_client.call(endpoint_id, **example_fields(endpoint_id), wallet_hashid="w0")
    assert content["status"] == 10
    assert list(content["data"]) == ["wallet_hashid"]


@pytest.mark.parametrize(
    "endpoint_id",
    [
        endpoint.id
        for endpoint in CALLS
        if endpoint.realm is Realm.WALLET or (endpoint.refresh_token_field and endpoint.signed_fields)
    ],
)
async def test_authenticate_wallet_post_requires_password_and_sign(raw_client: RawClient, endpoint_id: str) -> None:
    fields = example_fields(endpoint_id)
    for name in ("password", "sign"):
        for invalid in ("wrong", ..., 7):
            content = await raw_client.call(
                endpoint_id, **fields, **{name: invalid if invalid is not ... or name == "password" else ""}
            )
            assert (content["status"], list(content["data"])) == (10, [name])


async def test_wallet_key_and_inquiry_key_permissions(raw_client: RawClient) -> None:
    wallet = raw_client.sandbox.wallet
    assert wallet.api_key
    assert wallet.inquiry_key
    inquiry_bearer, wallet_bearer = f"Bearer {wallet.inquiry_key.reveal()}", f"Bearer {wallet.api_key.reveal()}"
    for bearer in (inquiry_bearer, wallet_bearer):
        assert envelope(await raw_client.send("wallet.balance", bearer=bearer))["status"] == 1
    fields = {"transfers": [raw_client.wallet_transfer()]}
    assert envelope(await raw_client.send("wallet.settle", fields, bearer=inquiry_bearer))["message"] == INVALID_ACCESS
    assert not raw_client.sandbox.ledger
    assert envelope(await raw_client.send("wallet.settle", fields, bearer=wallet_bearer))["status"] == 1


async def test_authenticate_key_of_other_realm_is_refused(raw_client: RawClient) -> None:
    application = raw_client.sandbox.application
    assert application.api_key
    bearer = f"Bearer {application.api_key.reveal()}"
    assert envelope(await raw_client.send("wallet.balance", bearer=bearer))["message"] == INVALID_ACCESS


async def test_bearer_scheme_is_case_insensitive(raw_client: RawClient) -> None:
    gateway = raw_client.sandbox.gateway
    fields = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"}
    response = await raw_client.send("gateway.create", fields, bearer=f"bearer {gateway.id.reveal()}")
    assert envelope(response)["status"] == 1


async def test_check_signature_create_covers_values_as_sent(raw_client: RawClient) -> None:
    key = raw_client.sandbox.gateway.sign_key
    assert key
    fields: dict[str, object] = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/?a=1"}
    valid_sign = signature(key, (10_000, "1", "https://shop.example/?a=1"))
    assert (await raw_client.call("gateway.create", **fields, sign=valid_sign))["status"] == 1
    for invalid in (
        signature(key, (10_000.0, "1", "https://shop.example/?a=1")),
        signature(key, (10_000, "2", "https://shop.example/?a=1")),
        signature(key, (10_000, "1", "https://shop.example/")),
        valid_sign.upper(),
        "",
        None,
    ):
        content = await raw_client.call("gateway.create", **fields, sign=invalid)
        assert (content["status"], list(content["data"])) == (-1, ["sign"])


async def test_check_signature_unsigned_gateway_accepts_no_sign(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.gateway_signed = False
    assert raw_client.sandbox.gateway.sign_key is None
    created = await raw_client.create_payment()
    callback = raw_client.sandbox.pay(created["token"])
    assert (await raw_client.verify(callback))["status"] == 1
