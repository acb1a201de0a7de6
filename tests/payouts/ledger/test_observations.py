"""Test observations of transfers without a lease, and manual decisions."""

import asyncio

import pytest

from paystar_async.errors import InvalidValue, NoResponse
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.classify import Classification, Verdict
from paystar_async.payouts.ledger import observations, queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy, TransferState
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, raising, responding, transfer, transfers
from tests.payouts.ledger.tables import entry_of


async def test_resolve_ends_manual_review(payout: PayoutFixture) -> None:
    for name, verdict, state in (("a", "success", "success"), ("b", "failed", "failed"), ("c", "resend", "planned")):
        value = transfer(0, track_id=name)
        await insert_batch(payout.ledger, payout.channel, name, each([value]))
        wrong = Settlement(track_id=name, status=TransferStatus.SUCCESS, extra={"amount": 1})
        payout.bank.script.append(lambda bank, values, wrong=wrong: [wrong])  # type: ignore[misc]
        await payout.worker.advance((await payout.chunks(name))[0])
        assert [record.track_id for record in await queries.review(payout.ledger, "bank", "app-1")] == [name]
        record = await observations.resolve(payout.ledger, "bank", "app-1", name, verdict, note="asked the bank")  # type: ignore[arg-type]
        assert record.state == state
        assert await queries.review(payout.ledger, "bank", "app-1") == []
        assert (await payout.causes(name))[-1] == "resolve"
    for chunk in await payout.chunks("c"):
        await payout.worker.advance(chunk)
    assert await payout.states("c") == ["success"]
    assert payout.bank.calls == [["a"], ["b"], ["c"], ["c"]]


async def test_resolve_resend_failure_is_checked(backend: Backend, payout: PayoutFixture) -> None:
    """The bank reported another amount for the first attempt, so that attempt may have been paid."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    wrong = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, extra={"amount": 1})
    payout.bank.script.append(responding(wrong))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    await observations.resolve(payout.ledger, "bank", "app-1", "t-00000", "resend")
    [_, resent_chunk] = await payout.chunks()
    payout.bank.script.append(responding(entry_of("t-00000", "failed")))
    await payout.worker.advance(resent_chunk)
    assert await payout.states() == ["unknown"]
    payout.bank.execute(transfers(1))
    backend.advance_clock(2)
    await payout.worker.advance(resent_chunk)
    assert await payout.states() == ["success"]


async def test_resolve_without_review_is_refused(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    for track_id, verdict in (("t-00000", "success"), ("unknown", "failed")):
        with pytest.raises(InvalidValue):
            await observations.resolve(payout.ledger, "bank", "app-1", track_id, verdict)  # type: ignore[arg-type]
    assert await payout.states() == ["planned"]


async def test_apply_observations_other_hashid_needs_review(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(3)), policy=Policy(chunk=1))
    payout.bank.status = TransferStatus.PENDING
    for chunk_id in await payout.chunks():
        await payout.worker.advance(chunk_id)
    await observations.apply_observations(
        payout.ledger, payout.channel, [entry_of("t-00000", "success", hashid="h-t-00000")]
    )
    entries = [
        entry_of("t-00000", "failed", hashid="another"),
        entry_of("t-00001", "failed", hashid="another"),
        entry_of("t-00002", "success", hashid="another"),
    ]
    changed = await observations.apply_observations(payout.ledger, payout.channel, entries)
    assert await payout.states() == ["success", "pending", "needs_review"]
    assert [record.reason for record in changed] == ["the bank lists it under two hashids"]
    assert not await observations.apply_observations(
        payout.ledger, payout.channel, [entry_of("t-00002", "failed", hashid="another")]
    )
    await observations.apply_observations(
        payout.ledger, payout.channel, [entry_of("t-00000", "failed", hashid="h-t-00000")]
    )
    assert await payout.states() == ["reversed", "pending", "needs_review"]


async def test_apply_observations_applies_bank_list(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(6)), policy=Policy(chunk=1))
    chunks = await payout.chunks()
    payout.bank.status = TransferStatus.PENDING
    await payout.worker.advance(chunks[0])
    payout.bank.status = TransferStatus.SUCCESS
    await payout.worker.advance(chunks[1])
    payout.bank.script.append(raising(OSError("x")))
    await payout.worker.advance(chunks[2])
    await payout.worker.advance(chunks[3])
    payout.bank.status = TransferStatus.FAILED
    await payout.worker.advance(chunks[4])
    backend.advance_clock(2)
    await payout.worker.advance(chunks[4])
    assert await payout.states() == ["pending", "success", "unknown", "success", "failed", "planned"]
    changed = await observations.apply_observations(
        payout.ledger,
        payout.channel,
        [
            entry_of("t-00000", "success", ref_code="r"),
            entry_of("t-00001", "failed"),
            entry_of("t-00002", "pending"),
            entry_of("t-00003", "success"),
            entry_of("t-00004", "success"),
            entry_of("t-00005", "success"),
            entry_of("foreign", "success"),
            Settlement(status=TransferStatus.SUCCESS),
        ],
    )
    assert await payout.states() == ["success", "reversed", "pending", "success", "needs_review", "success"]
    assert len(changed) == 5
    assert await observations.apply_observations(payout.ledger, payout.channel, []) == []
    # Reversed transfers are checked, and transfers that the bank already has are not sent.
    for chunk in chunks:
        await payout.worker.advance(chunk)
    assert len(payout.bank.calls) == 5
    record = await payout.record("t-00001")
    assert record.outcome.track_id == "t-00001"
    assert getattr(record.outcome, "reversed", False) is True


async def test_apply_observations_lagging_list_keeps_failure(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.status = TransferStatus.FAILED
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    backend.advance_clock(2)
    await payout.worker.advance(chunk)
    record = await payout.record()
    assert record.state is TransferState.FAILED
    assert (
        await observations.apply_observations(
            payout.ledger, payout.channel, [entry_of("t-00000", "pending", hashid=record.hashid)]
        )
        == []
    )
    [record] = await observations.apply_observations(
        payout.ledger, payout.channel, [entry_of("t-00000", "pending", hashid="another")]
    )
    assert record.state is TransferState.NEEDS_REVIEW


async def test_apply_observations_sending_transfer_is_unchanged(payout: PayoutFixture) -> None:
    """A failed entry may be of an earlier attempt; the sender records the result of the current attempt."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    thinking = asyncio.Event()
    payout.bank.on_send = thinking.wait
    task = asyncio.create_task(payout.worker.advance((await payout.chunks())[0]))
    await payout.wait_for_states("sending")
    assert await observations.apply_observations(payout.ledger, payout.channel, [entry_of("t-00000", "failed")]) == []
    assert await payout.states() == ["sending"]
    thinking.set()
    await task
    assert await payout.states() == ["success"]


async def test_apply_observations_mismatch_needs_review(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.script.append(raising(OSError("x")))
    await payout.worker.advance((await payout.chunks())[0])
    [record] = await observations.apply_observations(
        payout.ledger, payout.channel, [entry_of("t-00000", "success", extra={"amount": 3})]
    )
    assert record.state is TransferState.NEEDS_REVIEW
    # A later list has no mismatch.
    [record] = await observations.apply_observations(payout.ledger, payout.channel, [entry_of("t-00000", "pending")])
    assert record.state is TransferState.PENDING
    assert [chunk_id for chunk_id, _ in await payout.worker.due()] == await payout.chunks()


@pytest.mark.parametrize(
    ("change", "attempt", "refusal"),
    [
        ("attempt = 1", 1, "failed"),
        ("attempt = 1", 2, None),
        ("attempt = 2", 1, None),
        ("state = 'pending'", 1, None),
        ("ambiguous_attempts = 1", 1, None),
    ],
)
async def test_apply_late_response_failure_is_of_one_attempt(
    backend: Backend, payout: PayoutFixture, change: str, attempt: int, refusal: str | None
) -> None:
    """A transfer that is marked as refused has failed as soon as the bank does not list it."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    payout.bank.script.append(raising(NoResponse("no response")))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    backend.sql(f"UPDATE paystar_payout_transfers SET {change} WHERE track_id = 't-00000'")
    failed = Classification(verdict=Verdict.REPORTED, settlement=entry_of("t-00000", "failed"))
    await observations.apply_late_response(payout.ledger, payout.channel, {"t-00000": failed}, {"t-00000": attempt})
    stored = backend.sql("SELECT refusal FROM paystar_payout_transfers ORDER BY track_id")
    assert [row[0] for row in stored] == [refusal, None]
