"""The callback, for every web framework: read its fields within bounds, confirm the payment, choose the response.

This module knows no framework. Anyone can send a callback, so nothing in it is trusted or shown, nothing personal in it
is logged, and every error in it is a page and a log line.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from inspect import isawaitable
from typing import cast
from urllib.parse import parse_qs

import anyio

from paystar_async.blocking import BlockingPaystar
from paystar_async.blocking.client import client_of
from paystar_async.client import Paystar
from paystar_async.client.client import user_middleware
from paystar_async.conform import ShapeRecorder
from paystar_async.contrib._responses import LATER, SHOP_FAILED, UNKNOWN_ORDER, UNREADABLE, Page
from paystar_async.errors import InvalidValue, PaystarError, UnknownOrder
from paystar_async.payments import Callback, Payment
from paystar_async.payments.processor import log_refused_callback, masked_order_id
from paystar_async.runtime.events import logger
from paystar_async.values.arguments import require_function
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

_FORM = "application/x-www-form-urlencoded"
_MULTIPART_FORM = "multipart/form-data"


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
    hint = "async def on_payment(request, payment)"
    require_function("on_payment", on_payment, "a request", "a payment", hint=hint)


def check_amount_of(amount_of: AmountOf | None) -> None:
    """Raise ConfigurationError if ``amount_of(order_id)`` is not a valid call."""
    if amount_of is not None:
        require_function("amount_of", amount_of, "an order_id", hint="def amount_of(order_id: str) -> int | None")


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
    method: str,
    query: bytes,
    content_type: str | None = None,
    body: AsyncIterable[bytes] | None = None,
    amount_of: AmountOf | None = None,
) -> Payment:
    """Confirm the payment of a request to the callback's address.

    Args:
        paystar: the client; a ShapeRecorder among its middlewares records the callback's shape.
        method: the HTTP method of the request.
        query: the query string as it came.
        content_type: content type of the body; only a form is read, urlencoded or multipart.
        body: the chunks of a POST's body; None for a GET. A form that other code has read is urlencoded, whatever
            its content type was.
        amount_of: looks up orders that are stored outside of the client's ``database``.

    Returns:
        The payment of a known order, with its outcome.

    Raises:
        NoPayment: the request is not a callback, names an unknown order, or cannot be decided now; it is logged, and
            nothing was changed.
    """
    raw = None if body is None else await _read_bounded(body)
    fields = _read_fields(query, content_type, raw)
    _record(user_middleware(paystar), method, fields)
    callback = _parse_callback(fields)
    amount = None if amount_of is None else await _amount(amount_of, callback)
    order_id = None if amount_of is None else callback.order_id
    with pages_for_errors(callback):
        return _log_outcome(await paystar.payments.confirm(callback, amount=amount, order_id=order_id))


def confirm_request_blocking(
    paystar: BlockingPaystar,
    *,
    method: str,
    query: bytes,
    content_type: str | None = None,
    body: bytes | None = None,
    amount_of: AmountOf | None = None,
) -> Payment:
    """Confirm the payment of a request to the callback's address in a program without an event loop.

    Args:
        paystar: the client; a ShapeRecorder among its middlewares records the callback's shape.
        method: the HTTP method of the request.
        query: the query string as it came.
        content_type: content type of the body; only a form is read, urlencoded or multipart.
        body: a POST's body, as in ``confirm_request``; None for a GET.
        amount_of: looks up orders that are stored outside of the client's ``database``, in the calling thread.

    Returns:
        The payment of a known order, with its outcome.

    Raises:
        NoPayment: as ``confirm_request``.
    """
    fields = _read_fields(query, content_type, body)
    _record(user_middleware(client_of(paystar)), method, fields)
    callback = _parse_callback(fields)
    amount, order_id = None, None
    if amount_of is not None:
        with _shop_errors(callback):
            amount = _convert_amount(amount_of(callback.order_id))
        amount, order_id = _require_order(amount, callback), callback.order_id
    with pages_for_errors(callback):
        return _log_outcome(paystar.payments.confirm(callback, amount=amount, order_id=order_id))


def _record(middlewares: Iterable[object], method: str, fields: Mapping[str, list[str]]) -> None:
    for middleware in middlewares:
        if isinstance(middleware, ShapeRecorder):
            middleware.record_callback(method, fields)


def _parse_callback(fields: Mapping[str, list[str]]) -> Callback:
    """Return the callback in the fields of a request; raise NoPayment if it has none."""
    try:
        return Callback.parse(fields)
    except ValueError as error:
        raise _unreadable(error) from None


def body_consumed_error() -> NoPayment:
    """Log a body that other code has consumed, and return the exception with the page for the payer."""
    logger.error(
        "payments: a callback cannot be read: other code has consumed its body; let it call the framework's "
        "cached reader (await request.body(), request.read() in aiohttp, request.body in Django) instead of a stream"
    )
    return NoPayment(SHOP_FAILED)


@contextmanager
def pages_for_errors(callback: Callback) -> Generator[None, None, None]:
    """Log an error of a confirmation, and raise NoPayment in its place."""
    try:
        yield
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


def _log_outcome(payment: Payment) -> Payment:
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
    with _shop_errors(callback), anyio.fail_after(AMOUNT_OF_TIMEOUT_SECONDS):
        amount = amount_of(callback.order_id)
        amount = _convert_amount(await amount if isawaitable(amount) else amount)
    return _require_order(amount, callback)


@contextmanager
def _shop_errors(callback: Callback) -> Generator[None, None, None]:
    """Log an error of ``amount_of``, and raise NoPayment in its place."""
    try:
        yield
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


def _convert_amount(amount: object) -> int | None:
    """Return what ``amount_of`` returned; raise InvalidValue if it is neither None nor Rial."""
    return None if amount is None else cast("int", _AMOUNT.convert(amount, "amount_of(order_id)"))


def _require_order(amount: int | None, callback: Callback) -> int:
    """Return the amount; raise NoPayment if the shop has no such order."""
    if amount is None:
        log_refused_callback(callback, "there is no such order")
        raise NoPayment(UNKNOWN_ORDER)
    return amount


def _read_fields(query: bytes, content_type: str | None, body: bytes | None) -> Mapping[str, list[str]]:
    """Return the fields of the form, or of the query if there is no form: the address may have fields of its own.

    Raises:
        NoPayment: the body is not a form, or has too many bytes or fields.
    """
    try:
        return _parse_form(content_type or _FORM, body or b"") or _parse(query)
    except ValueError as error:
        raise _unreadable(error) from None


def _parse_form(content_type: str, body: bytes) -> Mapping[str, list[str]]:
    """Return the fields of a form; raise ValueError if the body is too long or not a form."""
    kind = content_type.partition(";")[0].strip().lower()
    if body and kind not in (_FORM, _MULTIPART_FORM):
        raise ValueError("not a form")
    if kind == _MULTIPART_FORM and body.startswith(b"--"):
        return _parse_multipart(content_type, body)
    return _parse(body)


async def _read_bounded(chunks: AsyncIterable[bytes]) -> bytes:
    """Return a body, cut off soon after the limit of a form; raise NoPayment if the body cannot be read."""
    body = bytearray()
    try:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                break
    except BodyConsumed:
        raise body_consumed_error() from None
    except ValueError as error:
        raise _unreadable(error) from None
    return bytes(body)


def _parse(raw: bytes) -> dict[str, list[str]]:
    """Return the fields of a query or form; raise ValueError if it has too many bytes or fields."""
    if len(raw) > MAX_FORM_BYTES:
        raise ValueError("too long")
    return parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)


def _parse_multipart(content_type: str, body: bytes) -> dict[str, list[str]]:
    """Return the texts of a multipart form, without its files; raise ValueError if it is too long or incomplete.

    Paystar sends no such form; the test clients of web frameworks do.
    """
    if len(body) > MAX_FORM_BYTES:
        raise ValueError("too long")
    form = message_from_bytes(b"content-type: %b\r\n\r\n%b" % (content_type.encode(errors="replace"), body))
    if form.defects or not form.is_multipart():
        raise ValueError("incomplete")
    parts = cast("list[Message]", form.get_payload())
    if len(parts) > MAX_FIELDS:
        raise ValueError("too many fields")
    fields: dict[str, list[str]] = {}
    for part in parts:
        name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes) and part.get_filename() is None:
            fields.setdefault(name, []).append(value.decode("utf-8", "replace"))
    return fields
