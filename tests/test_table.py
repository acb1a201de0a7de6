"""Every row of the table, walked through everything that is made of it."""

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


async def nothing_more(paystar: Paystar, sandbox: Sandbox) -> dict[str, Any]:
    return {}


PREPARED: dict[str, Callable[[Paystar, Sandbox], Awaitable[dict[str, Any]]]] = {
    "gateway.verify": paid,
    "gateway.inquiry": paid,
}
"""What must have happened before a row can be answered, and the values that come of it."""


def method(row: Endpoint, paystar: Paystar) -> Any:
    return getattr(getattr(paystar, row.service), row.name)


@rows
def test_a_row_is_a_method_with_its_fields_and_a_docstring_that_names_them(row: Endpoint) -> None:
    call: Any = method(row, Paystar())
    parameters = inspect.signature(call).parameters
    names = {one.name for one in fields_of(row.request)}
    assert set(parameters) == names | (set() if row.kind == "page" else {"timeout"})
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters.values())
    said = inspect.getdoc(call) or ""
    assert all(path in said for path in row.paths)
    assert all(f"{name}:" in said for name in parameters)


@rows
async def test_the_sandbox_answers_a_row_with_its_own_type(row: Endpoint) -> None:
    sandbox = Sandbox()
    async with Paystar(
        sandbox.application, sandbox.gateway, sandbox.wallet, engine=sandbox.engine(), checks="strict"
    ) as paystar:
        values = example_of(row.request) | await PREPARED.get(row.id, nothing_more)(paystar, sandbox)
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
def test_a_row_has_its_command_with_every_field(row: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    paystar_command(["call", row.service, row.name.replace("_", "-"), "--help"])
    said = capsys.readouterr().out
    assert all(f"--{one.name.replace('_', '-')}" in said for one in fields_of(row.request))


@rows
def test_a_row_has_its_operation_in_openapi(row: Endpoint) -> None:
    for path in describe.path_variants(row):
        assert row.method.lower() in OPENAPI["paths"][path]


@rows
def test_a_row_has_its_entry_in_the_readme(row: Endpoint) -> None:
    names = ", ".join(one.name for one in fields_of(row.request))
    assert f"**`{row.name}({names})`**" in README
    assert all(f"`{path}`" in README for path in row.paths)


def test_nothing_that_is_shown_goes_unexplained() -> None:
    assert describe.find_undocumented() == []


def test_a_request_class_names_one_row() -> None:
    assert len(BY_REQUEST) == len(BY_ID) == len(TABLE)


@rows
def test_what_moves_something_names_who_knows_what_became_of_it(row: Endpoint) -> None:
    if row.lookup is not None:
        assert BY_ID[row.lookup].safety is Safety.READ
        assert row.safety is Safety.ONCE
    # Nobody can tell of a lost create or renewal: a payment is created anew, a key is asked for again.
    if row.safety is Safety.ONCE and row.lookup is None:
        assert row.id == "gateway.create" or row.refresh_token_field


def test_every_key_that_expires_has_a_row_that_renews_it() -> None:
    assert {realm.value for realm in REFRESH_ENDPOINTS} == {"application", "wallet", "inquiry"}
