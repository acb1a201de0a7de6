"""Every endpoint of the table in each artifact: methods, sandbox, commands, OpenAPI, reference."""

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_origin

import pytest

from paystar_async import Paystar, describe
from paystar_async.cli import main as paystar_command
from paystar_async.describe.openapi import build_document
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import fields_of, response_type
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_ID, BY_REQUEST, REFRESH_ENDPOINTS, TABLE

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "paystar_async" / "docs" / "reference.md").read_text(encoding="utf-8")
OPENAPI = build_document()

each_endpoint = pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)


def example_of(model: type) -> dict[str, Any]:
    """Return values for the required fields of a model, each the example of its type."""
    return {
        field.name: [example_of(field.item)] if field.item else field.field_type.example
        for field in fields_of(model)
        if field.required and field.field_type
    }


async def prepare_paid_order(paystar: Paystar, sandbox: Sandbox) -> dict[str, Any]:
    created = await paystar.gateway.create(**example_of(BY_ID["gateway.create"].request))
    fields = sandbox.pay(created.token)
    return {
        "ref_num": created.ref_num,
        "amount": example_of(BY_ID["gateway.create"].request)["amount"],
        "card_number": fields["card_number"],
        "tracking_code": fields["tracking_code"],
    }


async def prepare_nothing(paystar: Paystar, sandbox: Sandbox) -> dict[str, Any]:
    return {}


PREPARATIONS: dict[str, Callable[[Paystar, Sandbox], Awaitable[dict[str, Any]]]] = {
    "gateway.verify": prepare_paid_order,
    "gateway.inquiry": prepare_paid_order,
}
"""Preparations of endpoints by id; they return the values to call with."""


def method(endpoint: Endpoint, paystar: Paystar) -> Any:
    return getattr(getattr(paystar, endpoint.service), endpoint.name)


@each_endpoint
def test_endpoint_method_has_documented_fields(endpoint: Endpoint) -> None:
    call: Any = method(endpoint, Paystar())
    parameters = inspect.signature(call).parameters
    names = {field.name for field in fields_of(endpoint.request)}
    assert set(parameters) == names | (set() if endpoint.kind == "page" else {"timeout"})
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())
    doc = inspect.getdoc(call) or ""
    assert all(path in doc for path in endpoint.paths)
    assert all(f"{name}:" in doc for name in parameters)


@each_endpoint
async def test_endpoint_sandbox_response_has_declared_type(endpoint: Endpoint) -> None:
    sandbox = Sandbox()
    async with Paystar(
        sandbox.application, sandbox.gateway, sandbox.wallet, engine=sandbox.engine(), checks="strict"
    ) as paystar:
        values = example_of(endpoint.request) | await PREPARATIONS.get(endpoint.id, prepare_nothing)(paystar, sandbox)
        if endpoint.kind == "page":
            assert endpoint.paths[0] in method(endpoint, paystar)(**values)
            return
        value = await method(endpoint, paystar)(**values)
        response = await paystar.send(endpoint.request(**values)) if endpoint.safety is Safety.READ else None
    expected: Any = response_type(endpoint.request)
    origin: Any = get_origin(expected)
    assert isinstance(value, origin or expected)
    assert response is None or type(response.value) is type(value)
    assert sandbox.stats["requests"][endpoint.id] == (1 if response is None else 2)


@each_endpoint
def test_endpoint_command_has_every_field(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    paystar_command(["call", endpoint.service, endpoint.name.replace("_", "-"), "--help"])
    help_text = capsys.readouterr().out
    assert all(f"--{field.name.replace('_', '-')}" in help_text for field in fields_of(endpoint.request))


@each_endpoint
def test_endpoint_has_openapi_operation(endpoint: Endpoint) -> None:
    for path in describe.path_variants(endpoint):
        assert endpoint.method.lower() in OPENAPI["paths"][path]


@each_endpoint
def test_endpoint_has_reference_entry(endpoint: Endpoint) -> None:
    names = ", ".join(field.name for field in fields_of(endpoint.request))
    assert f"**`{endpoint.name}({names})`**" in REFERENCE
    assert all(f"`{path}`" in REFERENCE for path in endpoint.paths)


def test_table_public_names_are_documented() -> None:
    assert describe.find_undocumented() == []


def test_table_request_classes_are_unique() -> None:
    assert len(BY_REQUEST) == len(BY_ID) == len(TABLE)


@each_endpoint
def test_endpoint_once_has_lookup_endpoint(endpoint: Endpoint) -> None:
    if endpoint.lookup is not None:
        assert BY_ID[endpoint.lookup].safety is Safety.READ
        assert endpoint.safety is Safety.ONCE
    # The status of a lost create or refresh cannot be looked up: the payment is created again, the key refreshed again.
    if endpoint.safety is Safety.ONCE and endpoint.lookup is None:
        assert endpoint.id == "gateway.create" or endpoint.refresh_token_field


def test_refresh_endpoints_cover_every_realm() -> None:
    assert {realm.value for realm in REFRESH_ENDPOINTS} == {"application", "wallet", "inquiry"}
