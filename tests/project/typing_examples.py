"""Correct code with the types that mypy and pyright must infer; never run."""

from typing import assert_never, assert_type

from paystar_async import (
    Application,
    Callback,
    FindTransfers,
    MatchMobile,
    Paystar,
    Request,
    Response,
    Rial,
    Send,
    Toman,
    Transfer,
)
from paystar_async.blocking import BlockingPaystar
from paystar_async.models.identity import Match
from paystar_async.models.transfers import Balance, Settlement, TransferStatus
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.payments import (
    AmountMismatch,
    Cancelled,
    Declined,
    Expired,
    Payment,
    PaymentOutcome,
    Undecided,
    Verified,
)
from paystar_async.payouts.report import Report


async def endpoints_return_their_types(paystar: Paystar, transfer: Transfer) -> None:
    assert_type(await paystar.identity.match_mobile(national_id="", mobile_number=""), Match)
    assert_type(await paystar.transfers.settle(transfers=[transfer], timeout=5), list[Settlement])
    assert_type((await paystar.transfers.find(track_id="t"))[0].status, TransferStatus)
    assert_type((await paystar.transfers.balance(account_number="")).balance, int)
    assert_type(paystar.gateway.payment_url(token=""), str)


async def send_returns_the_type_of_its_request(paystar: Paystar) -> None:
    assert_type(await paystar.send(MatchMobile(national_id="", mobile_number="")), Response[Match])
    assert_type((await paystar.send(FindTransfers(limit=5))).value, list[Settlement])


def amounts_are_ints() -> None:
    assert_type(Rial(5), int)
    assert_type(Toman(5), int)


async def outcome_is_one_of_four(paystar: Paystar) -> str:
    outcome = await paystar.transfers.wait(track_id="t")
    assert_type(outcome, Outcome)
    match outcome:
        case Succeeded(ref_code=ref_code):
            return str(ref_code)
        case Failed(reason=reason) | Pending(reason=reason) | Unknown(reason=reason):
            return reason
        case _:
            assert_never(outcome)


async def payment_outcome_is_one_of_six(paystar: Paystar, callback: Callback) -> str:
    payment = await paystar.payments.confirm(callback, amount=Toman(5_000), order_id="o")
    assert_type(payment, Payment)
    assert_type(payment.outcome, PaymentOutcome)
    match payment.outcome:
        case Verified() | Cancelled() | AmountMismatch():
            return ""
        case Declined(reason=reason) | Expired(reason=reason) | Undecided(reason=reason):
            return reason
        case _:
            assert_never(payment.outcome)


async def batch_yields_outcomes(paystar: Paystar, transfers: list[Transfer]) -> None:
    async for outcome in paystar.transfers.batch(transfers, chunk=10):
        assert_type(outcome, Outcome)


async def middleware_is_a_function(request: "Request[Balance]", next: Send) -> "Response[Balance]":  # noqa: A002
    return await next(request)


def credentials_take_texts() -> Application:
    return Application(id="1", access_password="p", refresh_token=None)


def blocking_methods_return_their_types(paystar: BlockingPaystar, transfer: Transfer, callback: Callback) -> None:
    assert_type(paystar.identity.match_mobile(national_id="", mobile_number=""), Match)
    assert_type(paystar.transfers.settle(transfers=[transfer], timeout=5), list[Settlement])
    assert_type(paystar.send(FindTransfers(limit=5)).value, list[Settlement])
    assert_type(paystar.transfers.wait(track_id="t", timeout=5), Outcome)
    assert_type(paystar.wallet.wait(track_id="t"), Outcome)
    assert_type(paystar.payments.confirm(callback, amount=Toman(5_000), order_id="o"), Payment)
    assert_type(paystar.payments.start(amount=5_000, order_id="o", callback="c").url, str)
    assert_type(paystar.payments.sweep(limit=5), list[Payment])
    for entry in paystar.transfers.iterate(deposit="1"):
        assert_type(entry, Settlement)
    for outcome in paystar.transfers.batch([transfer], chunk=10):
        assert_type(outcome, Outcome)
    batch = paystar.payouts.submit([transfer], batch_id="b")
    assert_type(list(batch.outcomes()), list[Outcome])
    assert_type(batch.wait(timeout=5), Report)
    with BlockingPaystar.from_env(timeout=3) as client, client.payments.sweeping(every=5):
        assert_type(client, BlockingPaystar)


def blocking_handler_keeps_its_type(paystar: BlockingPaystar) -> None:
    @paystar.payments.on_verified
    def hand_over(payment: Payment) -> int:
        return payment.amount

    @paystar.payments.on_verified(timeout=5)
    def notify(payment: Payment) -> str:
        return payment.order_id

    assert_type(hand_over(Payment(outcome=Expired(reason=""), order_id="o", ref_num="r", amount=1)), int)
    assert_type(notify(Payment(outcome=Expired(reason=""), order_id="o", ref_num="r", amount=1)), str)
