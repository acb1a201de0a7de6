"""The callback, for every web framework: read its fields within bounds, confirm the payment, choose the response.

This module knows no framework. Anyone can send a callback, so nothing in it is trusted or shown, nothing personal in it
is logged, and every error in it is a page and a log line.
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
from paystar_async.payments import Callback, Payment
from paystar_async.payments.processor import log_refused_callback, masked_order_id
from paystar_async.runtime.events import logger
from paystar_async.values.field_type import FieldType, find_field_type
from paystar_async.values.numbers import GatewayAmount

MAX_FORM_BYTES = 16 * 1024
"""Limit of a query or a form: several times what Paystar sends, and too little to exhaust memory."""
MAX_FIELDS = 64
AMOUNT_OF_TIMEOUT_SECONDS = 10.0
"""Timeout of ``amount_of``: the payer waits for the page."""
_AMOUNT = cast("FieldType", find_field_type(GatewayAmount))

AmountOf = Callable[[str], "int | Awaitable[int | None] | None"]
"""Returns the Rial of an order in your own store by its order_id, or None if there is no such order.

An exception, a timeout after ``AMOUNT_OF_TIMEOUT_SECONDS``, or anything but an int of 5,000 Rial or more is an error in
the log and a 503 to the payer, who may have paid.
"""

HEADERS: Mapping[str, str] = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
"""Headers of every response: the address of a callback names a payment, so it must not be cached or passed on."""

FORM = "application/x-www-form-urlencoded"


class NoPayment(Exception):
    """A request to the callback that confirms no payment; ``page`` is the response."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.en)
        self.page = page


class BodyConsumed(Exception):
    """A POST whose body other code has read as a stream, without a copy in the framework."""


async def show_result(_request: object, _payment: Payment) -> None:
    """Return None: the payer sees a short page with the result. The default ``on_payment``."""


def check_handler(on_payment: Callable[..., object]) -> None:
    """Raise ConfigurationError if ``on_payment(request, payment)`` is not a valid call."""
    try:
        inspect.signature(on_payment).bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"on_payment {function_name(on_payment)} cannot be called with a request and a payment: {error}",
            hint="async def on_payment(request, payment)",
        ) from None


def function_name(function: Callable[..., object]) -> str:
    """Return the name of a function, or of the class of another callable object."""
    return getattr(function, "__qualname__", type(function).__qualname__)


def log_handler_failure(path: str, error: Exception) -> Page:
    """Log an error of the shop's code after a payer came back, and return the page for the payer."""
    logger.error(
        "payments: a callback at %s failed in on_payment or its dependencies: %s; the payer got a 503",
        masked_order_id(path),
        type(error).__name__,
        exc_info=error,
    )
    return SHOP_FAILED


async def confirm_request(
    paystar: Paystar,
    *,
    query: bytes,
    content_type: str | None = None,
    body: AsyncIterable[bytes] | None = None,
    amount_of: AmountOf | None = None,
) -> Payment:
    """Confirm the payment of a request to the callback's address.

    Args:
        paystar: the client.
        query: the query string as it came.
        content_type: content type of the body; only a form is read.
        body: the chunks of a POST's body; None for a GET.
        amount_of: looks up orders that are stored outside of the client's ``database``.

    Returns:
        The payment of a known order, with its outcome.

    Raises:
        NoPayment: the request is not a callback, names an unknown order, or cannot be decided now; it is logged, and
            nothing was changed.
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
        raise NoPayment(UNKNOWN_ORDER) from None  # logged by confirm
    except InvalidValue as error:
        raise _unreadable(error) from None
    except PaystarError as error:
        # The error is the shop's (its keys, its store), not the payer's: the same callback may come again.
        logger.error(
            "payments: a callback for order %s cannot be decided: %s", masked_order_id(callback.order_id), error
        )
        raise NoPayment(LATER) from error
    except Exception as error:
        # A middleware or a store of the user may raise anything.
        logger.exception("payments: a callback for order %s cannot be decided", masked_order_id(callback.order_id))
        raise NoPayment(LATER) from error
    logger.debug(
        "payments: a callback for order %s: %s", masked_order_id(payment.order_id), type(payment.outcome).__name__
    )
    return payment


def _unreadable(error: ValueError) -> NoPayment:
    """Log a request that is not a callback; an InvalidValue names the field, and shows nothing of its value."""
    logger.warning("payments: a callback is refused: %s", error if isinstance(error, InvalidValue) else "not a form")
    return NoPayment(UNREADABLE)


async def _amount(amount_of: AmountOf, callback: Callback) -> int:
    """Return the Rial of the callback's order; raise NoPayment if the shop returns none."""
    try:
        with anyio.fail_after(AMOUNT_OF_TIMEOUT_SECONDS):
            amount = amount_of(callback.order_id)
            amount = await amount if isawaitable(amount) else amount
        if amount is not None:
            return cast("int", _AMOUNT.convert(amount, "amount_of(order_id)"))
    except Exception as error:
        logger.error(
            "payments: a callback for order %s cannot be decided, the payer got a 503: amount_of must return whole "
            "Rial as an int within %g seconds, or None if there is no such order: %s",
            masked_order_id(callback.order_id),
            AMOUNT_OF_TIMEOUT_SECONDS,
            error if isinstance(error, InvalidValue) else type(error).__name__,
            exc_info=None if isinstance(error, InvalidValue) else error,
        )
        raise NoPayment(SHOP_FAILED) from error
    log_refused_callback(callback, "there is no such order")
    raise NoPayment(UNKNOWN_ORDER)


async def _fields(query: bytes, content_type: str | None, body: AsyncIterable[bytes] | None) -> Mapping[str, list[str]]:
    """Return the fields of the form, or of the query if there is no form: the address may have fields of its own."""
    raw = b"" if body is None else await _read_bounded(body)
    if raw and (content_type or FORM).partition(";")[0].strip().lower() != FORM:
        raise ValueError("not a form")
    return _parse(raw) or _parse(query)


async def _read_bounded(chunks: AsyncIterable[bytes]) -> bytes:
    """Return a body; raise ValueError beyond ``MAX_FORM_BYTES``."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise ValueError("too long")
    return bytes(body)


def _parse(raw: bytes) -> dict[str, list[str]]:
    """Return the fields of a query or form; raise ValueError if it has too many bytes or fields."""
    if len(raw) > MAX_FORM_BYTES:
        raise ValueError("too long")
    return parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
