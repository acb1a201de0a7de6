"""Planted bugs: the state machine must find each bug."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from paystar_async.payments.models import Order, OrderStatus
from paystar_async.payments.outcomes import Expired
from paystar_async.payments.processor import PaymentProcessor
from paystar_async.payments.verification import PaymentVerifier
from paystar_async.payments.verification_models import VerificationResult
from tests.payments import test_machine as machine
from tests.payments.simulated_shop import FakeOrderStore

Plant = Callable[[pytest.MonkeyPatch], None]


def trust_callback(patch: pytest.MonkeyPatch) -> None:
    check = PaymentVerifier.check

    async def trusting(verifier: Any) -> VerificationResult:
        if verifier._request.claimed_receipt is None:
            return await check(verifier)
        prior_outcome = await verifier._reserve()
        return VerificationResult(outcome=prior_outcome or verifier._request.claimed_receipt.verified(), settled=True)

    patch.setattr(PaymentVerifier, "check", trusting)


def store_without_version_check(patch: pytest.MonkeyPatch) -> None:
    update = FakeOrderStore.update

    async def update_any_version(store: FakeOrderStore, before: Order, after: Order) -> Order | None:
        while True:  # until no other worker changes the order in between
            current = store.worker.world.orders[after.order_id]
            stored = await update(
                store, evolve(before, version=current.version), evolve(after, version=current.version)
            )
            if stored is not None:
                return stored

    patch.setattr(FakeOrderStore, "update", update_any_version)


def verify_without_reservation(patch: pytest.MonkeyPatch) -> None:
    async def skip_reservation(processor: Any, order_id: str, ref_num: str, _: object) -> Any:
        order = await processor.load(order_id)
        return order.outcome(ref_num) if order.verified is not None else None

    patch.setattr(PaymentProcessor, "_reserve", skip_reservation)


def take_lost_response_for_refusal(patch: pytest.MonkeyPatch) -> None:
    undecided = PaymentVerifier._undecided  # pyright: ignore[reportPrivateUsage]

    def expire_at_once(verifier: Any, *args: Any) -> VerificationResult:
        result = undecided(verifier, *args)
        return (
            VerificationResult(outcome=Expired(reason="no response"), settled=True)
            if verifier._doubt is not None
            else result
        )

    patch.setattr(PaymentVerifier, "_undecided", expire_at_once)


def notify_once(patch: pytest.MonkeyPatch) -> None:
    async def skip_notification(*_: object) -> tuple[()]:
        return ()

    patch.setattr(PaymentProcessor, "notify", skip_notification)


def forget_open_orders(patch: pytest.MonkeyPatch) -> None:
    due_order_ids = FakeOrderStore.due_order_ids

    async def list_no_open_orders(store: FakeOrderStore, state: OrderStatus, limit: int) -> list[str]:
        return [] if state is OrderStatus.OPEN else await due_order_ids(store, state, limit)

    patch.setattr(FakeOrderStore, "due_order_ids", list_no_open_orders)


@pytest.mark.parametrize(
    "plant",
    [
        trust_callback,
        store_without_version_check,
        verify_without_reservation,
        take_lost_response_for_refusal,
        notify_once,
        forget_open_orders,
    ],
)
def test_machine_finds_planted_bug(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(  # pyright: ignore
            machine.ShopMachine,
            settings=settings(
                machine.TestShopMachine.settings, max_examples=4000, phases=[Phase.generate], report_multiple_bugs=False
            ),
        )
