"""Amounts: the same amounts get the same verdict, whichever response names them."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async import Callback
from paystar_async.errors import NoResponse
from paystar_async.payments import AmountMismatch, Payment, Undecided, Verified
from paystar_async.payments.amounts import MAX_FEE_FACTOR, judge_amount
from paystar_async.payments.models import OrderStatus
from tests.payments.shop import AMOUNT, CALLBACK_URL, Shop
from tests.support import Engine, QuickClock, Reply, Sent, client, ok, refused

FEE = 500
CALLBACK = Callback(status="1", order_id="o-1", ref_num="ref-1", card_number="502229******6708", tracking_code="123456")

VerifyResult = Literal["response", "lost", "not sent", "repeated"]
Flow = Literal["stored", "caller store"]


@define(eq=False)
class FakeGateway:
    """A gateway with one payment, whose amounts can be set.

    Attributes:
        price: Rial that verify names.
        payment_amount: Rial that create and inquiry name; None where they name none.
        verify: results of the next verify calls; later calls get a response.
        ids: the ids that the inquiry names.
    """

    price: int = AMOUNT
    payment_amount: int | None = AMOUNT
    verify: list[VerifyResult] = field(factory=list[VerifyResult])
    ids: tuple[str, ...] = ("order_id", "ref_num")
    status: str = "UNVERIFIED"

    def __call__(self, sent: Sent) -> Reply:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1", "payment_amount": self.payment_amount})
        if sent.path.endswith("inquiry"):
            ids = {"order_id": "o-1", "ref_num": "ref-1"}
            named = {name: ids[name] for name in self.ids}
            return ok({"status": self.status, "payment_amount": self.payment_amount, **named})
        result = self.verify.pop(0) if self.verify else "response"
        was_verified = self.status == "SUCCEED"
        if result == "not sent":
            return NoResponse("reset")
        self.status = "SUCCEED"
        if result == "lost":
            return NoResponse("reset")
        return refused(-6) if was_verified or result == "repeated" else ok({"price": self.price, "ref_num": "ref-1"})


async def run_calls(
    gateway: FakeGateway, flow: Flow, calls: Iterable[str], folder: str | Path
) -> tuple[list[Any], list[str]]:
    """Return the outcomes of several calls on one payment, and the payments that were fulfilled."""
    clock, notified, outcomes = QuickClock(), list[str](), list[Any]()
    database = Path(folder) / "orders.db" if flow == "stored" else None
    async with client(Engine(gateway), database=database, clock=clock, max_retries=0) as paystar:

        @paystar.payments.on_verified
        async def fulfil(payment: Payment) -> None:
            notified.append(payment.id)

        values: dict[str, Any] = {}
        if flow == "stored":
            await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        else:
            values = {"amount": AMOUNT, "order_id": "o-1"}
        for call in calls:
            if call == "confirm":
                outcomes.append((await paystar.payments.confirm(CALLBACK, **values)).outcome)
            elif flow == "stored":
                clock.advance(60)
                outcomes += [payment.outcome for payment in await paystar.payments.sweep()]
    return outcomes, notified


@pytest.mark.parametrize(
    ("figure", "is_paid"),
    [
        (AMOUNT, True),
        (AMOUNT + FEE, True),
        (AMOUNT * MAX_FEE_FACTOR - 1, True),
        (AMOUNT * MAX_FEE_FACTOR, False),
        (AMOUNT - 1, False),
        (0, False),
    ],
)
def test_judge_amount_of_inquiry_allows_a_fee(figure: int, is_paid: bool) -> None:
    expected = True if is_paid else AmountMismatch(expected=AMOUNT, got=figure)

    assert judge_amount(AMOUNT, payment_amount=figure) == expected
    assert judge_amount(AMOUNT, price=AMOUNT, payment_amount=figure) == expected
    assert judge_amount(AMOUNT, price=1, payment_amount=figure) == expected


def test_judge_amount_of_verify_allows_no_fee() -> None:
    assert judge_amount(AMOUNT, price=AMOUNT) is True
    for price in (AMOUNT + FEE, AMOUNT - 1, AMOUNT * 10, 0):
        assert judge_amount(AMOUNT, price=price) == AmountMismatch(expected=AMOUNT, got=price)
    assert judge_amount(AMOUNT) is None


FIGURE = st.sampled_from([AMOUNT, AMOUNT, AMOUNT + FEE, AMOUNT * 3, AMOUNT * 10, AMOUNT - FEE, 40_000, 5_000, 0])


@given(
    figures=st.tuples(FIGURE, FIGURE),
    histories=st.lists(
        st.tuples(
            st.sampled_from(["stored", "caller store"]),
            st.lists(st.sampled_from(["response", "lost", "not sent", "repeated"]), max_size=3),
            st.lists(st.sampled_from(["confirm", "confirm", "sweep"]), min_size=1, max_size=4),
        ),
        min_size=2,
        max_size=4,
    ),
)
@settings(max_examples=60, deadline=None)
def test_confirm_same_figures_same_verdict(
    figures: tuple[int, int], histories: list[tuple[Flow, list[VerifyResult], list[str]]]
) -> None:
    """The verdict is the same in both flows, whichever call gets a response, and handlers agree with the verdict."""
    price, payment_amount = figures
    verdicts: set[Any] = set()
    for flow, verify, calls in histories:
        gateway = FakeGateway(price=price, payment_amount=payment_amount, verify=list(verify))
        with TemporaryDirectory() as folder:
            outcomes, notified = asyncio.run(run_calls(gateway, flow, calls, folder))
        decided: list[object] = [outcome for outcome in outcomes if not isinstance(outcome, Undecided)]
        first = len(outcomes) - len(decided)
        assert all(isinstance(outcome, Undecided) for outcome in outcomes[:first]), "a decided payment became undecided"
        assert len({type(outcome) for outcome in decided}) <= 1
        assert len(notified) == (flow == "stored" and any(isinstance(outcome, Verified) for outcome in decided))
        verdicts |= {Verified if isinstance(outcome, Verified) else outcome for outcome in decided}
    assert len(verdicts) <= 1
    assert verdicts <= {Verified, AmountMismatch(expected=AMOUNT, got=payment_amount)}


@pytest.mark.parametrize("flow", ["stored", "caller store"])
@pytest.mark.parametrize(
    ("price", "paid", "kind"),
    [
        (AMOUNT, AMOUNT, Verified),
        (AMOUNT, AMOUNT + FEE, Verified),
        (AMOUNT + FEE, AMOUNT + FEE, Verified),
        (AMOUNT + FEE, AMOUNT, Verified),
        (40_000, AMOUNT, Verified),
        (40_000, 40_000, AmountMismatch),
        (AMOUNT * 10, AMOUNT * 10, AmountMismatch),
        (AMOUNT, 40_000, AmountMismatch),
    ],
)
async def test_confirm_each_figure_has_its_verdict(
    flow: Flow, price: int, paid: int, kind: type, tmp_path: Path
) -> None:
    gateway = FakeGateway(price=price, payment_amount=paid)

    outcomes, notified = await run_calls(gateway, flow, ["confirm"] * 3, tmp_path)

    assert [type(outcome) for outcome in outcomes] == [kind] * 3
    assert len(notified) == (flow == "stored" and kind is Verified)


async def test_confirm_caller_order_inquiry_below_price_is_mismatch(tmp_path: Path) -> None:
    """Without a store the inquiry decides the first confirm as well as the second."""
    outcomes, _ = await run_calls(FakeGateway(payment_amount=40_000), "caller store", ["confirm"] * 2, tmp_path)

    assert outcomes == [AmountMismatch(expected=AMOUNT, got=40_000)] * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"ids": ()}, "no order"), ({"payment_amount": None}, "no amount")],
)
async def test_confirm_inquiry_without_id_or_amount_is_undecided(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    gateway = FakeGateway(verify=["lost", "lost"], **change)

    [outcome, second], notified = await run_calls(gateway, "stored", ["confirm"] * 2, tmp_path)

    assert isinstance(outcome, Undecided)
    assert isinstance(second, Undecided)
    assert reason in outcome.reason
    assert notified == []


@pytest.mark.parametrize("named", ["order_id", "ref_num"])
async def test_confirm_inquiry_with_one_id_is_verified(named: str, tmp_path: Path) -> None:
    outcomes, notified = await run_calls(FakeGateway(verify=["lost"], ids=(named,)), "stored", ["confirm"], tmp_path)

    assert isinstance(outcomes[0], Verified)
    assert len(notified) == 1


async def test_confirm_after_mismatch_stays_mismatch(tmp_path: Path) -> None:
    """The verdict is stored with its figure; no later response of the gateway changes it."""
    gateway = FakeGateway(payment_amount=40_000, verify=["lost"])

    engine = Engine(gateway)
    async with client(engine, database=tmp_path / "p.db", clock=QuickClock(), max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        first = await paystar.payments.confirm(CALLBACK)
        gateway.payment_amount = AMOUNT
        request_count = len(engine.sent)
        second = await paystar.payments.confirm(CALLBACK)
        assert len(engine.sent) == request_count
        order = await paystar.payments.find(order_id="o-1")

    assert first == second
    assert second.outcome == AmountMismatch(expected=AMOUNT, got=40_000)
    assert order is not None
    assert (order.state, order.attempts[0].paid_amount) == (OrderStatus.MISMATCH, 40_000)


@pytest.mark.parametrize("lost", [False, True])
async def test_confirm_price_with_fee_is_verified(shop: Shop, lost: bool) -> None:
    """The sandbox acts as a gateway that includes the fee in ``price``."""
    shop.sandbox.settings.payer_fee = shop.sandbox.settings.price_fee = FEE
    callback = shop.pay(await shop.start())
    if lost:
        shop.sandbox.fail("gateway.verify", "reset_after", times=1)

    payments = [await shop.confirm(callback) for _ in range(2)]

    assert [type(payment.outcome) for payment in payments] == [Verified, Verified]
    assert len(shop.fulfilled) == 1
