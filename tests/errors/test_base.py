"""Errors: classes, texts, ``executed``, pickling and copying."""

import copy
import pickle
import traceback
from typing import Any

import pytest

from paystar_async import errors
from paystar_async.errors import (
    BY_STATUS,
    ConfigurationError,
    GatewayError,
    InsufficientBalance,
    InvalidInput,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
)
from tests.errors.examples import NOT_TRANSIENT, TRANSIENT, error_id

EXAMPLES: list[PaystarError] = [
    *TRANSIENT,
    *NOT_TRANSIENT,
    NotSent("not connected"),
    InvalidResponse("$", "an HTML page", executed="no"),
    InsufficientBalance(9, executed="maybe"),
]

each = pytest.mark.parametrize("error", EXAMPLES, ids=error_id)


def attributes_of(error: PaystarError) -> dict[str, Any]:
    return {"args": error.args, "str": str(error), "executed": error.executed, "hint": error.hint, **error.__dict__}


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_error_pickle_round_trips(error: PaystarError, protocol: int) -> None:
    copied = pickle.loads(pickle.dumps(error, protocol))

    assert type(copied) is type(error)
    assert attributes_of(copied) == attributes_of(error)


@each
@pytest.mark.parametrize("copy_error", [copy.copy, copy.deepcopy])
def test_error_copy_keeps_attributes(error: PaystarError, copy_error: Any) -> None:
    copied = copy_error(error)

    assert copied is not error
    assert type(copied) is type(error)
    assert attributes_of(copied) == attributes_of(error)


def test_error_pickle_keeps_notes() -> None:
    error = NoResponse("x")
    error.add_note("while paying batch 7")

    assert pickle.loads(pickle.dumps(error)).__notes__ == ["while paying batch 7"]


@each
def test_error_text_contains_hint(error: PaystarError) -> None:
    assert str(error) == f"{error.args[0]} – {error.hint}" if error.hint else str(error) == error.args[0]
    assert "".join(traceback.format_exception_only(error)).strip().endswith(str(error))


def test_error_classes_have_documented_bases() -> None:
    bases = [
        ConfigurationError,
        InvalidValue,
        NotSent,
        NoResponse,
        InvalidResponse,
        StatusError,
        TrackIdConflict,
        StorageError,
    ]
    assert all(kind.__bases__[0] is PaystarError for kind in bases)
    assert issubclass(InvalidValue, ValueError)
    assert GatewayError.__bases__ == (StatusError,)
    for status, kind in BY_STATUS.items():
        gateway = isinstance(status, str) or status < 0
        assert kind.__bases__ == ((GatewayError,) if gateway else (StatusError,))


def test_errors_package_exports_every_class() -> None:
    names = {kind.__name__ for kind in BY_STATUS.values()} | {type(error).__name__ for error in EXAMPLES}
    assert not [name for name in names | {"GatewayError", "Executed"} if not hasattr(errors, name)]


def test_status_error_unknown_status_may_have_executed() -> None:
    assert StatusError(99).executed == "maybe"
    assert "unknown to this version" in StatusError(99).hint


def test_error_executed_defaults() -> None:
    assert NotSent("x").executed == "no"
    assert NoResponse("x").executed == "maybe"
    assert InvalidResponse("$", "x").executed == "maybe"
    assert {kind("x").executed for kind in (TrackIdConflict, StorageError, ConfigurationError)} == {"no"}


def test_invalid_value_at_prefixes_field() -> None:
    inner = InvalidValue("amount", expected="whole Rial", got="1.5", hint="pass an int")
    outer = inner.at("transfers[3]").at("batch")

    assert outer.field == "batch.transfers[3].amount"
    assert str(outer) == "batch.transfers[3].amount: expected whole Rial, got 1.5 – pass an int"
    assert InvalidValue("a", expected="b", got="c").at("d").hint == ""


def test_status_error_fields_are_copied_and_shown() -> None:
    fields: dict[str, Any] = {"amount": ["too low", "not whole"], "deposit": ("unknown",)}
    error = InvalidInput(10, "invalid", endpoint="transfers.settle", fields=fields, http_status=422)
    fields["amount"].append("later")

    assert error.fields == {"amount": ["too low", "not whole"], "deposit": ["unknown"]}
    assert str(error) == (
        "transfers.settle: invalid; amount: too low, not whole; deposit: unknown (status 10, HTTP 422) – "
        "correct the named fields and call again"
    )


def test_rejected_credential_field_names_its_setting() -> None:
    error = InvalidInput(10, "invalid", endpoint="wallet.settle", fields={"password": ["wrong"], "sign": ["wrong"]})

    expected = "check the wallet's password (PAYSTAR_WALLET_PASSWORD), the wallet's sign_key (PAYSTAR_WALLET_SIGN_KEY)"
    assert error.hint == expected
    assert pickle.loads(pickle.dumps(error)).hint == expected


def test_status_error_without_message_shows_class() -> None:
    assert str(InsufficientBalance(9)).startswith("InsufficientBalance (status 9, HTTP 200)")


def test_error_attributes_are_not_shared() -> None:
    InvalidInput(10, executed="maybe").hint = "changed"

    assert (InvalidInput.executed, InvalidInput(10).executed, InvalidInput(10).hint) == ("no", "no", InvalidInput.hint)
