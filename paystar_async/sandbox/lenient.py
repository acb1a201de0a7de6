"""What the service reads beyond what this SDK sends: numbers as texts, texts as numbers, transfers without a name."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from paystar_async.models.base import sent, several
from paystar_async.models.gateway import CreatePayment
from paystar_async.models.wallet import SettleWallet, WalletTransfer
from paystar_async.sandbox.payments import BY_GET
from paystar_async.values.mask import described
from paystar_async.values.text import text

BY_POST = 0
_MAX_EXACT_FLOAT = 2**53
_MAX_INTEGER = 2**63
_WHOLE = re.compile(r"(-?[0-9]{1,19})(?:\.0{1,20})?")
_GET = frozenset({"1", "get", "true"})

NameOrEmpty = Annotated[str, text("person's name", least=0, most=255, example="Ali", mask=described)]


@sent
class ReceivedWalletTransfer(WalletTransfer):
    """A wallet transfer as other clients send it: names may be empty."""

    destination_firstname: NameOrEmpty = ""
    destination_lastname: NameOrEmpty = ""


@sent
class ReceivedSettleWallet(SettleWallet):
    """A wallet settlement as other clients send it."""

    transfers: Annotated[
        Sequence[ReceivedWalletTransfer], several(ReceivedWalletTransfer, "transfers", once="track_id")
    ]


AnyOrderId = Annotated[str, text("order id", most=255, example="ORD-45245")]
AnyCallbackUrl = Annotated[
    str,
    text(
        "callback URL",
        most=2048,
        pattern=r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+\S*",
        shape="an http or https URL",
        example="https://merchant.example/pay/callback",
    ),
]


@sent
class ReceivedCreatePayment(CreatePayment):
    """A payment as other clients open it: blanks around an order id, and any callback URL.

    This SDK refuses a callback URL with a fragment or a parameter that the return is then ambiguous about.
    """

    order_id: AnyOrderId
    callback: AnyCallbackUrl


RECEIVED: Mapping[type, type[Any]] = {SettleWallet: ReceivedSettleWallet, CreatePayment: ReceivedCreatePayment}
"""The class a request is read as, where it is not the class this SDK sends."""


def whole_number(value: object) -> object:
    """Return 10000 for 10000.0, "10000" and "10000.00"; anything else as it came."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT_FLOAT:
        return int(value)
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value)):
        return int(match[1])
    return value


def as_text(value: object) -> object:
    """Return an integer of up to 64 bits as its digits; anything else as it came."""
    if isinstance(value, int) and not isinstance(value, bool) and -_MAX_INTEGER <= value < _MAX_INTEGER:
        return str(value)
    return value


def callback_method(value: object) -> int:
    """Return how the payer comes back: 1, true and "GET" are GET, anything else is POST."""
    return BY_GET if str(whole_number(value)).lower() in _GET else BY_POST
