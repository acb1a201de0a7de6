"""JSON schemas accept what is sent and what the service responds."""

from typing import Any

import pytest

from paystar_async.describe.openapi import build_document
from paystar_async.endpoint import Endpoint
from paystar_async.table import TABLE

DOCUMENT = build_document()
SCHEMAS = DOCUMENT["components"]["schemas"]


def accepts(schema: dict[str, Any], value: object) -> bool:
    jsonschema: Any = pytest.importorskip("jsonschema")
    return bool(jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).is_valid(value))


def test_create_schema_allows_additional_properties() -> None:
    value = {"amount": 10_000, "order_id": "1", "callback": "https://m.example/", "products": [{"id": 1}]}

    assert SCHEMAS["CreatePayment"]["additionalProperties"] is True
    assert accepts(SCHEMAS["CreatePayment"], value)


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_request_examples_match_schemas(endpoint: Endpoint) -> None:
    if endpoint.method != "POST":
        return
    schema = SCHEMAS[endpoint.request.__name__]
    values = {
        name: field_schema["examples"][0]
        for name, field_schema in schema["properties"].items()
        if "examples" in field_schema
    }
    added = {"application_id", "access_password", "wallet_hashid", "password", "refresh_token", "refresh_inquiry_key"}
    values |= dict.fromkeys(added & set(schema["properties"]), "w123") | {"sign": "0" * 128}
    for name, value in values.items():
        assert accepts(schema["properties"].get(name, {}), value), name
    assert accepts(schema, values)


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
def test_response_schema_accepts_real_responses(path: str, body: object, *, fits: bool) -> None:
    schema = DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert accepts(schema, body) is fits


def test_amount_descriptions_name_rial() -> None:
    assert SCHEMAS["Transfer"]["properties"]["amount"]["type"] == "integer"
    for model, name in [("Transfer", "amount"), ("Balance", "available_balance"), ("Verified", "price")]:
        assert "Rial" in SCHEMAS[model]["properties"][name]["description"]
