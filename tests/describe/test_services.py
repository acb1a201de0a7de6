"""The generated methods: signatures, requests and docstrings."""

import importlib.util
import inspect
import subprocess
import sys
from typing import Any, TypeVar

import pytest

from paystar_async import services
from paystar_async.describe import endpoints_by_service, path_variants
from paystar_async.describe.services import class_name, generate_source
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import Call, fields_of, response_type
from paystar_async.response import Response
from paystar_async.table import TABLE
from tests.describe.endpoints import WideRequest, example_values, make_endpoint, make_table

T = TypeVar("T")

PUBLIC_SIGNATURES = {
    "identity.match_mobile": "national_id mobile_number -> Match",
    "identity.match_card": "national_id card_number birth_date -> Match",
    "identity.match_iban": "national_id iban birth_date -> Match",
    "inquiry.account_to_iban": "account_number bank_id -> IbanInfo",
    "inquiry.card_to_iban": "card -> IbanInfo",
    "inquiry.iban": "iban -> IbanInfo",
    "transfers.settle": "transfers -> list[Settlement]",
    "transfers.find": "deposit=None track_id=None limit=None skip=None -> list[Settlement]",
    "transfers.balance": "account_number -> Balance",
    "transfers.statement": "account_number from_date to_date=None -> Statement",
    "gateway.create": "amount order_id callback name=None phone=None mail=None description=None allotment=None "
    "callback_method=None wallet_hashid=None national_code=None card_number=None referer_id=None extra={} -> Created",
    "gateway.payment_url": "token -> str",
    "gateway.verify": "ref_num amount card_number tracking_code -> Verified",
    "gateway.inquiry": "ref_num amount=None card_number=None tracking_code=None -> GatewayTransaction",
    "wallet.settle": "transfers withdraw_type=None -> Accepted",
    "wallet.find": "track_id -> list[Settlement]",
    "wallet.balance": "-> WalletBalance",
    "keys.refresh_application_key": "-> NewApiKey",
    "keys.refresh_wallet_key": "-> NewApiKey",
    "keys.refresh_inquiry_key": "-> NewInquiryKey",
}
"""The signatures the reference documents. They are written out because changing a name breaks every caller."""

all_endpoints = pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)


class Recorder:
    """A caller that records its arguments and returns a fixed value."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call[Any], float | None]] = []
        self.value: Any = object()

    async def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        self.calls.append((value, timeout))
        return Response(value=self.value, status=1, message="", http_status=200, headers={}, body=b"")

    def page(self, value: Call[str], /) -> str:
        self.calls.append((value, None))
        return "https://a.page"


def method(endpoint: Endpoint, caller: services.Caller | None = None) -> Any:
    calls = getattr(services, class_name(endpoint.service))
    return getattr(calls(caller) if caller else calls, endpoint.name)


def test_services_are_in_table_order() -> None:
    names = [name for name in vars(services) if name.endswith("Calls")]
    assert names == [class_name(name) for name in endpoints_by_service(TABLE)]
    assert names == ["IdentityCalls", "InquiryCalls", "TransfersCalls", "GatewayCalls", "WalletCalls", "KeysCalls"]


def test_service_class_has_exactly_its_endpoints() -> None:
    for service, endpoints in endpoints_by_service(TABLE).items():
        calls: type = getattr(services, class_name(service))
        public = [name for name in vars(calls) if not name.startswith("_")]
        assert public == [endpoint.name for endpoint in endpoints]


def test_public_signatures_cover_the_table() -> None:
    assert [endpoint.id for endpoint in TABLE] == list(PUBLIC_SIGNATURES)


@all_endpoints
def test_method_has_public_signature(endpoint: Endpoint) -> None:
    signature = inspect.signature(method(endpoint))
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name not in ("self", "timeout")]
    parameter_texts = [
        each.name if each.default is each.empty else f"{each.name}={each.default}" for each in parameters
    ]
    returned = signature.return_annotation
    name = str(returned).replace("paystar_async.models.transfers.", "") if "[" in str(returned) else returned.__name__
    assert " ".join((*parameter_texts, "->", name)) == PUBLIC_SIGNATURES[endpoint.id]


@all_endpoints
def test_method_parameters_are_request_fields(endpoint: Endpoint) -> None:
    parameters = dict(inspect.signature(method(endpoint)).parameters)
    del parameters["self"]
    timeout = parameters.pop("timeout", None)
    assert (timeout is None) is (endpoint.kind == "page")
    assert set(parameters) == {field.name for field in fields_of(endpoint.request)}
    for field in fields_of(endpoint.request):
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert (parameters[field.name].default is inspect.Parameter.empty) is field.required
    assert inspect.signature(method(endpoint)).return_annotation == response_type(endpoint.request)


@all_endpoints
async def test_method_sends_request_and_returns_value(endpoint: Endpoint) -> None:
    caller, values = Recorder(), example_values(endpoint.request)
    if endpoint.kind == "page":
        assert method(endpoint, caller)(**values) == "https://a.page"
        assert caller.calls == [(endpoint.request(**values), None)]
        return
    assert await method(endpoint, caller)(**values, timeout=2.5) is caller.value
    assert caller.calls == [(endpoint.request(**values), 2.5)]


@all_endpoints
async def test_method_omitted_parameters_use_defaults(endpoint: Endpoint) -> None:
    caller = Recorder()
    values = {name: value for name, value in example_values(endpoint.request).items() if name in required(endpoint)}
    result = method(endpoint, caller)(**values)
    if endpoint.kind == "call":
        await result
    assert caller.calls == [(endpoint.request(**values), None)]


def required(endpoint: Endpoint) -> set[str]:
    return {field.name for field in fields_of(endpoint.request) if field.required}


@all_endpoints
def test_method_docstring_names_paths_fields_and_errors(endpoint: Endpoint) -> None:
    docstring = inspect.getdoc(method(endpoint)) or ""
    unwrapped = " ".join(docstring.split())
    assert docstring.startswith(endpoint.doc)
    for path in path_variants(endpoint):
        assert f"``{endpoint.method} {path}``" in unwrapped
    for field in fields_of(endpoint.request):
        assert field.field_type is not None
        assert f" {field.name}: {field.doc}" in unwrapped
        assert field.field_type.expected in unwrapped
        if field.field_type.name.startswith("amount"):
            assert "Rial" in unwrapped
    errors = ["ConfigurationError"] + (["InvalidValue"] if fields_of(endpoint.request) else [])
    if endpoint.kind == "call":
        errors += ["NotSent", "NoResponse", "InvalidResponse", "StatusError"]
        assert " timeout: " in unwrapped
    raises = docstring.partition("Raises:")[2]
    assert [
        line.partition(":")[0].strip() for line in raises.splitlines() if line[:5].strip() and ":" in line
    ] == errors


@all_endpoints
def test_method_docstring_says_what_is_known_after_error(endpoint: Endpoint) -> None:
    docstring = " ".join((inspect.getdoc(method(endpoint)) or "").split())
    assert ("it may have been executed" in docstring) is (endpoint.safety is Safety.ONCE)
    assert (docstring.count("it had no effect") == 4) is (endpoint.safety is Safety.READ and endpoint.kind == "call")
    if endpoint.lookup:
        assert docstring.count(f"look it up with ``{endpoint.lookup}`` before you call again") == 3


def test_services_docstring_names_generator() -> None:
    assert "Generated" in (services.__doc__ or "")
    assert "python -m paystar_async.describe" in (services.__doc__ or "")


def test_generate_source_wraps_long_lines() -> None:
    text = generate_source(make_table(WideRequest))
    compile(text, "services.py", "exec")
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize(
    "table", [TABLE, make_table(WideRequest), (make_endpoint(WideRequest, kind="page"),)], ids=["table", "wide", "page"]
)
@pytest.mark.parametrize("command", [("format", "--check"), ("check",)], ids=lambda command: command[0])
@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
def test_generate_source_passes_ruff(table: tuple[Endpoint, ...], command: tuple[str, ...], blocking: bool) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", "paystar_async/services.py", "-"],
        input=generate_source(table, blocking=blocking),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
