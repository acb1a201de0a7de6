"""The OpenAPI document: valid, complete, and true to what travels."""

from typing import Any

import pytest
from openapi_spec_validator import validate

from paystar_async.describe import endpoints_by_service, path_variants
from paystar_async.describe.openapi import build_document, render_document
from paystar_async.endpoint import Endpoint
from paystar_async.errors import BY_STATUS
from paystar_async.models.base import fields_of
from paystar_async.settings import BASE_URL
from paystar_async.table import TABLE
from paystar_async.version import VERSION
from tests.describe.endpoints import AddedRequest, make_table

DOCUMENT = build_document()
SCHEMAS = DOCUMENT["components"]["schemas"]

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)


def operation(row: Endpoint) -> dict[str, Any]:
    return DOCUMENT["paths"][row.paths[0]][row.method.lower()]  # type: ignore[no-any-return]


def accepts(schema: dict[str, Any], value: object) -> bool:
    jsonschema: Any = pytest.importorskip("jsonschema")
    return bool(jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).is_valid(value))


def test_it_is_valid() -> None:
    validate(DOCUMENT)


def test_the_validator_would_say_so() -> None:
    broken = build_document()
    broken["paths"]["/pardakht/verify"]["post"]["operationId"] = "gateway_create"
    with pytest.raises(Exception, match="gateway_create"):
        validate(broken)


@rows
def test_every_path_of_every_row_has_an_operation(row: Endpoint) -> None:
    for path in path_variants(row):
        one = DOCUMENT["paths"][path][row.method.lower()]
        assert one["x-row"] == row.id
        assert one["tags"] == [row.service]
        assert one["x-safety"] == row.safety.value
        assert one.get("x-ask") == row.ask


def test_there_is_no_operation_of_no_row() -> None:
    assert set(DOCUMENT["paths"]) == {path for row in TABLE for path in path_variants(row)}
    assert [tag["name"] for tag in DOCUMENT["tags"]] == list(endpoints_by_service(TABLE))


@rows
def test_operation_id_of_usual_path_has_no_suffix(row: Endpoint) -> None:
    assert operation(row)["operationId"] == f"{row.service}_{row.name}"


def test_direct_gateways_and_aliases_have_operations_of_their_own() -> None:
    assert DOCUMENT["paths"]["/direct/create"]["post"]["operationId"] == "gateway_create_direct"
    assert DOCUMENT["paths"]["/application/refresh-api-key"]["post"]["operationId"].endswith("_alias")


def test_it_names_its_version_and_servers() -> None:
    assert DOCUMENT["info"]["version"] == VERSION
    live, sandbox = DOCUMENT["servers"]
    assert live["url"] == BASE_URL
    assert sandbox["url"].startswith("http://127.0.0.1:")


@rows
def test_fields_that_travel_are_there_and_those_that_do_not_are_explained(row: Endpoint) -> None:
    one = operation(row)
    if row.method == "POST":
        names = set(SCHEMAS[row.request.__name__]["properties"])
    else:
        names = {parameter["name"] for parameter in one["parameters"]}
    for field in fields_of(row.request):
        assert (field.name in names) is (field.sent and field.name != "extra")
        if not field.sent:
            assert f"`{field.name}`" in one["description"]


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
def test_a_body_holds_what_its_realm_adds(name: str, added: set[str]) -> None:
    own = {one.name for row in TABLE if row.request.__name__ == name for one in fields_of(row.request)}
    own.discard("extra")
    assert set(SCHEMAS[name]["properties"]) == own | added


def test_create_schema_takes_further_fields() -> None:
    value = {"amount": 10_000, "order_id": "1", "callback": "https://m.example/", "products": [{"id": 1}]}

    assert SCHEMAS["CreatePayment"]["additionalProperties"] is True
    assert accepts(SCHEMAS["CreatePayment"], value)


def test_a_query_holds_what_its_realm_adds() -> None:
    found = {one["name"] for one in DOCUMENT["paths"]["/wallet/settlement-requests"]["get"]["parameters"]}
    assert found == {"wallet_hashid", "track_id"}


def test_an_unsigned_gateway_may_leave_the_signature_out_and_a_wallet_may_not() -> None:
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
def test_each_realm_shows_its_own_key(path: str, method: str, key: str | None) -> None:
    assert DOCUMENT["paths"][path][method]["security"] == ([{key: []}] if key else [])


def test_the_payment_page_is_html_by_query_and_by_form() -> None:
    page = DOCUMENT["paths"]["/pardakht/payment"]
    assert list(page["get"]["responses"]["200"]["content"]) == ["text/html"]
    assert [one["name"] for one in page["get"]["parameters"]] == ["token"]
    assert list(page["post"]["requestBody"]["content"]) == ["application/x-www-form-urlencoded"]


def test_every_status_is_explained() -> None:
    said = "".join(one["description"] for one in DOCUMENT["components"]["responses"].values())
    for status, error in BY_STATUS.items():
        assert f"`{status}` {error.__name__}: " in said


@rows
def test_the_examples_fit_their_schemas(row: Endpoint) -> None:
    if row.method != "POST":
        return
    schema = SCHEMAS[row.request.__name__]
    whole = {name: one["examples"][0] for name, one in schema["properties"].items() if "examples" in one}
    added = {"application_id", "access_password", "wallet_hashid", "password", "refresh_token", "refresh_inquiry_key"}
    whole |= dict.fromkeys(added & set(schema["properties"]), "w123") | {"sign": "0" * 128}
    for name, value in whole.items():
        assert accepts(schema["properties"].get(name, {}), value), name
    assert accepts(schema, whole)


@pytest.mark.parametrize(
    ("path", "body", "fits"),
    [
        ("/bank-transfer/v2/settlement", {"status": "ok", "data": {"status": "success", "new": 1}}, True),
        ("/bank-transfer/v2/settlement", {"status": "ok", "data": [{"status": "a new word"}]}, True),
        ("/bank-transfer/v2/settlement", {"status": "ok", "data": [{"hashid": "1j18r"}]}, False),
        ("/pardakht/verify", {"status": 1, "data": {"price": 10000.0, "card_number": None}}, True),
        ("/pardakht/verify", {"status": 1, "data": {"price": "a lot"}}, False),
        ("/pardakht/verify", {"status": -6, "message": "", "data": []}, True),
        ("/pardakht/verify", {"message": "no envelope"}, False),
    ],
)
def test_answers_are_described_as_they_come(path: str, body: object, *, fits: bool) -> None:
    schema = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert accepts(schema, body) is fits


def test_amounts_say_rial() -> None:
    assert SCHEMAS["Transfer"]["properties"]["amount"]["type"] == "integer"
    for model, name in [("Transfer", "amount"), ("Balance", "available_balance"), ("Verified", "price")]:
        assert "Rial" in SCHEMAS[model]["properties"][name]["description"]


def test_a_new_field_changes_it() -> None:
    assert "added_number" in render_document(make_table(AddedRequest))
    assert "added_number" not in render_document()
