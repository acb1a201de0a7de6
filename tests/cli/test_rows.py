"""Every row of the table has a command, and its help explains every field."""

import re

import pytest

from paystar_async.cli.call import command
from paystar_async.describe import endpoints_by_service
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import fields_of
from paystar_async.table import TABLE
from tests.cli.conftest import Run


def flat(text: str) -> str:
    return re.sub(r"[\s│•]+", " ", text.replace("`", ""))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_the_help_of_a_row_names_every_field_with_its_doc_and_shape(row: Endpoint, run: Run) -> None:
    ran = run("call", row.service, row.name, "--help")
    said = flat(ran.out)
    assert ran.status == 0
    assert flat(row.doc) in said
    for one in fields_of(row.request):
        assert f"--{one.name.replace('_', '-')}" in said
        assert one.kind is not None
        assert flat(one.doc) in said
        assert flat(one.kind.shape) in said
        for inner in fields_of(one.item) if one.item else ():
            assert f"{inner.name}{'' if inner.required else ' (optional)'}: {flat(inner.doc)}" in said
    assert ("--yes" in said) is (row.safety is Safety.ONCE)
    assert ("--timeout" in said) is (row.kind == "call")


@pytest.mark.parametrize("service", endpoints_by_service(TABLE))
def test_a_service_lists_its_rows(service: str, run: Run) -> None:
    said = run("call", service, "--help").out
    for row in endpoints_by_service(TABLE)[service]:
        assert row.name.replace("_", "-") in said


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_no_field_is_hidden_by_a_switch(row: Endpoint) -> None:
    assert not {one.name for one in fields_of(row.request)} & {"timeout", "raw", "yes", "help"}
    assert command(row).__doc__


def test_every_command_is_listed(run: Run) -> None:
    said = run("--help").out
    assert all(name in said for name in ("call", "doctor", "sandbox", "demo", "--version"))


def test_a_secret_has_no_option(run: Run) -> None:
    for row in TABLE:
        said = run("call", row.service, row.name, "--help").out
        for secret in ("password", "api-key", "refresh-token", "sign-key", "gateway-id", "inquiry-key"):
            assert f"--{secret}" not in said, row.id
