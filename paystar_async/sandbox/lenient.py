"""Request forms that Paystar accepts beyond what this SDK sends: numbers as text, text as numbers, missing names."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from paystar_async.models.base import list_of, request_model
from paystar_async.models.gateway import CreatePayment
from paystar_async.models.wallet import SettleWallet, WalletTransfer
from paystar_async.sandbox.payments import METHOD_GET
from paystar_async.values.masking import describe_value
from paystar_async.values.text import text

METHOD_POST = 0
_MAX_EXACT_FLOAT = 2**53
_INTEGER_LIMIT = 2**63
_INTEGER_TEXT = re.compile(r"(-?[0-9]{1,19})(?:\.0{1,20})?")
_GET_VALUES = frozenset({"1", "get", "true"})

NameOrEmpty = Annotated[str, text("person's name", min_length=0, max_length=255, example="Ali", mask=describe_value)]


@request_model
class ReceivedWalletTransfer(WalletTransfer):
    """A wallet transfer as other clients send it: names may be empty."""

    destination_firstname: NameOrEmpty = ""
    destination_lastname: NameOrEmpty = ""


@request_model
class ReceivedSettleWallet(SettleWallet):
    """A wallet settlement as other clients send it."""

    transfers: Annotated[
        Sequence[ReceivedWalletTransfer], list_of(ReceivedWalletTransfer, "transfers", unique="track_id")
    ]


AnyOrderId = Annotated[str, text("order id", max_length=255, example="ORD-45245")]
AnyCallbackUrl = Annotated[
    str,
    text(
        "callback URL",
        max_length=2048,
        pattern=r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+\S*",
        expected="an http or https URL",
        example="https://merchant.example/pay/callback",
    ),
]


@request_model
class ReceivedCreatePayment(CreatePayment):
    """A payment as other clients create it: spaces around an order id, and any callback URL.

    This SDK rejects a callback URL with a fragment, or with a query parameter that the callback sends too.
    """

    order_id: AnyOrderId
    callback: AnyCallbackUrl


REQUEST_CLASSES: Mapping[type, type[Any]] = {
    SettleWallet: ReceivedSettleWallet,
    CreatePayment: ReceivedCreatePayment,
}
"""Class that this SDK sends → class that the sandbox parses instead."""


def to_integer(value: object) -> object:
    """Return 10000 for 10000.0, "10000" and "10000.00"; return any other value unchanged."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT_FLOAT:
        return int(value)
    if isinstance(value, str) and (match := _INTEGER_TEXT.fullmatch(value)):
        return int(match[1])
    return value


def to_text(value: object) -> object:
    """Return an integer of up to 64 bits as its digits; return any other value unchanged."""
    if isinstance(value, int) and not isinstance(value, bool) and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        return str(value)
    return value


def parse_callback_method(value: object) -> int:
    """Return ``METHOD_GET`` for 1, true and "GET", ``METHOD_POST`` for any other value."""
    return METHOD_GET if str(to_integer(value)).lower() in _GET_VALUES else METHOD_POST
