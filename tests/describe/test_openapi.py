"""The OpenAPI document is valid and describes every endpoint as requests are sent."""

from typing import Any

import pytest
from openapi_spec_validator import validate

from paystar_async._version import VERSION
from paystar_async.credentials import BASE_URL
from paystar_async.describe import endpoints_by_service, path_variants
from paystar_async.describe.openapi import build_document
from paystar_async.endpoint import Endpoint
from paystar_async.errors import BY_STATUS
from paystar_async.models.base import fields_of
from paystar_async.table import TABLE
from tests.describe.endpoints import AddedRequest, make_table

DOCUMENT = build_document()
SCHEMAS = DOCUMENT["components"]["schemas"]

all_endpoints = pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)


def operation(endpoint: Endpoint) -> dict[str, Any]:
    return DOCUMENT["paths"][endpoint.paths[0]][endpoint.method.lower()]  # type: ignore[no-any-return]


def test_build_document_is_valid() -> None:
    validate(DOCUMENT)


def test_validate_rejects_duplicate_operation_id() -> None:
    broken = build_document()
    broken["paths"]["/pardakht/verify"]["post"]["operationId"] = "gateway_create"
    with pytest.raises(Exception, match="gateway_create"):
        validate(broken)


@all_endpoints
def test_build_document_has_operation_for_every_path(endpoint: Endpoint) -> None:
    for path in path_variants(endpoint):
        operation_object = DOCUMENT["paths"][path][endpoint.method.lower()]
        assert operation_object["x-endpoint"] == endpoint.id
        assert operation_object["tags"] == [endpoint.service]
        assert operation_object["x-safety"] == endpoint.safety.value
        assert operation_object.get("x-lookup") == endpoint.lookup


def test_build_document_has_no_other_paths_or_tags() -> None:
    assert set(DOCUMENT["paths"]) == {path for endpoint in TABLE for path in path_variants(endpoint)}
    assert [tag["name"] for tag in DOCUMENT["tags"]] == list(endpoints_by_service(TABLE))


@all_endpoints
def test_operation_id_of_usual_path_has_no_suffix(endpoint: Endpoint) -> None:
    assert operation(endpoint)["operationId"] == f"{endpoint.service}_{endpoint.name}"


def test_operation_id_names_direct_and_alias_paths() -> None:
    assert DOCUMENT["paths"]["/direct/create"]["post"]["operationId"] == "gateway_create_direct"
    assert DOCUMENT["paths"]["/application/refresh-api-key"]["post"]["operationId"].endswith("_alias")


def test_build_document_names_version_and_servers() -> None:
    assert DOCUMENT["info"]["version"] == VERSION
    live, sandbox = DOCUMENT["servers"]
    assert live["url"] == BASE_URL
    assert sandbox["url"].startswith("http://127.0.0.1:")


@all_endpoints
def test_operation_describes_sent_and_signed_fields(endpoint: Endpoint) -> None:
    operation_object = operation(endpoint)
    if endpoint.method == "POST":
        names = set(SCHEMAS[endpoint.request.__name__]["properties"])
    else:
        names = {parameter["name"] for parameter in operation_object["parameters"]}
    for field in fields_of(endpoint.request):
        assert (field.name in names) is (field.sent and field.name != "extra")
        if not field.sent:
            assert f"`{field.name}`" in operation_object["description"]


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("MatchMobile", {"application_id", "access_password"}),
        ("CreatePayment", {"sign"}),
        ("SettleWallet", {"wallet_hashid", "password", "sign"}),
        ("RefreshApplicationKey", {"application_id", "access_password", "refresh_token"}),
        ("RefreshWalletKey", {"wallet_hashid", "password", "refresh_token", "sign"}),
        ("RefreshInquiryKey", {"wallet_hashid", "password", "refresh_inquiry_key", "sign"}),
    ],
)
def test_request_body_includes_credentials_of_realm(name: str, added: set[str]) -> None:
    fields = {
        field.name for endpoint in TABLE if endpoint.request.__name__ == name for field in fields_of(endpoint.request)
    }
    fields.discard("extra")
    assert set(SCHEMAS[name]["properties"]) == fields | added


def test_query_parameters_include_credentials_of_realm() -> None:
    names = {parameter["name"] for parameter in DOCUMENT["paths"]["/wallet/settlement-requests"]["get"]["parameters"]}
    assert names == {"wallet_hashid", "track_id"}


def test_sign_is_required_for_wallet_not_for_gateway() -> None:
    assert "sign" not in SCHEMAS["CreatePayment"]["required"]
    assert "sign" in SCHEMAS["SettleWallet"]["required"]


@pytest.mark.parametrize(
    ("path", "method", "key"),
    [
        ("/bank-transfer/v2/settlement", "post", "apiKey"),
        ("/wallet/create-settlement", "post", "apiKey"),
        ("/wallet/wallets-balance", "get", "inquiryKey"),
        ("/pardakht/verify", "post", "gatewayId"),
        ("/wallet/refresh-inquiry-key", "post", None),
        ("/pardakht/payment", "get", None),
    ],
)
def test_operation_security_is_key_of_realm(path: str, method: str, key: str | None) -> None:
    assert DOCUMENT["paths"][path][method]["security"] == ([{key: []}] if key else [])


def test_payment_page_accepts_query_and_form() -> None:
    page = DOCUMENT["paths"]["/pardakht/payment"]
    assert list(page["get"]["responses"]["200"]["content"]) == ["text/html"]
    assert [parameter["name"] for parameter in page["get"]["parameters"]] == ["token"]
    assert list(page["post"]["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]


def test_build_document_explains_every_status() -> None:
    descriptions = "".join(response["description"] for response in DOCUMENT["components"]["responses"].values())
    for status, error in BY_STATUS.items():
        assert f"`{status}` {error.__name__}: " in descriptions


def test_build_document_includes_added_field() -> None:
    assert "added_number" in str(build_document(make_table(AddedRequest)))
    assert "added_number" not in str(DOCUMENT)
