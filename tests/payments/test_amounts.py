"""One rule for amounts: the same amounts get the same verdict, whichever call names them."""

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

Verify = Literal["answered", "lost", "not sent", "repeated"]
Flow = Literal["stored", "caller store"]


@define(eq=False)
class Bank:
    """A gateway with one payment, whose amounts can be set.

    Attributes:
        price: Rial that verify names.
        payment_amount: Rial that create and inquiry name; None where they name none.
        verify: what becomes of the next verify calls; answered after those.
        ids: which ids the inquiry names.
    """

    price: int = AMOUNT
    payment_amount: int | None = AMOUNT
    verify: list[Verify] = field(factory=list[Verify])
    ids: tuple[str, ...] = ("order_id", "ref_num")
    status: str = "UNVERIFIED"

    def __call__(self, sent: Sent) -> Reply:
        if sent.path.endswith("create"):
            return ok({"token": "t", "ref_num": "ref-1", "payment_amount": self.payment_amount})
        if sent.path.endswith("inquiry"):
            ids = {"order_id": "o-1", "ref_num": "ref-1"}
            named = {name: ids[name] for name in self.ids}
            return ok({"status": self.status, "payment_amount": self.payment_amount, **named})
        how = self.verify.pop(0) if self.verify else "answered"
        was_verified = self.status == "SUCCEED"
        if how == "not sent":
            return NoResponse("reset")
        self.status = "SUCCEED"
        if how == "lost":
            return NoResponse("reset")
        return refused(-6) if was_verified or how == "repeated" else ok({"price": self.price, "ref_num": "ref-1"})


async def outcomes_of(bank: Bank, flow: Flow, calls: Iterable[str], folder: str | Path) -> tuple[list[Any], list[str]]:
    """Return the outcomes of several calls on one payment, and the payments that were fulfilled."""
    clock, notified, outcomes = QuickClock(), list[str](), list[Any]()
    database = Path(folder) / "orders.db" if flow == "stored" else None
    async with client(Engine(bank), database=database, clock=clock, max_retries=0) as paystar:

        @paystar.payments.on_verified
        async def fulfil(payment: Payment) -> None:
            notified.append(payment.id)

        given: dict[str, Any] = {}
        if flow == "stored":
            await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        else:
            given = {"amount": AMOUNT, "order_id": "o-1"}
        for call in calls:
            if call == "confirm":
                outcomes.append((await paystar.payments.confirm(CALLBACK, **given)).outcome)
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
            st.lists(st.sampled_from(["answered", "lost", "not sent", "repeated"]), max_size=3),
            st.lists(st.sampled_from(["confirm", "confirm", "sweep"]), min_size=1, max_size=4),
        ),
        min_size=2,
        max_size=4,
    ),
)
@settings(max_examples=60, deadline=None)
def test_confirm_same_figures_same_verdict(
    figures: tuple[int, int], histories: list[tuple[Flow, list[Verify], list[str]]]
) -> None:
    """Whichever call is answered, first or later, in either flow: one verdict, and handlers agree with it."""
    price, payment_amount = figures
    verdicts: set[Any] = set()
    for flow, verify, calls in histories:
        bank = Bank(price=price, payment_amount=payment_amount, verify=list(verify))
        with TemporaryDirectory() as folder:
            outcomes, notified = asyncio.run(outcomes_of(bank, flow, calls, folder))
        decided: list[object] = [outcome for outcome in outcomes if not isinstance(outcome, Undecided)]
        first = len(outcomes) - len(decided)
        assert all(isinstance(outcome, Undecided) for outcome in outcomes[:first]), (
            "what was decided is undecided again"
        )
        assert len({type(outcome) for outcome in decided}) <= 1
        assert len(notified) == (flow == "stored" and any(isinstance(outcome, Verified) for outcome in decided))
        verdicts |= {Verified if isinstance(payment, Verified) else payment for payment in decided}
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
    bank = Bank(price=price, payment_amount=paid)

    outcomes, notified = await outcomes_of(bank, flow, ["confirm"] * 3, tmp_path)

    assert [type(outcome) for outcome in outcomes] == [kind] * 3
    assert len(notified) == (flow == "stored" and kind is Verified)


async def test_confirm_caller_order_inquiry_below_price_is_mismatch(tmp_path: Path) -> None:
    """Without a store the inquiry decides from the first time on, as it will the second time."""
    outcomes, _ = await outcomes_of(Bank(payment_amount=40_000), "caller store", ["confirm"] * 2, tmp_path)

    assert outcomes == [AmountMismatch(expected=AMOUNT, got=40_000)] * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"ids": ()}, "no order"), ({"payment_amount": None}, "no amount")],
)
async def test_confirm_inquiry_without_id_or_amount_is_undecided(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    bank = Bank(verify=["lost", "lost"], **change)

    [outcome, again], notified = await outcomes_of(bank, "stored", ["confirm"] * 2, tmp_path)

    assert isinstance(outcome, Undecided)
    assert isinstance(again, Undecided)
    assert reason in outcome.reason
    assert notified == []


@pytest.mark.parametrize("named", ["order_id", "ref_num"])
async def test_confirm_inquiry_with_one_id_is_verified(named: str, tmp_path: Path) -> None:
    outcomes, notified = await outcomes_of(Bank(verify=["lost"], ids=(named,)), "stored", ["confirm"], tmp_path)

    assert isinstance(outcomes[0], Verified)
    assert len(notified) == 1


async def test_confirm_after_mismatch_stays_mismatch(tmp_path: Path) -> None:
    """The verdict is stored with its figure: nothing that the gateway says later turns it."""
    bank = Bank(payment_amount=40_000, verify=["lost"])

    engine = Engine(bank)
    async with client(engine, database=tmp_path / "p.db", clock=QuickClock(), max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        first = await paystar.payments.confirm(CALLBACK)
        bank.payment_amount = AMOUNT
        asked = len(engine.sent)
        again = await paystar.payments.confirm(CALLBACK)
        assert len(engine.sent) == asked
        order = await paystar.payments.find(order_id="o-1")

    assert first == again
    assert again.outcome == AmountMismatch(expected=AMOUNT, got=40_000)
    assert order is not None
    assert (order.state, order.attempts[0].paid_amount) == (OrderStatus.MISMATCH, 40_000)


@pytest.mark.parametrize("lost", [False, True])
async def test_confirm_price_with_fee_is_verified(shop: Shop, lost: bool) -> None:
    """The sandbox plays a gateway that names the fee in ``price`` as well."""
    shop.sandbox.settings.payer_fee = shop.sandbox.settings.price_fee = FEE
    callback = shop.pay(await shop.start())
    if lost:
        shop.sandbox.fail("gateway.verify", "reset_after", times=1)

    payments = [await shop.confirm(callback) for _ in range(2)]

    assert [type(payment.outcome) for payment in payments] == [Verified, Verified]
    assert len(shop.fulfilled) == 1
