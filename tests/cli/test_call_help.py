"""Every endpoint of the table has a command, and its help describes every field."""

import re

import pytest

from paystar_async.cli.call import make_command
from paystar_async.describe import endpoints_by_service
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import fields_of
from paystar_async.table import TABLE
from tests.cli.conftest import Run


def normalize(text: str) -> str:
    """Return a text without box characters, backticks and line breaks."""
    return re.sub(r"[\s│•]+", " ", text.replace("`", ""))


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_call_help_describes_every_field(endpoint: Endpoint, run: Run) -> None:
    result = run("call", endpoint.service, endpoint.name, "--help")
    help_text = normalize(result.out)
    assert result.status == 0
    assert normalize(endpoint.doc) in help_text
    for field in fields_of(endpoint.request):
        assert f"--{field.name.replace('_', '-')}" in help_text
        assert field.field_type is not None
        assert normalize(field.doc) in help_text
        assert normalize(field.field_type.expected) in help_text
        for item_field in fields_of(field.item) if field.item else ():
            suffix = "" if item_field.required else " (optional)"
            assert f"{item_field.name}{suffix}: {normalize(item_field.doc)}" in help_text
    assert ("--yes" in help_text) is (endpoint.safety is Safety.ONCE)
    assert ("--timeout" in help_text) is (endpoint.kind == "call")


@pytest.mark.parametrize("service", endpoints_by_service(TABLE))
def test_call_service_help_lists_endpoints(service: str, run: Run) -> None:
    help_text = run("call", service, "--help").out
    for endpoint in endpoints_by_service(TABLE)[service]:
        assert endpoint.name.replace("_", "-") in help_text


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_make_command_fields_do_not_clash_with_options(endpoint: Endpoint) -> None:
    assert not {field.name for field in fields_of(endpoint.request)} & {"timeout", "raw", "yes", "help"}
    assert make_command(endpoint).__doc__


def test_help_lists_every_command(run: Run) -> None:
    help_text = run("--help").out
    assert all(name in help_text for name in ("call", "doctor", "sandbox", "demo", "--version"))


def test_call_has_no_option_for_a_secret(run: Run) -> None:
    for endpoint in TABLE:
        help_text = run("call", endpoint.service, endpoint.name, "--help").out
        for secret in ("password", "api-key", "refresh-token", "sign-key", "gateway-id", "inquiry-key"):
            assert f"--{secret}" not in help_text, endpoint.id
