"""A client for the life of its host, and the payer who never came back."""

from collections.abc import Callable
from pathlib import Path

from paystar_async import ManualClock, Paystar
from paystar_async.contrib._lifespan import open_client
from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import paid
from tests.support import settled


async def until(holds: Callable[[], bool]) -> None:
    """Let others go on, the database's thread among them, until something holds."""
    for _ in range(2_000):
        if holds():
            return
        await settled()
    raise AssertionError("it never came to that")


async def test_a_host_that_wants_to_be_told_looks_after_payers_who_never_come_back(tmp_path: Path) -> None:
    told: list[str] = []

    def hand_over(payment: Payment) -> None:
        told.append(payment.order_id)

    clock, sandbox = ManualClock(), Sandbox()

    def make() -> Paystar:
        return Paystar(gateway=sandbox.gateway, engine=sandbox.engine(), database=tmp_path / "orders.db", clock=clock)

    async with open_client(make, hand_over) as paystar:
        started = await paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        paid(sandbox, started.url)
        await until(lambda: clock.sleepers > 0)
        assert not told

        clock.advance(61)
        await until(lambda: bool(told))

    assert told == ["o-1"]


async def test_a_host_that_does_not_want_to_be_told_verifies_nothing_by_itself(tmp_path: Path) -> None:
    clock = ManualClock()
    client = Paystar(database=tmp_path / "orders.db", clock=clock)
    async with open_client(client) as paystar:
        assert paystar is client
        await settled()
        assert clock.sleepers == 0


async def test_a_client_is_made_when_its_host_starts_and_each_time_anew() -> None:
    made: list[Paystar] = []

    def make() -> Paystar:
        made.append(Paystar())
        return made[-1]

    for _ in range(2):
        async with open_client(make) as paystar:
            assert paystar is made[-1]
    assert len(made) == 2
