"""The public API: every name and every signature, to the letter."""

import importlib
import inspect
import pickle
import subprocess
import sys
from typing import Any, get_type_hints

import pytest

import paystar_async
from paystar_async import (
    Application,
    Callback,
    Gateway,
    Paystar,
    Response,
    Rial,
    Toman,
    Transfer,
    Wallet,
    WalletTransfer,
)
from paystar_async import errors as all_errors
from paystar_async.errors import (
    BY_STATUS,
    GatewayError,
    PaystarError,
    StatusError,
    http_may_have_executed,
    status_class,
)
from paystar_async.models.gateway import Created, GatewayTransaction, Verified
from paystar_async.models.identity import Match
from paystar_async.models.inquiry import IbanInfo
from paystar_async.models.keys import NewApiKey, NewInquiryKey
from paystar_async.models.transfers import Balance, Settlement, Statement
from paystar_async.models.wallet import WalletBalance
from paystar_async.payments import Payment
from paystar_async.table import TABLE

CLIENT = Paystar()


def signature_of(call: Any) -> str:
    """Return the parameters of a callable as a text: names, defaults, ``*`` and ``/``; ``timeout=None`` is left out."""
    parts: list[str] = []
    keyword_only = False
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parts.append("*")
        if parameter.name == "timeout" and parameter.default is None:
            continue
        parts.append(parameter.name + ("" if parameter.default is parameter.empty else f"={parameter.default!r}"))
        if parameter.kind is parameter.POSITIONAL_ONLY:
            parts.append("/")
        if parameter.kind is parameter.VAR_KEYWORD:
            parts[-1] = f"**{parameter.name}"
    return ", ".join(parts)


ENDPOINTS = {
    "identity.match_mobile": ("*, national_id, mobile_number", Match),
    "identity.match_card": ("*, national_id, card_number, birth_date", Match),
    "identity.match_iban": ("*, national_id, iban, birth_date", Match),
    "inquiry.account_to_iban": ("*, account_number, bank_id", IbanInfo),
    "inquiry.card_to_iban": ("*, card", IbanInfo),
    "inquiry.iban": ("*, iban", IbanInfo),
    "transfers.settle": ("*, transfers", list[Settlement]),
    "transfers.find": ("*, deposit=None, track_id=None, limit=None, skip=None", list[Settlement]),
    "transfers.balance": ("*, account_number", Balance),
    "transfers.statement": ("*, account_number, from_date, to_date=None", Statement),
    "gateway.create": (
        "*, amount, order_id, callback, name=None, phone=None, mail=None, description=None, allotment=None, "
        "callback_method=None, wallet_hashid=None, national_code=None, card_number=None, referer_id=None, extra={}",
        Created,
    ),
    "gateway.payment_url": ("*, token", str),
    "gateway.verify": ("*, ref_num, amount, card_number, tracking_code", Verified),
    "gateway.inquiry": ("*, ref_num, amount=None, card_number=None, tracking_code=None", GatewayTransaction),
    "wallet.settle": ("*, transfers, withdraw_type=None", None),
    "wallet.find": ("*, track_id", list[Settlement]),
    "wallet.balance": ("*", WalletBalance),
    "keys.refresh_application_key": ("*", NewApiKey),
    "keys.refresh_wallet_key": ("*", NewApiKey),
    "keys.refresh_inquiry_key": ("*", NewInquiryKey),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoint_method_has_public_signature(endpoint: str) -> None:
    service, name = endpoint.split(".")
    method = getattr(getattr(CLIENT, service), name)
    signature, response_type = ENDPOINTS[endpoint]

    assert signature_of(method) == signature
    if response_type is not None:
        assert get_type_hints(method)["return"] == response_type
    assert ("timeout" in inspect.signature(method).parameters) is (endpoint != "gateway.payment_url")


def test_table_has_only_public_endpoints() -> None:
    assert {endpoint.id for endpoint in TABLE} == set(ENDPOINTS)


FLOWS = {
    "transfers.wait": "*, track_id, deposit=None, timeout=120.0",
    "wallet.wait": "*, track_id, timeout=120.0",
    "transfers.batch": "transfers, chunk=20",
    "keys.replace": "realm, *, token, refresh_token=None, expires_at=None",
}


@pytest.mark.parametrize("flow", FLOWS)
def test_flow_has_public_signature(flow: str) -> None:
    service, name = flow.split(".")

    assert signature_of(getattr(getattr(CLIENT, service), name)) == FLOWS[flow]


def test_flow_with_optional_parameters_has_public_part() -> None:
    assert signature_of(CLIENT.transfers.iterate).startswith("*, deposit=None")
    assert signature_of(CLIENT.payments.confirm) in (
        "callback, *, amount=None, order_id=None",
        "callback, amount=None, order_id=None",
    )
    assert signature_of(CLIENT.send) == "value, /, *"
    assert inspect.isasyncgenfunction(CLIENT.transfers.batch)
    assert inspect.isasyncgenfunction(CLIENT.transfers.iterate)
    assert [field.name for field in Payment.__attrs_attrs__] == ["outcome", "order_id", "ref_num", "amount"]  # pyright: ignore


def test_client_has_public_parameters() -> None:
    signature = signature_of(Paystar)

    assert signature.startswith(
        "application=None, gateway=None, wallet=None, *, base_url='https://core.paystar.ir/api'"
    )
    names = set(inspect.signature(Paystar).parameters)
    assert {"concurrency", "checks", "keys", "engine", "middleware", "clock", "on_event", "max_retries"} <= names
    defaults = {name: parameter.default for name, parameter in inspect.signature(Paystar).parameters.items()}
    assert (defaults["concurrency"], defaults["checks"], defaults["engine"]) == (16, "shape", "auto")
    assert (defaults["keys"], defaults["middleware"], defaults["clock"], defaults["on_event"]) == (None, (), None, None)
    assert signature_of(Paystar.from_env) == "**overrides"


def test_credentials_and_transfers_have_public_parameters() -> None:
    assert signature_of(Application) == "*, id, access_password, api_key=None, refresh_token=None"
    assert signature_of(Gateway) == "*, id, sign_key=None, direct=False"
    assert signature_of(Wallet) == (
        "*, hashid, password, sign_key, api_key=None, refresh_token=None, inquiry_key=None, refresh_inquiry_key=None"
    )
    assert signature_of(Transfer) == (
        "*, amount, deposit, destination_account, destination_firstname, destination_lastname, track_id, pay_id=None"
    )
    assert (
        signature_of(WalletTransfer)
        == "*, amount, destination_number, destination_firstname, destination_lastname, track_id"
    )


def test_response_models_have_public_attributes() -> None:
    def fields(cls: Any) -> set[str]:
        return {field.name for field in cls.__attrs_attrs__}

    assert {"value", "status", "message", "http_status", "headers", "body"} <= fields(Response)
    assert {"is_matched", "extra"} == fields(Match)
    assert {"iban", "bank_id", "bank_name", "deposit", "deposit_status", "owners", "extra"} == fields(IbanInfo)
    assert {"hashid", "track_id", "status", "message", "ref_code", "extra"} == fields(Settlement)
    assert {"balance", "available_balance"} <= fields(Balance)
    assert {"token", "ref_num", "order_id", "payment_amount"} <= fields(Created)
    assert {"price", "ref_num", "card_number"} <= fields(Verified)
    assert {"total_amount", "available_amount"} <= fields(WalletBalance)
    callback = {"status", "order_id", "ref_num", "transaction_id", "card_number", "hashed_card_number", "tracking_code"}
    assert fields(Callback) == callback


def test_toman_returns_rial_as_int() -> None:
    assert Toman(5_000) == Rial(50_000) == 50_000
    assert type(Toman(1)) is int


# --- errors -----------------------------------------------------------------------------------------------------------

SUBCLASSES = {
    "PaystarError": (
        "ConfigurationError InvalidValue NotSent NoResponse InvalidResponse StatusError TrackIdConflict StorageError"
    ),
    "StatusError": (
        "ServerFault ApplicationNotFound ApplicationInactive InvalidToken ExpiredToken WrongAccessPassword "
        "IpNotAllowed ServiceDisabled InsufficientBalance InvalidInput UpstreamError SettingsMissing "
        "InvalidRefreshToken GatewayError"
    ),
    "GatewayError": (
        "InvalidRequest GatewayInactive TokenUsed AboveCeiling UnknownRefNum AlreadyVerified ParameterMismatch "
        "NotVerifiable VerificationFailed FeeWalletShort PaymentFailed GatewayFault Unauthenticated"
    ),
}
CODES = {
    0: "ServerFault", 2: "ApplicationNotFound", 3: "ApplicationInactive", 4: "InvalidToken", 5: "ExpiredToken",
    6: "WrongAccessPassword", 7: "IpNotAllowed", 8: "ServiceDisabled", 9: "InsufficientBalance", 10: "InvalidInput",
    11: "UpstreamError", 12: "SettingsMissing", 13: "InvalidRefreshToken", -1: "InvalidRequest", -2: "GatewayInactive",
    -3: "TokenUsed", -4: "AboveCeiling", -5: "UnknownRefNum", -6: "AlreadyVerified", -7: "ParameterMismatch",
    -8: "NotVerifiable", -9: "VerificationFailed", -16: "FeeWalletShort", -98: "PaymentFailed", -99: "GatewayFault",
    "unauthenticated": "Unauthenticated",
}  # fmt: skip


@pytest.mark.parametrize("parent", SUBCLASSES)
def test_error_has_public_base_class(parent: str) -> None:
    for name in SUBCLASSES[parent].split():
        assert getattr(all_errors, name).__mro__[1] is getattr(all_errors, parent), name


@pytest.mark.parametrize("code", CODES)
def test_by_status_maps_code_and_code_minus_100(code: Any) -> None:
    assert BY_STATUS[code].__name__ == CODES[code]
    if isinstance(code, int) and code < 0:
        assert status_class(code - 100) is BY_STATUS[code]


def test_errors_have_executed_and_hint_and_pickle() -> None:
    assert len(BY_STATUS) == len(CODES)
    maybe = {kind.__name__ for kind in BY_STATUS.values() if kind.executed == "maybe"}
    assert maybe == {"ServerFault", "UpstreamError", "GatewayFault"}
    for code, kind in BY_STATUS.items():
        error = kind(code, "why", endpoint="transfers.settle", fields={"a": ["b"]})
        unpickled = pickle.loads(pickle.dumps(error))
        assert isinstance(error, StatusError | GatewayError)
        assert (unpickled.status, unpickled.message, unpickled.fields, unpickled.endpoint) == (
            code,
            "why",
            {"a": ["b"]},
            "transfers.settle",
        )
        assert unpickled.executed == error.executed
        assert error.hint
    assert all_errors.NoResponse.executed == all_errors.InvalidResponse.executed == "maybe"
    assert PaystarError.executed == all_errors.NotSent.executed == "no"
    assert [status for status in (200, 302, 400, 401, 408, 429, 500, 503) if http_may_have_executed(status)] == [
        302,
        408,
        429,
        500,
        503,
    ]


# --- the package ------------------------------------------------------------------------------------------------------


def test_package_exports_every_public_name() -> None:
    for name in paystar_async.__all__:
        assert getattr(paystar_async, name) is not None
    assert set(paystar_async.__all__) <= set(dir(paystar_async))
    public = "Paystar Application Gateway Wallet Transfer WalletTransfer Callback Rial Toman new_track_id __version__"
    assert set(public.split()) <= set(paystar_async.__all__)
    with pytest.raises(AttributeError, match="Peystar"):
        _ = paystar_async.Peystar  # pyright: ignore


def test_outcomes_have_public_import_paths() -> None:
    outcomes = importlib.import_module("paystar_async.outcomes")
    payments = importlib.import_module("paystar_async.payments")

    for name in ("Succeeded", "Failed", "Pending", "Unknown"):
        assert hasattr(outcomes, name)
    for name in ("Verified", "Cancelled", "Declined", "Expired", "AmountMismatch", "Undecided", "Payment", "Callback"):
        assert hasattr(payments, name)


def loaded_modules(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after ``code``."""
    printing = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    process = subprocess.run([sys.executable, "-c", printing], capture_output=True, text=True, check=True)
    return set(process.stdout.split())


HEAVY = {"httpx", "httpcore", "cattrs", "starlette", "rich", "trio", "anyio", "redis", "psycopg", "cyclopts", "uvicorn"}


def test_import_of_package_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_modules("import paystar_async")


def test_request_value_and_client_load_no_engine_or_extra() -> None:
    value = "from paystar_async import MatchMobile\nMatchMobile(national_id='0012345679', mobile_number='09121234567')"
    assert not {"httpx", "httpcore", "starlette", "rich", "trio"} & loaded_modules(value)

    client = loaded_modules("from paystar_async import Paystar\nPaystar()")
    assert not {"httpx", "httpcore", "starlette", "rich", "trio", "redis", "psycopg", "cyclopts", "uvicorn"} & client
