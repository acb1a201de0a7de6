"""``confirm`` for orders that the caller stores, with a stateful fake gateway."""

import asyncio
import itertools
from typing import Any

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import Callback, Gateway, Paystar
from paystar_async.errors import (
    BY_STATUS,
    ConfigurationError,
    GatewayError,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    PaystarError,
    StatusError,
    Unauthenticated,
    UnknownRefNum,
)
from paystar_async.models.gateway import GatewayStatus
from paystar_async.payments import AmountMismatch, Cancelled, Declined, Expired, Undecided, Verified
from paystar_async.payments.models import VERIFY_IN_FLIGHT_SECONDS
from paystar_async.payments.outcomes import PaymentOutcome
from paystar_async.payments.verification import MAX_CALL_SECONDS, PaymentVerifier, is_temporary
from paystar_async.payments.verification_models import (
    CALLER_ORDER,
    STORED_ORDER,
    VerificationPolicy,
    VerificationRequest,
    VerificationResult,
)
from tests.support import Engine, QuickClock, Raw, Reply, Sent, client, html_page, ok, refused, wait_all_tasks_blocked

AMOUNT = 50_000
CALLBACK = Callback(
    status="1",
    order_id="ORD-1",
    ref_num="ref-1",
    transaction_id="77",
    card_number="502229******6708",
    hashed_card_number="ABC",
    tracking_code="123456",
)
TRANSACTION = {
    "ref_num": "ref-1",
    "status": "SUCCEED",
    "payment_amount": AMOUNT,
    "order_id": "ORD-1",
    "tracking_code": "123456",
    "card_number": "502229******6708",
}


@define
class FakeGateway:
    """A gateway with one payment; ``verify`` and ``inquiry`` hold replies that replace the next responses."""

    order_id: str = "ORD-1"
    amount: int = AMOUNT
    fee: int = 0
    paid: bool = True
    verified: int = 0
    verify: list[Reply | str] = field(factory=list[Reply | str])
    inquiry: list[Reply | str] = field(factory=list[Reply | str])

    def __call__(self, sent: Sent) -> Reply:
        script, respond = (self.verify, self._verify) if sent.path.endswith("verify") else (self.inquiry, self._inquiry)
        reply = script.pop(0) if script else "default"
        if reply == "default":
            return respond(sent)
        if reply == "executed, response lost":
            respond(sent)
            return NoResponse("reset")
        assert not isinstance(reply, str)
        return reply

    def _verify(self, sent: Sent) -> Raw:
        if sent.fields["amount"] != self.amount:
            return refused(-7)
        if self.verified:
            return refused(-6)
        if not self.paid:
            return refused(-8, "not paid")
        self.verified += 1
        return ok({"price": float(self.amount), "ref_num": sent.fields["ref_num"], "card_number": "502229******6708"})

    def _inquiry(self, sent: Sent) -> Raw:
        status = "SUCCEED" if self.verified else "UNVERIFIED" if self.paid else "INIT"
        return ok(
            TRANSACTION
            | {
                "status": status,
                "order_id": self.order_id,
                "ref_num": sent.fields["ref_num"],
                "payment_amount": self.amount + self.fee,
            }
        )


def make_client(fake_gateway: FakeGateway, **options: Any) -> tuple[Paystar, Engine]:
    engine = Engine(fake_gateway)
    return client(engine, clock=QuickClock(), **options), engine


async def outcome_of(
    gateway: FakeGateway, callback: Callback = CALLBACK, **options: Any
) -> tuple[PaymentOutcome, list[str]]:
    """Return the outcome of ``confirm`` and the names of the endpoints that were called."""
    paystar, engine = make_client(gateway, max_retries=0)
    values: dict[str, Any] = {"amount": AMOUNT, "order_id": "ORD-1", **options}
    payment = await paystar.payments.confirm(callback, **values)
    assert payment.order_id == "ORD-1"
    assert payment.ref_num == callback.ref_num
    assert payment.amount == options.get("amount", AMOUNT)
    return payment.outcome, [request.path.rpartition("/")[2] for request in engine.sent]


async def check(
    gateway: FakeGateway, policy: VerificationPolicy, *, timeout: float = 5.0, **fields: Any
) -> tuple[VerificationResult, list[Sent]]:
    """Return the result of one check, and the requests that were sent."""
    paystar, engine = make_client(gateway, max_retries=0)
    values: dict[str, Any] = {"order_id": "ORD-1", "ref_num": "ref-1", "amount": AMOUNT, "callback": CALLBACK}
    request = VerificationRequest(**{**values, **fields})
    return await PaymentVerifier(paystar.gateway, request, policy, timeout=timeout).check(), engine.sent


# --- verify decides ---------------------------------------------------------------------------------------------------


async def test_confirm_verify_and_inquiry_agree_is_verified() -> None:
    gateway = FakeGateway()

    outcome, requests = await outcome_of(gateway)

    assert outcome == Verified(tracking_code="123456", card_number="502229******6708", hashed_card_number="ABC")
    assert requests == ["verify", "inquiry"]
    assert gateway.verified == 1


async def test_confirm_verify_signs_amount_and_receipt() -> None:
    paystar, engine = make_client(FakeGateway())

    await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")

    assert set(engine.sent[0].fields) == {"ref_num", "amount", "sign"}
    assert engine.sent[0].fields["amount"] == AMOUNT


@pytest.mark.parametrize(("timeout", "seconds"), [(300.0, MAX_CALL_SECONDS), (5.0, 5.0)])
async def test_check_time_of_each_call_is_bounded(timeout: float, seconds: float) -> None:
    """A verify that takes longer than the order is reserved for it would be executed beside that of another payment."""
    _, sent = await check(FakeGateway(), CALLER_ORDER, timeout=timeout)

    assert {request.timeout for request in sent} == {seconds}
    assert MAX_CALL_SECONDS < VERIFY_IN_FLIGHT_SECONDS


async def test_check_inquiry_signs_claimed_receipt() -> None:
    gateway = FakeGateway()

    _, (verify, inquiry) = await check(gateway, CALLER_ORDER)

    assert verify.fields["sign"] == inquiry.fields["sign"]


async def test_check_stored_order_mismatched_inquiry_is_not_final() -> None:
    """The signature covers the card of the callback, which may be forged: a mismatch proves nothing of the amount."""
    inquiries: list[Reply | str] = [refused(-1), refused(-7)]
    result, sent = await check(FakeGateway(verify=[refused(-8, "not paid")], inquiry=inquiries), STORED_ORDER)

    assert (type(result.outcome), result.settled) == (Expired, False)
    assert len(sent) == 3


async def test_check_stored_order_lost_verify_outlasts_refusals() -> None:
    """The first verify may have been executed, whatever the gateway refuses later."""
    gateway = FakeGateway(verify=[NoResponse("reset"), refused(-8, "too late")], inquiry=["default", refused(-2)])

    result, sent = await check(gateway, STORED_ORDER)

    assert (type(result.outcome), result.settled) == (Undecided, False)
    assert len(sent) == 4


async def test_check_already_verified_without_inquiry_is_undecided() -> None:
    result, _ = await check(FakeGateway(verify=[refused(-6)], inquiry=[refused(-2)]), STORED_ORDER)

    assert (type(result.outcome), result.settled) == (Undecided, False)


@pytest.mark.parametrize(
    ("fields", "inquiries"),
    [({"payment_amount": AMOUNT - 1}, [refused(-2)]), ({"is_verifiable": False}, ["default", refused(-2)])],
)
async def test_check_unproven_verify_with_refused_inquiry_is_undecided(
    fields: dict[str, Any], inquiries: list[Reply | str]
) -> None:
    """Too little was to be paid, or verify came too late: its success alone proves nothing."""
    gateway = FakeGateway(inquiry=inquiries)

    result, _ = await check(gateway, STORED_ORDER, **fields)

    assert gateway.verified == 1
    assert (type(result.outcome), result.settled) == (Undecided, False)


async def test_check_beside_open_payment_without_inquiry_is_unsent() -> None:
    """A verify reserves the order: a forged callback would delay the payment that was made."""
    result, sent = await check(FakeGateway(inquiry=[NoResponse("reset")]), STORED_ORDER, is_only_open_attempt=False)

    assert isinstance(result.outcome, Undecided)
    assert [request.path.rpartition("/")[2] for request in sent] == ["inquiry"]


async def test_check_reserved_order_with_refused_inquiry_is_unsent() -> None:
    async def refuse() -> PaymentOutcome:
        return Declined(reason="paid by another payment")

    paystar, engine = make_client(FakeGateway(inquiry=[refused(-2)]), max_retries=0)
    request = VerificationRequest(
        order_id="ORD-1", ref_num="ref-1", amount=AMOUNT, callback=CALLBACK, is_only_open_attempt=False
    )
    result = await PaymentVerifier(paystar.gateway, request, STORED_ORDER, reserve=refuse).check()

    assert result.outcome == await refuse()
    assert [sent.path.rpartition("/")[2] for sent in engine.sent] == ["inquiry"]


@pytest.mark.parametrize("amount", [AMOUNT - 1, AMOUNT * 10])
async def test_check_other_amount_that_was_captured_is_final(amount: int) -> None:
    gateway = FakeGateway(inquiry=[ok(TRANSACTION | {"payment_amount": amount})])

    result, _ = await check(gateway, STORED_ORDER, callback=None)

    assert (result.outcome, result.settled) == (AmountMismatch(expected=AMOUNT, got=amount), True)


@pytest.mark.parametrize("is_named", [True, False])
async def test_check_refusal_depends_on_unnamed_receipt(is_named: bool) -> None:
    """The refusal of a card that only the callback names says nothing about another callback."""
    receipt: dict[str, object] = {} if is_named else {"card_number": None, "tracking_code": None}
    inquiry = ok(TRANSACTION | receipt | {"status": "UNVERIFIED"})

    result, _ = await check(FakeGateway(verify=[refused(-8)], inquiry=[inquiry]), STORED_ORDER)

    assert isinstance(result.outcome, Expired)
    assert result.depends_on_receipt is not is_named


async def test_check_stored_order_lost_verify_is_sent_once() -> None:
    gateway = FakeGateway(verify=[NoResponse("reset")])

    result, sent = await check(gateway, STORED_ORDER, callback=None)

    assert isinstance(result.outcome, Undecided)
    assert [request.path.rpartition("/")[2] for request in sent] == ["inquiry", "verify", "inquiry"]


async def test_confirm_payer_fee_is_verified() -> None:
    assert isinstance((await outcome_of(FakeGateway(fee=1200)))[0], Verified)
    assert isinstance((await outcome_of(FakeGateway(fee=1200, verified=1)))[0], Verified)


@pytest.mark.parametrize("price", [AMOUNT - 1, AMOUNT + 1, AMOUNT * 10, AMOUNT // 10, 0])
async def test_confirm_other_price_without_inquiry_is_mismatch(price: int) -> None:
    outcome, _ = await outcome_of(FakeGateway(verify=[ok({"price": price, "ref_num": "ref-1"})], inquiry=[refused(8)]))

    assert outcome == AmountMismatch(expected=AMOUNT, got=price)


@pytest.mark.parametrize("status", ["INIT", "UNVERIFIED", "VERIFY_PENDING", "FAILED", "CANCELLED", "REVERSED"])
async def test_confirm_other_price_before_success_is_undecided(status: str) -> None:
    gateway = FakeGateway(
        verify=[ok({"price": AMOUNT + 1, "ref_num": "ref-1"})], inquiry=[ok(TRANSACTION | {"status": status})]
    )

    outcome, requests = await outcome_of(gateway)

    assert isinstance(outcome, Undecided)
    assert requests == ["verify", "inquiry"]


async def test_confirm_other_price_with_lost_inquiry_is_undecided() -> None:
    gateway = FakeGateway(verify=[ok({"price": AMOUNT + 1, "ref_num": "ref-1"})], inquiry=[NoResponse("reset")])

    assert isinstance((await outcome_of(gateway))[0], Undecided)


async def test_confirm_toman_amount_is_mismatch() -> None:
    gateway = FakeGateway()

    outcome, requests = await outcome_of(gateway, amount=AMOUNT // 10)

    assert outcome == AmountMismatch(expected=AMOUNT // 10)
    assert (requests, gateway.verified) == (["verify"], 0)


@pytest.mark.parametrize(
    ("status", "kind"), [(-5, Declined), (-7, AmountMismatch), (-8, Expired), (-98, Declined), (-105, Declined)]
)
async def test_confirm_verify_refusal_is_outcome(status: int, kind: type[PaymentOutcome]) -> None:
    outcome, requests = await outcome_of(FakeGateway(verify=[refused(status, "no", http=400)]))

    assert isinstance(outcome, kind)
    assert requests == ["verify"]


MERCHANT_STATUSES = sorted({*BY_STATUS} - {0, 4, 5, 11, -5, -6, -7, -8, -9, -98, -99, "unauthenticated"}, key=str)


@pytest.mark.parametrize("status", [*MERCHANT_STATUSES, "unauthenticated"])
async def test_confirm_refused_merchant_is_raised(status: Any) -> None:
    with pytest.raises(StatusError) as error:
        await outcome_of(FakeGateway(verify=[refused(status, http=400)]))

    assert error.value.executed == "no"


async def test_confirm_verify_of_other_ref_num_needs_inquiry() -> None:
    gateway = FakeGateway(verify=[ok({"price": AMOUNT, "ref_num": "ref-2"})])

    outcome, requests = await outcome_of(gateway)

    assert isinstance(outcome, Undecided)
    assert requests == ["verify", "inquiry"]


# --- callbacks that prove nothing -------------------------------------------------------------------------------------


async def test_confirm_other_orders_callback_is_declined_unsent() -> None:
    assert (await outcome_of(FakeGateway(), evolve(CALLBACK, order_id="ORD-2")))[1] == []
    assert isinstance((await outcome_of(FakeGateway(), evolve(CALLBACK, order_id="ORD-2")))[0], Declined)


@pytest.mark.parametrize(
    ("status", "kind"), [("-98", Cancelled), ("-198", Cancelled), ("-1", Declined), ("ok", Declined)]
)
async def test_confirm_unpaid_callback_sends_nothing(status: str, kind: type[PaymentOutcome]) -> None:
    callback = Callback(status=status, order_id="ORD-1", ref_num="ref-1")

    outcome, requests = await outcome_of(FakeGateway(), callback)

    assert isinstance(outcome, kind)
    assert requests == []


async def test_confirm_one_payment_pays_one_order() -> None:
    gateway = FakeGateway(order_id="ORD-1")
    paystar, _ = make_client(gateway, max_retries=0)
    forged = evolve(CALLBACK, order_id="ORD-2")

    forged_payment = await paystar.payments.confirm(forged, amount=AMOUNT, order_id="ORD-2")
    payment = await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")

    assert isinstance(forged_payment.outcome, Declined)
    assert isinstance(payment.outcome, Verified)


async def test_confirm_one_payment_without_order_id_pays_once() -> None:
    without_order_id = {name: value for name, value in TRANSACTION.items() if name != "order_id"}
    for first, second in itertools.permutations(["ORD-1", "ORD-2"]):
        gateway = FakeGateway(inquiry=[ok(without_order_id) for _ in range(9)])
        paystar, _ = make_client(gateway, max_retries=0)
        outcomes = [
            (await paystar.payments.confirm(evolve(CALLBACK, order_id=name), amount=AMOUNT, order_id=name)).outcome
            for name in (first, second)
        ]

        assert [type(outcome) for outcome in outcomes] == [Verified, Undecided]


async def test_confirm_forged_callback_is_expired() -> None:
    assert isinstance((await outcome_of(FakeGateway(paid=False)))[0], Expired)


@pytest.mark.parametrize("card", ["5022291234566708", "5022-2912-3456-6708", "۵۰۲۲۲۹۱۲۳۴۵۶۶۷۰۸"])
async def test_confirm_full_card_number_sends_nothing(card: str) -> None:
    paystar, engine = make_client(FakeGateway())

    with pytest.raises(InvalidValue, match="masked") as refusal:
        await paystar.payments.confirm(evolve(CALLBACK, card_number=card), amount=AMOUNT, order_id="ORD-1")

    assert refusal.value.field == "card_number"
    assert "1234566708" not in str(refusal.value)
    assert engine.sent == []


async def test_confirm_without_receipt_is_verified() -> None:
    callback = Callback(status="1", order_id="ORD-1", ref_num="ref-1")

    assert isinstance((await outcome_of(FakeGateway(), callback))[0], Verified)


@pytest.mark.parametrize("amount", [True, 50_000.0, "50000", 0, -AMOUNT])
async def test_confirm_invalid_amount_sends_nothing(amount: Any) -> None:
    paystar, engine = make_client(FakeGateway())

    with pytest.raises(InvalidValue, match="amount"):
        await paystar.payments.confirm(CALLBACK, amount=amount, order_id="ORD-1")

    assert engine.sent == []


@pytest.mark.parametrize("values", [{}, {"amount": AMOUNT}, {"order_id": "ORD-1"}])
async def test_confirm_without_amount_or_order_id_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="amount and order_id"):
        await make_client(FakeGateway())[0].payments.confirm(CALLBACK, **values)


async def test_confirm_int_order_id_equals_text() -> None:
    payment = await make_client(FakeGateway(order_id="7"))[0].payments.confirm(
        evolve(CALLBACK, order_id="7"),
        amount=AMOUNT,
        order_id=7,  # type: ignore[arg-type]  # pyright: ignore
    )

    assert isinstance(payment.outcome, Verified)


async def test_confirm_without_gateway_names_setting() -> None:
    paystar, engine = make_client(FakeGateway(), gateway=None)

    with pytest.raises(ConfigurationError, match="PAYSTAR_GATEWAY_ID"):
        await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")

    assert engine.sent == []


async def test_confirm_unsigned_gateway_is_verified() -> None:
    paystar, engine = make_client(FakeGateway(), gateway=Gateway(id="gateway-1"))

    assert isinstance((await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")).outcome, Verified)

    assert all("sign" not in request.fields for request in engine.sent)


# --- verify without a usable response ---------------------------------------------------------------------------------


async def test_confirm_already_verified_asks_inquiry() -> None:
    gateway = FakeGateway(verified=1)

    outcome, requests = await outcome_of(gateway)

    assert isinstance(outcome, Verified)
    assert requests == ["verify", "inquiry"]


DOUBTS: list[Reply] = [
    NoResponse("reset"),
    NotSent("no connection"),
    html_page(502),
    refused(0),
    refused(11),
    refused(-99),
    refused(-199),
    refused(77),
    refused(-7777),
    refused(-7, http=503),
]


@pytest.mark.parametrize("doubt", [*DOUBTS[:-1], refused(-9), refused(-109)])
async def test_confirm_verify_without_effect_is_retried_once(doubt: Reply) -> None:
    gateway = FakeGateway(verify=[doubt])

    outcome, requests = await outcome_of(gateway)

    assert isinstance(outcome, Verified)
    assert requests == ["verify", "inquiry", "verify", "inquiry"]
    assert gateway.verified == 1


async def test_confirm_retried_verify_replaces_the_doubt() -> None:
    inquiries: list[Reply | str] = [ok(TRANSACTION | {"status": status}) for status in ("UNVERIFIED", "CANCELLED")]
    gateway = FakeGateway(verify=[NoResponse("reset"), "default"], inquiry=inquiries)

    outcome, requests = await outcome_of(gateway)

    assert outcome == Undecided(reason="verify succeeded; the inquiry says CANCELLED")
    assert requests == ["verify", "inquiry", "verify", "inquiry"]


async def test_confirm_verify_of_other_orders_payment_is_not_retried() -> None:
    other = ok(TRANSACTION | {"status": "UNVERIFIED", "order_id": "ORD-2"})

    outcome, requests = await outcome_of(FakeGateway(verify=[NoResponse("reset")], inquiry=[other]))

    assert outcome == Declined(reason="the transaction is another order's")
    assert requests == ["verify", "inquiry"]


async def test_confirm_executed_verify_is_not_repeated() -> None:
    gateway = FakeGateway(verify=["executed, response lost"])

    outcome, requests = await outcome_of(gateway)

    assert isinstance(outcome, Verified)
    assert requests == ["verify", "inquiry"]
    assert gateway.verified == 1


async def test_confirm_two_lost_verifies_ask_inquiry() -> None:
    assert isinstance((await outcome_of(FakeGateway(verify=[NoResponse("a"), "executed, response lost"])))[0], Verified)

    outcome, requests = await outcome_of(FakeGateway(verify=[NoResponse("a"), NoResponse("b")]))
    assert isinstance(outcome, Undecided)
    assert isinstance(outcome.error, NoResponse)
    assert requests == ["verify", "inquiry", "verify", "inquiry"]


async def test_confirm_verification_failed_twice_is_declined() -> None:
    outcome, _ = await outcome_of(FakeGateway(verify=[refused(-9, "failed"), refused(-9, "failed")]))

    assert isinstance(outcome, Declined)
    assert "failed" in outcome.reason


@pytest.mark.parametrize(
    "failure", [NoResponse("reset"), NotSent("no connection"), html_page(502), refused(0), refused(-99)]
)
async def test_confirm_without_responses_is_undecided_then_verified(failure: Reply) -> None:
    gateway = FakeGateway(verify=["executed, response lost"], inquiry=[failure])
    paystar, _ = make_client(gateway, max_retries=0)

    first = await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")
    second = await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")

    assert isinstance(first.outcome, Undecided)
    assert first.outcome.error is not None
    assert isinstance(second.outcome, Verified)
    assert gateway.verified == 1


@pytest.mark.parametrize(
    "failure", [NoResponse("reset"), NotSent("no connection"), html_page(502), refused(0), refused(-99)]
)
async def test_confirm_verify_without_inquiry_is_undecided(failure: Reply) -> None:
    gateway = FakeGateway(inquiry=[failure])
    paystar, _ = make_client(gateway, max_retries=0)

    first = await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")
    second = await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")

    assert isinstance(first.outcome, Undecided)
    assert "verify succeeded" in first.outcome.reason
    assert isinstance(second.outcome, Verified)


@pytest.mark.parametrize(
    "refusal_reply", [refused(-1), refused(8), refused("unauthenticated"), ok("what"), refused(-5)]
)
async def test_confirm_verify_with_refused_inquiry_is_verified(refusal_reply: Raw) -> None:
    assert isinstance((await outcome_of(FakeGateway(inquiry=[refusal_reply])))[0], Verified)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(-7, AmountMismatch), (-5, Declined), (-1, Undecided), (-8, Undecided), ("unauthenticated", Undecided)],
)
async def test_confirm_refused_inquiry_after_doubt_is_not_verified(refusal: Any, kind: type[PaymentOutcome]) -> None:
    outcome, _ = await outcome_of(FakeGateway(verify=[NoResponse("reset")], inquiry=[refused(refusal)]))

    assert isinstance(outcome, kind)


@pytest.mark.parametrize(
    ("status", "after_doubt", "after_verify"),
    [
        ("INIT", Undecided, Verified),
        ("SUCCEED", Verified, Verified),
        ("FAILED", Declined, Undecided),
        ("CANCELLED", Cancelled, Undecided),
        ("REVERSED", Expired, Undecided),
        ("UNVERIFIED", Undecided, Verified),
        ("VERIFY_PENDING", Undecided, Verified),
        ("SOMETHING_NEW", Undecided, Verified),
    ],
)
async def test_confirm_inquiry_status_has_its_outcome(
    status: str, after_doubt: type[PaymentOutcome], after_verify: type[PaymentOutcome]
) -> None:
    inquiry_response = ok(TRANSACTION | {"status": status})
    repeated = FakeGateway(verify=[refused(-6)], inquiry=[inquiry_response])
    lost = FakeGateway(verify=[NoResponse("a"), NoResponse("b")], inquiry=[inquiry_response, inquiry_response])
    successful = FakeGateway(inquiry=[inquiry_response])

    assert type((await outcome_of(repeated))[0]) is after_doubt
    assert type((await outcome_of(lost))[0]) is after_doubt
    assert type((await outcome_of(successful))[0]) is after_verify


def test_gateway_statuses_are_all_covered() -> None:
    assert {status.value for status in GatewayStatus} == {
        "INIT", "SUCCEED", "FAILED", "CANCELLED", "REVERSED", "UNVERIFIED", "VERIFY_PENDING"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"order_id": "ORD-2"}, Declined),
        ({"ref_num": "ref-2"}, Declined),
        ({"payment_amount": AMOUNT - 1}, AmountMismatch),
        ({"payment_amount": AMOUNT // 10}, AmountMismatch),
        ({"payment_amount": None}, Undecided),
        ({"order_id": None}, Undecided),
        ({"payment_amount": AMOUNT + 999}, Verified),
        ({"ref_num": None}, Verified),
    ],
)
async def test_confirm_inquiry_alone_must_name_order_and_amount(
    change: dict[str, Any], kind: type[PaymentOutcome]
) -> None:
    outcome, _ = await outcome_of(FakeGateway(verify=[refused(-6)], inquiry=[ok(TRANSACTION | change)]))

    assert isinstance(outcome, kind)


async def test_confirm_receipt_of_inquiry_replaces_forged() -> None:
    forged = evolve(CALLBACK, tracking_code="999999", card_number="111111******1111")

    outcome, _ = await outcome_of(FakeGateway(verified=1), forged)

    assert outcome == Verified(tracking_code="123456", card_number="502229******6708", hashed_card_number="ABC")


async def test_confirm_concurrently_verifies_once() -> None:
    gateway = FakeGateway()
    paystar, _ = make_client(gateway)

    payments = await asyncio.gather(
        *[paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1") for _ in range(10)]
    )

    assert {type(payment.outcome) for payment in payments} == {Verified}
    assert gateway.verified == 1


async def test_confirm_cancelled_midway_is_verified_next_time() -> None:
    for rounds in range(12):
        gateway = FakeGateway()
        paystar, _ = make_client(gateway)
        task = asyncio.create_task(paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1"))
        await wait_all_tasks_blocked(rounds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        second = await paystar.payments.confirm(CALLBACK, amount=AMOUNT, order_id="ORD-1")

        assert isinstance(second.outcome, Verified)
        assert gateway.verified == 1


VERIFIES = st.sampled_from(
    ["default", "executed, response lost", *DOUBTS, refused(-6), refused(-9), refused(-8), refused(-5)]
)
INQUIRIES = st.sampled_from(
    [
        "default",
        NoResponse("reset"),
        html_page(502),
        refused(-99),
        refused(-5),
        refused(-1),
        ok(TRANSACTION | {"status": "INIT"}),
    ]
)


@given(
    order_id=st.sampled_from(["ORD-1", "ORD-2"]),
    amount=st.sampled_from([AMOUNT, AMOUNT * 10, AMOUNT // 10]),
    paid=st.booleans(),
    verify=st.lists(VERIFIES, max_size=2),
    inquiry=st.lists(INQUIRIES, max_size=2),
)
def test_confirm_any_failures_verify_only_paid_orders(
    order_id: str, amount: int, paid: bool, verify: list[Any], inquiry: list[Any]
) -> None:
    gateway = FakeGateway(order_id=order_id, amount=amount, paid=paid, verify=list(verify), inquiry=list(inquiry))

    async def confirm() -> PaymentOutcome | None:
        try:
            return (await outcome_of(gateway))[0]
        except GatewayError:
            return None

    outcome = asyncio.run(confirm())

    if isinstance(outcome, Verified):
        assert gateway.verified == 1
        assert amount == AMOUNT
        assert order_id == "ORD-1" or any(
            reply in inquiry for reply in (refused(-5), refused(-1), ok(TRANSACTION | {"status": "INIT"}))
        )
    if gateway.verified and amount == AMOUNT and order_id == "ORD-1":
        assert not isinstance(outcome, Cancelled | AmountMismatch)


async def test_confirm_wrong_credentials_are_raised() -> None:
    with pytest.raises(Unauthenticated):
        await outcome_of(FakeGateway(verify=[refused("unauthenticated", http=401)]))


async def test_confirm_mapping_is_refused() -> None:
    engine = Engine(lambda _: ok())
    paystar = client(engine)
    fields: Any = {"status": "1", "order_id": "o-1", "ref_num": "ref-1"}

    with pytest.raises(InvalidValue, match=r"Callback\.parse"):
        await paystar.payments.confirm(fields, amount=AMOUNT, order_id="o-1")

    assert engine.sent == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotSent("no connection"), True),
        (NoResponse("closed"), True),
        (InvalidResponse("$", "truncated"), True),
        (InvalidResponse("$", "a page", http_status=502), True),
        (InvalidResponse("$", "a page", http_status=404), False),
        (StatusError(503, http_status=503), True),
        (StatusError(404, http_status=404), False),
        (StatusError(77), True),
        (Unauthenticated("unauthenticated"), False),
        (UnknownRefNum(-5), False),
    ],
    ids=repr,
)
def test_is_temporary_is_false_for_a_final_response(error: PaystarError, expected: bool) -> None:
    assert is_temporary(error) is expected
