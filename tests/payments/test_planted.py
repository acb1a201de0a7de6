"""The model is worth something: bugs that a shop could really have are planted, and it finds each of them."""

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
from tests.payments.model import Store

Plant = Callable[[pytest.MonkeyPatch], None]


def trusts_the_callback(patch: pytest.MonkeyPatch) -> None:
    check = PaymentVerifier.check

    async def trusting(verifier: Any) -> VerificationResult:
        if verifier._request.claimed_receipt is None:
            return await check(verifier)
        kept = await verifier._reserve()
        return VerificationResult(outcome=kept or verifier._request.claimed_receipt.verified(), settled=True)

    patch.setattr(PaymentVerifier, "check", trusting)


def stores_without_looking_at_the_version(patch: pytest.MonkeyPatch) -> None:
    put = Store.update

    async def careless(store: Store, before: Order, after: Order) -> Order | None:
        while True:  # until the version it names happens to be the one that is there
            held = store.worker.world.orders[after.order_id]
            stored = await put(store, evolve(before, version=held.version), evolve(after, version=held.version))
            if stored is not None:
                return stored

    patch.setattr(Store, "update", careless)


def verifies_whichever_payment_comes_back(patch: pytest.MonkeyPatch) -> None:
    async def unbound(desk: Any, order_id: str, ref_num: str, _: object) -> Any:
        order = await desk.load(order_id)
        return order.outcome(ref_num) if order.verified is not None else None

    patch.setattr(PaymentProcessor, "_reserve", unbound)


def takes_silence_for_a_no(patch: pytest.MonkeyPatch) -> None:
    undecided = PaymentVerifier._undecided  # pyright: ignore[reportPrivateUsage]

    def hasty(verifier: Any, *args: Any) -> VerificationResult:
        found = undecided(verifier, *args)
        return (
            VerificationResult(outcome=Expired(reason="no answer"), settled=True)
            if verifier._doubt is not None
            else found
        )

    patch.setattr(PaymentVerifier, "_undecided", hasty)


def tells_once_and_never_again(patch: pytest.MonkeyPatch) -> None:
    async def silent(*_: object) -> tuple[()]:
        return ()

    patch.setattr(PaymentProcessor, "notify", silent)


def forgets_what_is_open(patch: pytest.MonkeyPatch) -> None:
    due = Store.due_order_ids

    async def blind(store: Store, state: OrderStatus, limit: int) -> list[str]:
        return [] if state is OrderStatus.OPEN else await due(store, state, limit)

    patch.setattr(Store, "due_order_ids", blind)


@pytest.mark.parametrize(
    "plant",
    [
        trusts_the_callback,
        stores_without_looking_at_the_version,
        verifies_whichever_payment_comes_back,
        takes_silence_for_a_no,
        tells_once_and_never_again,
        forgets_what_is_open,
    ],
)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(  # pyright: ignore
            machine.Shop,
            settings=settings(
                machine.TestShop.settings, max_examples=4000, phases=[Phase.generate], report_multiple_bugs=False
            ),
        )
