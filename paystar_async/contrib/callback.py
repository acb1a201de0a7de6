"""What every web framework's callback does: read the fields within bounds, find out what they are worth, answer.

No framework is known here. A callback is written by anybody's browser, so nothing in it is trusted, nothing of it
is shown, nothing personal in it is logged, and whatever is wrong with it is a page and a line.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from inspect import isawaitable
from urllib.parse import parse_qs

from paystar_async.client import Paystar
from paystar_async.contrib.pages import LATER, UNKNOWN_ORDER, UNREADABLE, Page
from paystar_async.errors import InvalidValue, PaystarError, UnknownOrder
from paystar_async.events import logger
from paystar_async.payments import Callback, Payment
from paystar_async.payments.desk import named, refused

LONGEST = 16 * 1024
"""Bytes of a query or a form: several times what Paystar sends, and nothing to fill a memory with."""
MOST_FIELDS = 64

AmountOf = Callable[[str], "int | Awaitable[int | None] | None"]
"""Rial of an order in a store of your own, by its order_id; None where there is no such order."""

HEADERS: Mapping[str, str] = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
"""Of every answer: the address of a callback names a payment, and is nothing to keep or to pass on."""

FORM = "application/x-www-form-urlencoded"


class NoPayment(Exception):
    """There is no payment to go on with; ``page`` is the answer."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.en)
        self.page = page


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
    except ValueError as error:
        raise _unreadable(error) from None
    try:
        payment = await _confirmed(paystar, callback, amount_of)
    except UnknownOrder:
        raise NoPayment(UNKNOWN_ORDER) from None  # it is in the log already
    except InvalidValue as error:
        raise _unreadable(error) from None
    except PaystarError as error:
        # It is the shop's trouble (its keys, its store), not the payer's: the same callback may come again.
        logger.error("payments: a callback for order %s cannot be decided: %s", named(callback.order_id), error)
        raise NoPayment(LATER) from error
    logger.debug("payments: a callback for order %s: %s", named(payment.order_id), type(payment.outcome).__name__)
    return payment


def _unreadable(error: ValueError) -> NoPayment:
    """What is no callback; an InvalidValue names the field, and shows nothing of what it refuses."""
    logger.warning(
        "payments: a callback is refused: %s", error if isinstance(error, InvalidValue) else "no form of ours"
    )
    return NoPayment(UNREADABLE)


async def _confirmed(paystar: Paystar, callback: Callback, amount_of: AmountOf | None) -> Payment:
    if amount_of is None:
        return await paystar.payments.confirm(callback)
    amount = amount_of(callback.order_id)
    amount = await amount if isawaitable(amount) else amount
    if amount is None:
        refused(callback, "there is no such order")
        raise UnknownOrder("order_id", expected="an order of yours", got=named(callback.order_id))
    return await paystar.payments.confirm(callback, amount=amount, order_id=callback.order_id)


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
