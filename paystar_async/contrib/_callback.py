"""What every web framework's callback does: read the fields within bounds, find out what they are worth, answer.

No framework is known here. A callback is written by anybody's browser, so nothing in it is trusted, nothing of it
is shown, nothing personal in it is logged, and whatever is wrong with it is a page and a line.
"""

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import cast
from urllib.parse import parse_qs

import anyio

from paystar_async.client import Paystar
from paystar_async.contrib._responses import LATER, SHOP_FAILED, UNKNOWN_ORDER, UNREADABLE, Page
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError, UnknownOrder
from paystar_async.events import logger
from paystar_async.payments import Callback, Payment
from paystar_async.payments.processor import masked_order_id, log_refused_callback
from paystar_async.values.kind import Kind, kind_of
from paystar_async.values.money import GatewayAmount

LONGEST = 16 * 1024
"""Bytes of a query or a form: several times what Paystar sends, and nothing to fill a memory with."""
MOST_FIELDS = 64
AMOUNT_OF_SECONDS = 10.0
"""How long ``amount_of`` may take: the payer waits for the page."""
_AMOUNT = cast("Kind", kind_of(GatewayAmount))

AmountOf = Callable[[str], "int | Awaitable[int | None] | None"]
"""Rial of an order in a store of your own, by its order_id; None where there is no such order.

Whatever else it does – raise, take longer than ``AMOUNT_OF_SECONDS``, return no int of 5,000 Rial or more – is an error
in the log and a 503 to the payer, who may have paid.
"""

HEADERS: Mapping[str, str] = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
"""Of every answer: the address of a callback names a payment, and is nothing to keep or to pass on."""

FORM = "application/x-www-form-urlencoded"


class NoPayment(Exception):
    """There is no payment to go on with; ``page`` is the answer."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.en)
        self.page = page


class BodyConsumed(Exception):
    """The body of a POST was read as a stream by other code, and the framework kept no copy."""


def check_handler(on_payment: Callable[..., object]) -> None:
    """Refuse an ``on_payment`` that cannot be called as ``on_payment(request, payment)``."""
    try:
        inspect.signature(on_payment).bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"on_payment {name_of(on_payment)} cannot be called with a request and a payment: {error}",
            hint="async def on_payment(request, payment)",
        ) from None


def name_of(function: Callable[..., object]) -> str:
    """Return the name of a function, or of the class of another callable object, as a log and an error show it."""
    return getattr(function, "__qualname__", type(function).__qualname__)


def handler_failed(path: str, error: Exception) -> Page:
    """Log what a shop's own code raised after a payer came back, and return the page for the payer."""
    logger.error(
        "payments: a callback at %s failed in on_payment, or in what it depends on: %s; the payer got a 503",
        masked_order_id(path),
        type(error).__name__,
        exc_info=error,
    )
    return SHOP_FAILED


async def returned(
    paystar: Paystar,
    *,
    query: bytes,
    content_type: str | None = None,
    body: AsyncIterable[bytes] | None = None,
    amount_of: AmountOf | None = None,
) -> Payment:
    """Find out what a request to the callback's address is worth.

    Args:
        paystar: the client.
        query: the query string as it came.
        content_type: what the body is; only a form is read.
        body: the chunks of a POST's body; None for a GET.
        amount_of: where orders are kept outside of the client's ``database``.

    Returns:
        The payment, of an order of yours, with its outcome.

    Raises:
        NoPayment: it is no callback, names no order of yours, or cannot be decided now; logged, nothing was changed.
    """
    try:
        callback = Callback.parse(await _fields(query, content_type, body))
    except BodyConsumed:
        logger.error(
            "payments: a callback cannot be read: other code has consumed its body; let it call the framework's "
            "cached reader (await request.body(), or request.read() in aiohttp) instead of a stream"
        )
        raise NoPayment(SHOP_FAILED) from None
    except ValueError as error:
        raise _unreadable(error) from None
    amount = None if amount_of is None else await _amount(amount_of, callback)
    order_id = None if amount_of is None else callback.order_id
    try:
        payment = await paystar.payments.confirm(callback, amount=amount, order_id=order_id)
    except UnknownOrder:
        raise NoPayment(UNKNOWN_ORDER) from None  # it is in the log already
    except InvalidValue as error:
        raise _unreadable(error) from None
    except PaystarError as error:
        # It is the shop's trouble (its keys, its store), not the payer's: the same callback may come again.
        logger.error("payments: a callback for order %s cannot be decided: %s", masked_order_id(callback.order_id), error)
        raise NoPayment(LATER) from error
    except Exception as error:
        # A middleware or a store of the user may raise anything.
        logger.exception("payments: a callback for order %s cannot be decided", masked_order_id(callback.order_id))
        raise NoPayment(LATER) from error
    logger.debug("payments: a callback for order %s: %s", masked_order_id(payment.order_id), type(payment.outcome).__name__)
    return payment


def _unreadable(error: ValueError) -> NoPayment:
    """What is no callback; an InvalidValue names the field, and shows nothing of what it refuses."""
    logger.warning(
        "payments: a callback is refused: %s", error if isinstance(error, InvalidValue) else "no form of ours"
    )
    return NoPayment(UNREADABLE)


async def _amount(amount_of: AmountOf, callback: Callback) -> int:
    """Return the Rial of the callback's order; raise NoPayment if the shop names no order or no amount."""
    try:
        with anyio.fail_after(AMOUNT_OF_SECONDS):
            amount = amount_of(callback.order_id)
            amount = await amount if isawaitable(amount) else amount
        if amount is not None:
            return cast("int", _AMOUNT.convert(amount, "amount_of(order_id)"))
    except Exception as error:
        logger.error(
            "payments: a callback for order %s cannot be decided, the payer got a 503: amount_of must return whole "
            "Rial as an int within %g seconds, or None if there is no such order: %s",
            masked_order_id(callback.order_id),
            AMOUNT_OF_SECONDS,
            error if isinstance(error, InvalidValue) else type(error).__name__,
            exc_info=None if isinstance(error, InvalidValue) else error,
        )
        raise NoPayment(SHOP_FAILED) from error
    log_refused_callback(callback, "there is no such order")
    raise NoPayment(UNKNOWN_ORDER)


async def _fields(query: bytes, content_type: str | None, body: AsyncIterable[bytes] | None) -> Mapping[str, list[str]]:
    """The fields of a form, or else of the query, where a callback's address may hold some of its own."""
    raw = b"" if body is None else await _bounded(body)
    if raw and (content_type or FORM).partition(";")[0].strip().lower() != FORM:
        raise ValueError("not a form")
    return _parsed(raw) or _parsed(query)


async def _bounded(chunks: AsyncIterable[bytes]) -> bytes:
    read = bytearray()
    async for chunk in chunks:
        read += chunk
        if len(read) > LONGEST:
            raise ValueError("too long")
    return bytes(read)


def _parsed(raw: bytes) -> dict[str, list[str]]:
    if len(raw) > LONGEST:
        raise ValueError("too long")
    return parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
