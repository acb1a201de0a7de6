"""Checks of callbacks: one at a time for each order, with shared results, so that a flood costs few requests."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from paystar_async import Callback
from paystar_async.errors import InvalidRequest, PaystarError, Unauthenticated
from paystar_async.payments import Cancelled, Declined, Payment, Undecided, Verified
from paystar_async.payments.checks import OrderChecks, SharedResult
from paystar_async.payments.processor import ProcessingResult
from tests.payments.shop import AMOUNT, Shop, open_shop
from tests.support import wait_all_tasks_blocked

FORGED = {"card_number": "111111******1111", "tracking_code": "999999"}


def forge(ref_num: str, number: int = 0, **fields: Any) -> Callback:
    values: dict[str, Any] = {"status": "1", "order_id": "o-1", **FORGED, "tracking_code": f"{number}", **fields}
    return Callback(ref_num=ref_num, **values)


class Gate:
    """A user middleware that delays the first response of one endpoint until the gate is opened."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint, self.entered, self.open = endpoint, asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Any, next: Any) -> Any:  # noqa: A002
        try:
            return await next(request)
        finally:
            if request.endpoint.name == self.endpoint and not self.entered.is_set():
                self.entered.set()
                await self.open.wait()


async def test_check_flood_of_one_callback_costs_one_check(shop: Shop) -> None:
    started = await shop.start()

    payments = await asyncio.gather(*[shop.confirm(forge(started.ref_num)) for _ in range(400)])

    assert {type(payment.outcome) for payment in payments} == {Undecided}
    assert shop.request_counts == {"create": 1, "verify": 1, "inquiry": 1}


async def test_check_flood_of_many_callbacks_costs_one_check(shop: Shop) -> None:
    """Callbacks with different claims get the outcome of their own claim."""
    started = await shop.start()
    statuses = {"1": Undecided, "-98": Cancelled, "-1": Declined}
    forged = [forge(started.ref_num, number, status=[*statuses][number % 3]) for number in range(400)]

    payments = await asyncio.gather(*[shop.confirm(callback) for callback in forged])

    for callback, payment in zip(forged, payments, strict=True):
        assert isinstance(payment.outcome, statuses[callback.status])
    assert shop.request_counts == {"create": 1, "verify": 1, "inquiry": 1}
    assert isinstance((await shop.confirm(shop.pay(started))).outcome, Verified)


async def test_check_flood_during_verify_shares_its_inquiry(tmp_path: Path) -> None:
    gate = Gate("verify")
    async with open_shop(tmp_path / "p.db", max_retries=0, middleware=[gate]) as shop:
        started = await shop.start()
        checks = [asyncio.create_task(shop.confirm(forge(started.ref_num)))]
        await gate.entered.wait()
        checks += [asyncio.create_task(shop.confirm(forge(started.ref_num, number))) for number in range(50)]
        await wait_all_tasks_blocked()
        gate.open.set()

        payments = await asyncio.gather(*checks)

        assert {type(payment.outcome) for payment in payments} == {Undecided}
        assert shop.request_counts == {"create": 1, "verify": 1, "inquiry": 1}


async def test_check_flood_over_many_pages_costs_one_check_each(shop: Shop) -> None:
    pages = [await shop.start() for _ in range(5)]
    created = shop.request_counts
    forged = [forge(page.ref_num, number) for number in range(80) for page in pages]

    payments = await asyncio.gather(*[shop.confirm(callback) for callback in forged], shop.confirm(shop.pay(pages[3])))

    assert isinstance(payments[-1].outcome, Verified)
    assert shop.request_counts["inquiry"] - created["inquiry"] <= 5
    assert shop.request_counts["verify"] == 1
    assert len(shop.fulfilled) == 1


async def test_check_flood_over_many_orders_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.payments.checks.MAX_CHECKS", 3)
    running, max_running, full = 0, 0, asyncio.Event()

    async def count(request: Any, next: Any) -> Any:  # noqa: A002
        nonlocal running, max_running
        if request.endpoint.name != "verify":
            return await next(request)
        running, max_running = running + 1, max(max_running, running + 1)
        if running == 3:
            await anyio.sleep(0.05)  # long enough for a fourth check to start, if there were no limit
            full.set()
        await full.wait()
        try:
            return await next(request)
        finally:
            running -= 1

    async with open_shop(tmp_path / "p.db", max_retries=0, middleware=[count]) as shop:
        pages = [await shop.start(f"o-{number}") for number in range(20)]
        forged = [forge(page.ref_num, n, order_id=page.order_id) for n in range(5) for page in pages]

        await asyncio.gather(*[shop.confirm(callback) for callback in forged])

        assert max_running == 3
        assert shop.request_counts == {"create": 20, "verify": 20, "inquiry": 20}


async def test_check_leaves_no_queue_behind(shop: Shop) -> None:
    payments = shop.paystar.payments
    pages = [await shop.start(f"o-{number}") for number in range(5)]
    tasks = [
        asyncio.create_task(shop.confirm(forge(page.ref_num, order_id=page.order_id))) for page in pages for _ in "ab"
    ]
    await wait_all_tasks_blocked(5)
    for task in tasks[::2]:
        task.cancel()

    await asyncio.gather(*tasks, return_exceptions=True)
    await shop.paystar.aclose()

    assert [len(checks) for checks in payments._checks.values()] in ([], [0])  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("endpoint", ["verify", "inquiry"])
async def test_check_genuine_behind_forged_is_verified(tmp_path: Path, endpoint: str) -> None:
    """The forged callback was checked before the payer paid: the genuine callback does not share that result."""
    gate = Gate(endpoint)
    async with open_shop(tmp_path / "p.db", max_retries=0, middleware=[gate]) as shop:
        started = await shop.start()
        forged = [asyncio.create_task(shop.confirm(forge(started.ref_num)))]
        await gate.entered.wait()
        real = shop.pay(started)
        genuine = [asyncio.create_task(shop.confirm(real)) for _ in range(3)]
        forged += [asyncio.create_task(shop.confirm(forge(started.ref_num, number))) for number in range(50)]
        await wait_all_tasks_blocked()
        gate.open.set()

        payments = await asyncio.gather(*genuine)
        await asyncio.gather(*forged)

        for payment in payments:
            assert payment.outcome == Verified(
                card_number=real.card_number,
                tracking_code=real.tracking_code,
                hashed_card_number=real.hashed_card_number,
            )
        assert len(shop.fulfilled) == 1
        assert shop.request_counts["verify"] <= 2


async def test_check_genuine_with_own_receipt_is_verified(tmp_path: Path) -> None:
    """The inquiry names no card: the genuine callback does not share the refusal of a forged receipt."""

    async def without_receipt(request: Any, next: Any) -> Any:  # noqa: A002
        response = await next(request)
        if request.endpoint.name != "inquiry":
            return response
        return evolve(response, value=evolve(response.value, card_number=None, tracking_code=None))

    async with open_shop(tmp_path / "p.db", max_retries=0, middleware=[without_receipt]) as shop:
        started = await shop.start()
        real = shop.pay(started)
        forged = [forge(started.ref_num, number % 2) for number in range(20)]

        *refusals, genuine = await asyncio.gather(
            *[shop.confirm(callback) for callback in (*forged, real)], return_exceptions=True
        )

        assert isinstance(genuine, Payment)
        assert isinstance(genuine.outcome, Verified)
        assert genuine.outcome.tracking_code == real.tracking_code
        assert {type(error) for error in refusals} == {InvalidRequest}
        assert shop.request_counts["verify"] == 3


async def test_check_error_is_shared(shop: Shop) -> None:
    """A refusal of the merchant costs one request for 50 callbacks."""
    started = await shop.start()
    shop.sandbox.fail("gateway.verify", "status", status="unauthenticated")

    errors = await asyncio.gather(
        *[shop.confirm(forge(started.ref_num, number)) for number in range(50)], return_exceptions=True
    )

    assert {type(error) for error in errors} == {Unauthenticated}
    assert len({id(error) for error in errors}) == 50
    assert shop.request_counts["verify"] == 1


async def test_check_cancelled_leader_serves_the_others(tmp_path: Path) -> None:
    gate = Gate("verify")
    async with open_shop(tmp_path / "p.db", max_retries=0, middleware=[gate]) as shop:
        real = shop.pay(await shop.start())
        leader = asyncio.create_task(shop.confirm(real))
        await gate.entered.wait()
        followers = [asyncio.create_task(shop.confirm(real)) for _ in range(3)]
        await wait_all_tasks_blocked()

        leader.cancel()
        gate.open.set()

        assert [type(payment.outcome) for payment in await asyncio.gather(*followers)] == [Verified] * 3
        assert shop.request_counts["verify"] == 1


async def test_check_caller_order_flood_costs_one_check(shop: Shop) -> None:
    created = await shop.paystar.gateway.create(amount=AMOUNT, order_id="own", callback="https://shop.example/back")
    forged = forge(created.ref_num, order_id="own")
    confirm = shop.paystar.payments.confirm

    payments = await asyncio.gather(*[confirm(forged, amount=AMOUNT, order_id="own") for _ in range(100)])

    assert len({payment.outcome for payment in payments}) == 1
    assert shop.request_counts["verify"] == 1
    real = Callback.parse(shop.sandbox.pay(created.token))
    genuine = await asyncio.gather(*[confirm(real, amount=AMOUNT, order_id="own") for _ in range(3)])
    assert {type(payment.outcome) for payment in genuine} == {Verified}


def test_result_serves_only_earlier_and_alike_callbacks() -> None:
    callback = forge("ref-1")
    other = forge("ref-1", 1)
    processed = ProcessingResult(outcome=Undecided(reason="unknown"))
    shared = SharedResult(callback=callback, as_of=5, result=processed)
    own = SharedResult(callback=callback, as_of=5, result=evolve(processed, depends_on_receipt=True))
    refused = SharedResult(callback=callback, as_of=5, result=InvalidRequest(-1))
    failed = SharedResult(callback=callback, as_of=5, result=PaystarError("no"))

    assert shared.serves(other, 5)
    assert not shared.serves(other, 6)
    assert not shared.serves(forge("ref-2"), 5)
    assert own.serves(callback, 5)
    assert not own.serves(other, 5)
    assert refused.serves(callback, 5)
    assert not refused.serves(other, 5)
    assert failed.serves(other, 5)


def test_arrive_keeps_results_until_last_callback_left() -> None:
    checks = OrderChecks()

    with checks.arrive("o-1") as first, checks.arrive("o-2") as other:
        with checks.arrive("o-1") as second:
            assert first.queue is second.queue is not other.queue
            assert (first.number, other.number, second.number) == (1, 2, 3)
        assert len(checks) == 2
    assert len(checks) == 0
