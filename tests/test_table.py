"""Every endpoint of the table in all that is generated from the table."""

import inspect
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_origin

import pytest

from paystar_async import Paystar, describe
from paystar_async.cli import main as paystar_command
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import fields_of, response_type
from paystar_async.sandbox import Sandbox
from paystar_async.table import BY_ID, BY_REQUEST, REFRESH_ENDPOINTS, TABLE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPENAPI = json.loads((ROOT / "paystar_async" / "describe" / "openapi.json").read_text(encoding="utf-8"))

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)


def example_of(model: type) -> dict[str, Any]:
    """Values for a model's required fields, each the example of its kind."""
    return {
        one.name: [example_of(one.item)] if one.item else one.field_type.example
        for one in fields_of(model)
        if one.required and one.field_type
    }


async def paid(paystar: Paystar, sandbox: Sandbox) -> dict[str, Any]:
    created = await paystar.gateway.create(**example_of(BY_ID["gateway.create"].request))
    fields = sandbox.pay(created.token)
    return {
        "ref_num": created.ref_num,
        "amount": example_of(BY_ID["gateway.create"].request)["amount"],
        "card_number": fields["card_number"],
        "tracking_code": fields["tracking_code"],
    }


async def no_preparation(paystar: Paystar, sandbox: Sandbox) -> dict[str, Any]:
    return {}


PREPARED: dict[str, Callable[[Paystar, Sandbox], Awaitable[dict[str, Any]]]] = {
    "gateway.verify": paid,
    "gateway.inquiry": paid,
}
"""Preparations of endpoints by id; they return the values to call with."""


def method(row: Endpoint, paystar: Paystar) -> Any:
    return getattr(getattr(paystar, row.service), row.name)


@rows
def test_endpoint_method_has_documented_fields(row: Endpoint) -> None:
    call: Any = method(row, Paystar())
    parameters = inspect.signature(call).parameters
    names = {one.name for one in fields_of(row.request)}
    assert set(parameters) == names | (set() if row.kind == "page" else {"timeout"})
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters.values())
    doc = inspect.getdoc(call) or ""
    assert all(path in doc for path in row.paths)
    assert all(f"{name}:" in doc for name in parameters)


@rows
async def test_endpoint_sandbox_response_has_declared_type(row: Endpoint) -> None:
    sandbox = Sandbox()
    async with Paystar(
        sandbox.application, sandbox.gateway, sandbox.wallet, engine=sandbox.engine(), checks="strict"
    ) as paystar:
        values = example_of(row.request) | await PREPARED.get(row.id, no_preparation)(paystar, sandbox)
        if row.kind == "page":
            assert row.paths[0] in method(row, paystar)(**values)
            return
        answer = await method(row, paystar)(**values)
        whole = await paystar.send(row.request(**values)) if row.safety is Safety.READ else None
    wanted: Any = response_type(row.request)
    origin: Any = get_origin(wanted)
    assert isinstance(answer, origin or wanted)
    assert whole is None or type(whole.value) is type(answer)
    assert sandbox.stats["requests"][row.id] == (1 if whole is None else 2)


@rows
def test_endpoint_command_has_every_field(row: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    paystar_command(["call", row.service, row.name.replace("_", "-"), "--help"])
    help_text = capsys.readouterr().out
    assert all(f"--{one.name.replace('_', '-')}" in help_text for one in fields_of(row.request))


@rows
def test_endpoint_has_openapi_operation(row: Endpoint) -> None:
    for path in describe.path_variants(row):
        assert row.method.lower() in OPENAPI["paths"][path]


@rows
def test_endpoint_has_readme_entry(row: Endpoint) -> None:
    names = ", ".join(one.name for one in fields_of(row.request))
    assert f"**`{row.name}({names})`**" in README
    assert all(f"`{path}`" in README for path in row.paths)


def test_table_public_names_are_documented() -> None:
    assert describe.find_undocumented() == []


def test_table_request_classes_are_unique() -> None:
    assert len(BY_REQUEST) == len(BY_ID) == len(TABLE)


@rows
def test_endpoint_once_has_lookup_endpoint(row: Endpoint) -> None:
    if row.lookup is not None:
        assert BY_ID[row.lookup].safety is Safety.READ
        assert row.safety is Safety.ONCE
    # The status of a lost create or refresh cannot be looked up: the payment is created again, the key refreshed again.
    if row.safety is Safety.ONCE and row.lookup is None:
        assert row.id == "gateway.create" or row.refresh_token_field


def test_refresh_endpoints_cover_every_realm() -> None:
    assert {realm.value for realm in REFRESH_ENDPOINTS} == {"application", "wallet", "inquiry"}
