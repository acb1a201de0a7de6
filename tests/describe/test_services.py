"""The generated methods: what they are called with, what they send, what they say."""

import importlib.util
import inspect
import subprocess
import sys
from typing import Any, TypeVar

import pytest

from paystar_async import services
from paystar_async.describe import endpoints_by_service, path_variants
from paystar_async.describe.services import class_name, generate_source
from paystar_async.endpoint import Endpoint, Response, Safety
from paystar_async.models.base import Call, answer_type, fields_of
from paystar_async.table import TABLE
from tests.describe.endpoints import WideRequest, example_values, make_endpoint, make_table

T = TypeVar("T")

PROMISED = {
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
    "keys.refresh_application_key": "-> RenewedKey",
    "keys.refresh_wallet_key": "-> RenewedKey",
    "keys.refresh_inquiry_key": "-> RenewedInquiryKey",
}
"""The names the README promises. They are written out here because changing one breaks every caller."""

rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)


class Recorder:
    """A caller that keeps what it is given and answers with an object of its own."""

    def __init__(self) -> None:
        self.given: list[tuple[Call[Any], float | None]] = []
        self.answer: Any = object()

    async def send(self, value: Call[T], /, *, timeout: float | None = None) -> Response[T]:
        self.given.append((value, timeout))
        return Response(value=self.answer, status=1, message="", http_status=200, headers={}, body=b"")

    def page(self, value: Call[str], /) -> str:
        self.given.append((value, None))
        return "https://a.page"


def method(row: Endpoint, caller: services.Caller | None = None) -> Any:
    calls = getattr(services, class_name(row.service))
    return getattr(calls(caller) if caller else calls, row.name)


def test_the_services_come_in_table_order() -> None:
    made = [name for name in vars(services) if name.endswith("Calls")]
    assert made == [class_name(name) for name in endpoints_by_service(TABLE)]
    assert made == ["IdentityCalls", "InquiryCalls", "TransfersCalls", "GatewayCalls", "WalletCalls", "KeysCalls"]


def test_a_service_has_its_rows_and_nothing_else() -> None:
    for service, its_rows in endpoints_by_service(TABLE).items():
        calls: type = getattr(services, class_name(service))
        public = [name for name in vars(calls) if not name.startswith("_")]
        assert public == [row.name for row in its_rows]


def test_the_promised_names_are_all_there() -> None:
    assert [row.id for row in TABLE] == list(PROMISED)


@rows
def test_a_method_has_the_promised_signature(row: Endpoint) -> None:
    signature = inspect.signature(method(row))
    parameters = [one for one in signature.parameters.values() if one.name not in ("self", "timeout")]
    shown = [one.name if one.default is one.empty else f"{one.name}={one.default}" for one in parameters]
    answer = signature.return_annotation
    name = str(answer).replace("paystar_async.models.transfers.", "") if "[" in str(answer) else answer.__name__
    assert " ".join((*shown, "->", name)) == PROMISED[row.id]


@rows
def test_a_method_takes_exactly_the_fields_of_its_request_by_name(row: Endpoint) -> None:
    parameters = dict(inspect.signature(method(row)).parameters)
    del parameters["self"]
    timeout = parameters.pop("timeout", None)
    assert (timeout is None) is (row.kind == "page")
    assert set(parameters) == {one.name for one in fields_of(row.request)}
    for one in fields_of(row.request):
        assert parameters[one.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert (parameters[one.name].default is inspect.Parameter.empty) is one.required
    assert inspect.signature(method(row)).return_annotation == answer_type(row.request)


@rows
async def test_a_method_sends_its_request_and_gives_the_answer(row: Endpoint) -> None:
    caller, values = Recorder(), example_values(row.request)
    if row.kind == "page":
        assert method(row, caller)(**values) == "https://a.page"
        assert caller.given == [(row.request(**values), None)]
        return
    assert await method(row, caller)(**values, timeout=2.5) is caller.answer
    assert caller.given == [(row.request(**values), 2.5)]


@rows
async def test_what_is_left_out_is_left_to_the_request_and_the_client(row: Endpoint) -> None:
    caller = Recorder()
    values = {name: value for name, value in example_values(row.request).items() if name in required(row)}
    made = method(row, caller)(**values)
    if row.kind == "call":
        await made
    assert caller.given == [(row.request(**values), None)]


def required(row: Endpoint) -> set[str]:
    return {one.name for one in fields_of(row.request) if one.required}


@rows
def test_a_docstring_says_path_fields_units_and_errors(row: Endpoint) -> None:
    said = inspect.getdoc(method(row)) or ""
    flowing = " ".join(said.split())
    assert said.startswith(row.doc)
    for path in path_variants(row):
        assert f"``{row.method} {path}``" in flowing
    for one in fields_of(row.request):
        assert one.kind is not None
        assert f" {one.name}: {one.doc}" in flowing
        assert one.kind.shape in flowing
        if one.kind.name.startswith("amount"):
            assert "Rial" in flowing
    errors = ["ConfigurationError"] + (["InvalidValue"] if fields_of(row.request) else [])
    if row.kind == "call":
        errors += ["NotSent", "Unanswered", "BadAnswer", "StatusError"]
        assert " timeout: " in flowing
    raised = said.partition("Raises:")[2]
    assert [
        line.partition(":")[0].strip() for line in raised.splitlines() if line[:5].strip() and ":" in line
    ] == errors


@rows
def test_a_docstring_says_what_is_known_after_an_error(row: Endpoint) -> None:
    said = " ".join((inspect.getdoc(method(row)) or "").split())
    assert ("it may have happened" in said) is (row.safety is Safety.ONCE)
    assert (said.count("nothing can have happened") == 4) is (row.safety is Safety.READ and row.kind == "call")
    if row.ask:
        assert said.count(f"ask ``{row.ask}`` before you call again") == 3


def test_a_file_says_that_it_is_generated_and_by_what() -> None:
    assert "Generated" in (services.__doc__ or "")
    assert "python -m paystar_async.describe" in (services.__doc__ or "")


def test_a_row_that_is_too_wide_for_a_line_still_compiles() -> None:
    text = generate_source(make_table(WideRequest))
    compile(text, "services.py", "exec")
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize(
    "table", [TABLE, make_table(WideRequest), (make_endpoint(WideRequest, kind="page"),)], ids=["table", "wide", "page"]
)
@pytest.mark.parametrize("command", [("format", "--check"), ("check",)], ids=lambda command: command[0])
def test_the_formatter_and_the_linter_have_nothing_to_add(
    table: tuple[Endpoint, ...], command: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", "paystar_async/services.py", "-"],
        input=generate_source(table),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
