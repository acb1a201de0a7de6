"""Test leases: the rate of a deposit account's calls, and payloads that belong to another transfer."""

import random

import pytest

from paystar_async.errors import ApplicationInactive, InsufficientBalance, StorageCorrupt
from paystar_async.payouts.channels import BankTransferChannel, WalletChannel
from paystar_async.payouts.ledger import updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.leases import MAX_CATCH_UP_SECONDS, next_send_time
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Backend
from tests.payouts.bank import DEPOSIT, PayoutFixture, each, raising, transfer, transfers, wallet_transfer

OtherLane = tuple[type[BankTransferChannel] | type[WalletChannel], str, str]


def call_times(rate: float, arrivals: list[float]) -> list[float]:
    """Return when the senders that arrive at ``arrivals`` send; a sender that is too early does not."""
    turn = 0.0
    sent: list[float] = []
    for arrival in sorted(arrivals):
        if turn <= arrival:
            sent.append(arrival)
            turn = next_send_time(turn, arrival, rate)
    return sent


@pytest.mark.parametrize("rate", [0.5, 10.0, 50.0])
def test_next_send_time_late_senders_keep_rate(rate: float) -> None:
    rng = random.Random(1)
    turn = sent_at = 0.0
    for _ in range(200):
        sent_at = max(turn, sent_at) + rng.uniform(0, 0.8 * min(1 / rate, MAX_CATCH_UP_SECONDS))
        turn = next_send_time(turn, sent_at, rate)
    assert 199 / sent_at == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("rate", [0.5, 10.0, 300.0])
def test_next_send_time_never_exceeds_rate_by_two_calls(rate: float) -> None:
    rng = random.Random(2)
    arrivals = [rng.uniform(0, 300 / rate) for _ in range(3000)]
    arrivals += [3600 + arrival for arrival in arrivals]  # after an idle hour, too
    sent = call_times(rate, arrivals)
    assert len(sent) > 400
    for first in range(len(sent)):
        for last in range(first, min(len(sent), first + 60)):
            assert last - first + 1 <= rate * (sent[last] - sent[first]) + 2 + 1e-6


def test_next_send_time_idle_hour_earns_one_call() -> None:
    assert next_send_time(0.0, 3600.0, 10.0) == pytest.approx(3600.0)
    assert next_send_time(0.0, 3600.0, 0.1) == pytest.approx(3610.0 - MAX_CATCH_UP_SECONDS)
    assert next_send_time(3600.0, 3600.0, 10.0) == pytest.approx(3600.1)


async def test_advance_late_call_delays_no_other(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)), policy=Policy(chunk=1, rate=0.5))
    first, second, third = await payout.chunks("b")
    assert await payout.worker.advance(first) is None
    turn = await payout.worker.advance(second)
    assert turn is not None
    backend.advance_clock(turn - await payout.ledger.time() + 0.2)
    assert await payout.worker.advance(second) is None
    next_turn_at = await payout.worker.advance(third)
    assert next_turn_at is not None
    assert 1.5 < next_turn_at - await payout.ledger.time() <= 1.81


async def test_acquire_send_lease_before_turn_takes_no_lock(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=Policy(chunk=1, rate=0.5))
    first, second = await payout.chunks("b")
    assert await payout.worker.advance(first) is None
    version = backend.sql("SELECT version FROM paystar_payout_holds WHERE deposit <> ''")
    assert (await payout.worker.step(second)).waits_for is not None
    assert backend.sql("SELECT version FROM paystar_payout_holds WHERE deposit <> ''") == version


OTHER_LANES: list[OtherLane] = [
    (BankTransferChannel, "app-2", DEPOSIT),
    (BankTransferChannel, "app-1", "0119999999999"),
    (WalletChannel, "app-1", ""),
]


@pytest.mark.parametrize("lane", OTHER_LANES, ids=["account", "deposit", "product"])
class TestOtherLane:
    """Lanes that differ in one thing have turns, places and holds of their own."""

    async def fill(self, backend: Backend, lane: OtherLane, policy: Policy) -> tuple[PayoutFixture, PayoutFixture]:
        """Return the processes of two lanes with two transfers each."""
        channel, account, deposit = lane
        payout = PayoutFixture(backend.ledger(), backend.clock)
        other = PayoutFixture(backend.ledger(), backend.clock, payout.bank, channel=channel, account=account)
        values = [
            wallet_transfer(number) if channel is WalletChannel else transfer(10 + number, deposit=deposit)
            for number in range(2)
        ]
        await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=policy)
        await insert_batch(other.ledger, other.channel, "c", each(values), policy=policy)
        return payout, other

    async def test_rate_counts_calls_of_one_lane(self, backend: Backend, lane: OtherLane) -> None:
        payout, other = await self.fill(backend, lane, Policy(chunk=1, rate=0.5))
        for sent in (2, 4):
            for process, batch in ((payout, "b"), (other, "c"), (payout, "b"), (other, "c")):
                for chunk in await process.chunks(batch):
                    await process.worker.advance(chunk)
            assert len(payout.bank.calls) == sent
            backend.advance_clock(2.001)

    async def test_concurrency_counts_calls_of_one_lane(self, backend: Backend, lane: OtherLane) -> None:
        payout, other = await self.fill(backend, lane, Policy(chunk=1, concurrency=1))
        [first, _], [third, _] = await payout.chunks(), await other.chunks("c")

        async def send_other() -> None:
            payout.bank.on_send = None
            await other.worker.advance(third)

        payout.bank.on_send = send_other
        await payout.worker.advance(first)
        assert len(payout.bank.calls) == 2

    @pytest.mark.parametrize("kind", ["pause", "funds", "suspended"])
    async def test_hold_of_one_lane_stops_no_other(self, backend: Backend, lane: OtherLane, kind: str) -> None:
        payout, other = await self.fill(backend, lane, Policy(chunk=1))
        deposit = lane[2] if lane[1] == "app-1" else None
        [first, second], [third, fourth] = await payout.chunks(), await other.chunks("c")
        if kind == "pause":
            await updates.pause(payout.ledger, "bank", "app-1", DEPOSIT)
        else:
            error = InsufficientBalance(9, "no") if kind == "funds" else ApplicationInactive(3, "no")
            payout.bank.script.append(raising(error))
            await payout.worker.advance(first)
        stopped = ["paused_funds" if kind == "funds" else "planned", "planned"]
        is_stopped_too = kind == "suspended" and other.channel.name == "bank" and lane[1] == "app-1"
        await other.worker.advance(third)
        assert await updates.resume(other.ledger, other.channel.name, lane[1], deposit) == 0
        await other.worker.advance(fourth)
        for chunk in (first, second):
            await payout.worker.advance(chunk)
        assert await payout.states() == stopped
        assert ("planned" in await other.states("c")) is is_stopped_too


OWN = "(SELECT {0} FROM paystar_payout_transfers WHERE track_id = 't-00001')"


@pytest.mark.parametrize(
    "change",
    [
        f"payload = {OWN.format('payload')}, digest = {OWN.format('digest')}",
        "amount = amount + 1",
        "deposit = '0119999999999'",
    ],
)
async def test_advance_payload_of_another_transfer_is_corrupt(
    backend: Backend, payout: PayoutFixture, change: str
) -> None:
    """The payload and its digest are valid, but the transfer beside them is another one, perhaps of the same amount."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2, amount=10_000)))
    backend.sql(f"UPDATE paystar_payout_transfers SET {change} WHERE track_id = 't-00000'")
    with pytest.raises(StorageCorrupt, match="belong to another transfer"):
        await payout.worker.advance((await payout.chunks())[0])
    assert payout.bank.calls == []
