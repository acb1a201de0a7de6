"""What is promised: every name, and every signature to the letter."""

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
    new_track_id,
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
from paystar_async.values.field_type import find_field_type
from paystar_async.values.text import TrackId

CLIENT = Paystar()


def told(call: Any) -> str:
    """A signature as the promise writes it: names, defaults where there are any, ``*`` for what goes by name."""
    parts: list[str] = []
    by_name = False
    for one in inspect.signature(call).parameters.values():
        if one.kind is one.KEYWORD_ONLY and not by_name:
            by_name = True
            parts.append("*")
        if one.name == "timeout" and one.default is None:
            continue
        parts.append(one.name + ("" if one.default is one.empty else f"={one.default!r}"))
        if one.kind is one.POSITIONAL_ONLY:
            parts.append("/")
        if one.kind is one.VAR_KEYWORD:
            parts[-1] = f"**{one.name}"
    return ", ".join(parts)


ROWS = {
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


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_the_promised_signature_and_answer(row: str) -> None:
    service, name = row.split(".")
    method = getattr(getattr(CLIENT, service), name)
    signature, answer = ROWS[row]

    assert told(method) == signature
    if answer is not None:
        assert get_type_hints(method)["return"] == answer
    assert ("timeout" in inspect.signature(method).parameters) is (row != "gateway.payment_url")


def test_no_row_is_there_that_was_not_promised() -> None:
    assert {one.id for one in TABLE} == set(ROWS)


FLOWS = {
    "transfers.wait": "*, track_id, deposit=None, timeout=120.0",
    "wallet.wait": "*, track_id, timeout=120.0",
    "transfers.batch": "transfers, chunk=20",
    "keys.replace": "realm, *, token, refresh_token=None, expires_at=None",
}


@pytest.mark.parametrize("flow", FLOWS)
def test_every_flow_has_the_promised_signature(flow: str) -> None:
    service, name = flow.split(".")

    assert told(getattr(getattr(CLIENT, service), name)) == FLOWS[flow]


def test_flows_that_are_free_in_part_have_what_was_promised_of_them() -> None:
    assert told(CLIENT.transfers.iterate).startswith("*, deposit=None")
    assert told(CLIENT.payments.confirm) in (
        "callback, *, amount=None, order_id=None",
        "callback, amount=None, order_id=None",
    )
    assert told(CLIENT.send) == "value, /, *"
    assert inspect.isasyncgenfunction(CLIENT.transfers.batch)
    assert inspect.isasyncgenfunction(CLIENT.transfers.iterate)
    assert [one.name for one in Payment.__attrs_attrs__] == ["outcome", "order_id", "ref_num", "amount"]  # pyright: ignore


def test_a_client_takes_what_was_promised() -> None:
    signature = told(Paystar)

    assert signature.startswith(
        "application=None, gateway=None, wallet=None, *, base_url='https://core.paystar.ir/api'"
    )
    names = set(inspect.signature(Paystar).parameters)
    assert {"concurrency", "checks", "keys", "engine", "middleware", "clock", "on_event", "max_retries"} <= names
    defaults = {name: one.default for name, one in inspect.signature(Paystar).parameters.items()}
    assert (defaults["concurrency"], defaults["checks"], defaults["engine"]) == (16, "shape", "auto")
    assert (defaults["keys"], defaults["middleware"], defaults["clock"], defaults["on_event"]) == (None, (), None, None)
    assert told(Paystar.from_env) == "**overrides"


def test_accounts_and_items_take_what_was_promised() -> None:
    assert told(Application) == "*, id, access_password, api_key=None, refresh_token=None"
    assert told(Gateway) == "*, id, sign_key=None, direct=False"
    assert told(Wallet) == (
        "*, hashid, password, sign_key, api_key=None, refresh_token=None, inquiry_key=None, refresh_inquiry_key=None"
    )
    assert told(Transfer) == (
        "*, amount, deposit, destination_account, destination_firstname, destination_lastname, track_id, pay_id=None"
    )
    assert (
        told(WalletTransfer) == "*, amount, destination_number, destination_firstname, destination_lastname, track_id"
    )


def test_answers_have_the_promised_attributes() -> None:
    def fields(cls: Any) -> set[str]:
        return {one.name for one in cls.__attrs_attrs__}

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


def test_money_is_plain_rial() -> None:
    assert Toman(5_000) == Rial(50_000) == 50_000
    assert type(Toman(1)) is int


def test_a_track_id_is_new_each_time_sorts_by_its_moment_and_can_be_sent() -> None:
    made = [new_track_id() for _ in range(2000)]
    kind = find_field_type(TrackId)

    assert len(set(made)) == 2000
    assert [one[:11] for one in made] == sorted(one[:11] for one in made)
    assert kind is not None
    for one in made[:20]:
        assert len(one) == 26
        assert one.isalnum()
        assert kind.convert(one, "track_id") == one


# --- errors -----------------------------------------------------------------------------------------------------------

TREE = {
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


@pytest.mark.parametrize("parent", TREE)
def test_the_tree_of_errors_is_the_promised_one(parent: str) -> None:
    for name in TREE[parent].split():
        assert getattr(all_errors, name).__mro__[1] is getattr(all_errors, parent), name


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_its_class_less_a_hundred_too(code: Any) -> None:
    assert BY_STATUS[code].__name__ == CODES[code]
    if isinstance(code, int) and code < 0:
        assert status_class(code - 100) is BY_STATUS[code]


def test_every_error_says_what_is_known_what_to_do_and_comes_back_from_a_pickle() -> None:
    assert len(BY_STATUS) == len(CODES)
    maybe = {kind.__name__ for kind in BY_STATUS.values() if kind.executed == "maybe"}
    assert maybe == {"ServerFault", "UpstreamError", "GatewayFault"}
    for code, kind in BY_STATUS.items():
        error = kind(code, "why", endpoint="transfers.settle", fields={"a": ["b"]})
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(error, StatusError | GatewayError)
        assert (again.status, again.message, again.fields, again.endpoint) == (
            code,
            "why",
            {"a": ["b"]},
            "transfers.settle",
        )
        assert again.executed == error.executed
        assert error.hint
    assert all_errors.NoResponse.executed == all_errors.InvalidResponse.executed == "maybe"
    assert PaystarError.executed == all_errors.NotSent.executed == "no"
    assert [http for http in (200, 302, 400, 401, 408, 429, 500, 503) if http_may_have_executed(http)] == [
        302,
        408,
        429,
        500,
        503,
    ]


# --- the package ------------------------------------------------------------------------------------------------------


def test_every_name_the_package_offers_is_there() -> None:
    for name in paystar_async.__all__:
        assert getattr(paystar_async, name) is not None
    assert set(paystar_async.__all__) <= set(dir(paystar_async))
    promised = "Paystar Application Gateway Wallet Transfer WalletTransfer Callback Rial Toman new_track_id __version__"
    assert set(promised.split()) <= set(paystar_async.__all__)
    with pytest.raises(AttributeError, match="Peystar"):
        _ = paystar_async.Peystar  # pyright: ignore


def test_the_outcomes_are_where_they_were_promised() -> None:
    outcomes = importlib.import_module("paystar_async.outcomes")
    payments = importlib.import_module("paystar_async.payments")

    for name in ("Succeeded", "Failed", "Pending", "Unknown"):
        assert hasattr(outcomes, name)
    for name in ("Verified", "Cancelled", "Declined", "Expired", "AmountMismatch", "Undecided", "Payment", "Callback"):
        assert hasattr(payments, name)


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after some code."""
    printing = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", printing], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"httpx", "httpcore", "cattrs", "starlette", "rich", "trio", "anyio", "redis", "psycopg", "cyclopts", "uvicorn"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not HEAVY & loaded_by("import paystar_async")


def test_making_a_request_value_loads_no_engine_and_making_a_client_none_of_the_extras() -> None:
    value = "from paystar_async import MatchMobile\nMatchMobile(national_id='0012345679', mobile_number='09121234567')"
    assert not {"httpx", "httpcore", "starlette", "rich", "trio"} & loaded_by(value)

    client = loaded_by("from paystar_async import Paystar\nPaystar()")
    assert not {"httpx", "httpcore", "starlette", "rich", "trio", "redis", "psycopg", "cyclopts", "uvicorn"} & client
