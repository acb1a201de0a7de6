"""From an order to its payment page: the order is stored first, then the payment, and only then the page is told."""

from typing import Any, cast

from attrs import asdict

from paystar_async.errors import (
    BadAnswer,
    ForeignRecord,
    OrderConflict,
    OrderPaid,
    PaystarError,
    StorageError,
)
from paystar_async.events import logger
from paystar_async.models.gateway import Created, CreatePayment
from paystar_async.payments.desk import Desk
from paystar_async.payments.order import Order, State
from paystar_async.payments.started import StartedPayment
from paystar_async.services import GatewayCalls

_START_AGAIN = "nobody has its page, so nobody can pay it: start the order again"


async def start(desk: Desk, gateway: GatewayCalls, asked: CreatePayment, timeout: float | None) -> StartedPayment:
    """Start a payment of an order; ``Payments.start`` says what it raises."""
    order = await desk.store.begin(asked.order_id, asked.amount)
    if order.amount != asked.amount:
        raise OrderConflict(
            "amount",
            expected=f"{order.amount} Rial, as this order was stored",
            got=str(asked.amount),
            hint="another amount is another order: give it an order_id of its own",
        )
    await _ask_of_earlier(desk, order)
    created = await _create(gateway, asked, timeout)
    await _keep(desk, asked, created)
    return StartedPayment(
        url=gateway.payment_url(token=created.token),
        order_id=asked.order_id,
        ref_num=created.ref_num,
        amount=asked.amount,
        payment_amount=created.payment_amount,
    )


async def _ask_of_earlier(desk: Desk, order: Order) -> None:
    """Whether the payer has paid already and did not come back; refuses an order that is paid."""
    asked = {order.chosen, *(one.ref_num for one in order.attempts[-1:] if one.state is State.OPEN)} - {None}
    for ref_num in sorted(filter(None, asked)):
        try:
            await desk.notifier.wait((await desk.examine(order, ref_num)).notifications)
        except StorageError:
            raise
        except PaystarError as error:
            logger.info("payments: an earlier payment of the order could not be asked about: %s", error)
        order = await desk.store.begin(order.order_id, order.amount)
    _refuse_paid(order)


async def _create(gateway: GatewayCalls, asked: CreatePayment, timeout: float | None) -> Created:
    fields: dict[str, Any] = asdict(cast("Any", asked), recurse=False)
    try:
        created = await gateway.create(**fields, timeout=timeout)
    except PaystarError as error:
        if error.executed == "maybe":
            error.hint = _START_AGAIN
        raise
    if created.order_id not in (None, asked.order_id):
        raise _bad_answer("order_id", "it is another order's")
    return created


async def _keep(desk: Desk, asked: CreatePayment, created: Created) -> None:
    """Store a payment before anybody can pay it."""
    while True:
        order = await desk.store.begin(asked.order_id, asked.amount)
        _refuse_paid(order)
        try:
            if await desk.store.put(order, order.started(created.ref_num, created.payment_amount)) is not None:
                return
        except ForeignRecord:
            raise _bad_answer("ref_num", "it is another order's payment") from None


def _bad_answer(field: str, reason: str) -> BadAnswer:
    error = BadAnswer(f"$.data.{field}", reason)
    error.hint = _START_AGAIN
    return error


def _refuse_paid(order: Order) -> None:
    if order.verified is not None:
        raise OrderPaid("order_id", expected="an order that is not paid", got="one with a verified payment")
