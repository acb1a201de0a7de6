"""Observations of transfers outside of a lease, and manual decisions."""

import asyncio

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.ledger import observations, queries
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy, TransferState
from tests.payouts.backends import Place
from tests.payouts.bank import PayoutFixture, answering, each, raising, transfer, transfers
from tests.payouts.ledger.tables import entry_of


async def test_resolve_ends_manual_review(place: Place, desk: PayoutFixture) -> None:
    for name, verdict, state in (("a", "success", "success"), ("b", "failed", "failed"), ("c", "resend", "planned")):
        one = transfer(0, track_id=name)
        await insert_batch(desk.ledger, desk.product, name, each([one]))
        wrong = Settlement(track_id=name, status=TransferStatus.SUCCESS, extra={"amount": 1})
        desk.teller.script.append(lambda teller, given, wrong=wrong: [wrong])  # type: ignore[misc]
        await desk.worker.advance((await desk.chunks(name))[0])
        assert [record.track_id for record in await queries.review(desk.ledger, "bank", "app-1")] == [name]
        record = await observations.resolve(desk.ledger, "bank", "app-1", name, verdict, note="asked the bank")  # type: ignore[arg-type]
        assert record.state == state
        assert await queries.review(desk.ledger, "bank", "app-1") == []
        assert (await desk.causes(name))[-1] == "resolve"
    for chunk in await desk.chunks("c"):
        await desk.worker.advance(chunk)
    assert await desk.states("c") == ["success"]
    assert desk.teller.calls == [["a"], ["b"], ["c"], ["c"]]


async def test_resolve_resend_failure_is_checked(place: Place, desk: PayoutFixture) -> None:
    """The first attempt was answered with another amount: it may have been paid, whatever the second one says."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    wrong = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, extra={"amount": 1})
    desk.teller.script.append(answering(wrong))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    await observations.resolve(desk.ledger, "bank", "app-1", "t-00000", "resend")
    [_, again] = await desk.chunks()
    desk.teller.script.append(answering(entry_of("t-00000", "failed")))
    await desk.worker.advance(again)
    assert await desk.states() == ["unknown"]
    desk.teller.execute(transfers(1))
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["success"]


async def test_resolve_without_review_is_refused(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    for track_id, verdict in (("t-00000", "success"), ("nobody", "failed"), ("t-00000", "perhaps")):
        with pytest.raises(InvalidValue):
            await observations.resolve(desk.ledger, "bank", "app-1", track_id, verdict)  # type: ignore[arg-type]
    assert await desk.states() == ["planned"]


async def test_apply_observations_other_hashid_needs_review(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(3)), policy=Policy(chunk=1))
    desk.teller.status = TransferStatus.PENDING
    for chunk_id in await desk.chunks():
        await desk.worker.advance(chunk_id)
    await observations.apply_observations(
        desk.ledger, desk.product, [entry_of("t-00000", "success", hashid="h-t-00000")]
    )
    others = [
        entry_of("t-00000", "failed", hashid="another"),
        entry_of("t-00001", "failed", hashid="another"),
        entry_of("t-00002", "success", hashid="another"),
    ]
    changed = await observations.apply_observations(desk.ledger, desk.product, others)
    assert await desk.states() == ["success", "pending", "needs_review"]
    assert [one.reason for one in changed] == ["the bank has it under two names"]
    assert not await observations.apply_observations(
        desk.ledger, desk.product, [entry_of("t-00002", "failed", hashid="another")]
    )
    await observations.apply_observations(
        desk.ledger, desk.product, [entry_of("t-00000", "failed", hashid="h-t-00000")]
    )
    assert await desk.states() == ["reversed", "pending", "needs_review"]


async def test_apply_observations_applies_bank_list(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(6)), policy=Policy(chunk=1))
    chunks = await desk.chunks()
    desk.teller.status = TransferStatus.PENDING
    await desk.worker.advance(chunks[0])
    desk.teller.status = TransferStatus.SUCCESS
    await desk.worker.advance(chunks[1])
    desk.teller.script.append(raising(OSError("x")))
    await desk.worker.advance(chunks[2])
    await desk.worker.advance(chunks[3])
    desk.teller.status = TransferStatus.FAILED
    await desk.worker.advance(chunks[4])
    place.passes(2)
    await desk.worker.advance(chunks[4])
    assert await desk.states() == ["pending", "success", "unknown", "success", "failed", "planned"]
    changed = await observations.apply_observations(
        desk.ledger,
        desk.product,
        [
            entry_of("t-00000", "success", ref_code="r"),
            entry_of("t-00001", "failed"),
            entry_of("t-00002", "pending"),
            entry_of("t-00003", "success"),
            entry_of("t-00004", "success"),
            entry_of("t-00005", "success"),
            entry_of("of somebody else", "success"),
            Settlement(status=TransferStatus.SUCCESS),
        ],
    )
    assert await desk.states() == ["success", "reversed", "pending", "success", "needs_review", "success"]
    assert len(changed) == 5
    assert await observations.apply_observations(desk.ledger, desk.product, []) == []
    # What came back is asked about, and what was never sent from here is not sent.
    for chunk in chunks:
        await desk.worker.advance(chunk)
    assert len(desk.teller.calls) == 5
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00001")
    assert record is not None
    assert record.outcome.track_id == "t-00001"
    assert getattr(record.outcome, "reversed", False) is True


async def test_apply_observations_lagging_list_keeps_failure(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.status = TransferStatus.FAILED
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    place.passes(2)
    await desk.worker.advance(chunk)
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert record is not None
    assert record.state is TransferState.FAILED
    assert (
        await observations.apply_observations(
            desk.ledger, desk.product, [entry_of("t-00000", "pending", hashid=record.hashid)]
        )
        == []
    )
    [record] = await observations.apply_observations(
        desk.ledger, desk.product, [entry_of("t-00000", "pending", hashid="another")]
    )
    assert record.state is TransferState.NEEDS_REVIEW


async def test_apply_observations_sending_transfer_is_unchanged(desk: PayoutFixture) -> None:
    """What is listed as failed may be an attempt of another time; the one under way speaks for itself."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    thinking = asyncio.Event()
    desk.teller.on_send = thinking.wait
    task = asyncio.create_task(desk.worker.advance((await desk.chunks())[0]))
    await desk.comes_to("sending")
    assert await observations.apply_observations(desk.ledger, desk.product, [entry_of("t-00000", "failed")]) == []
    assert await desk.states() == ["sending"]
    thinking.set()
    await task
    assert await desk.states() == ["success"]


async def test_apply_observations_mismatch_needs_review(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(raising(OSError("x")))
    await desk.worker.advance((await desk.chunks())[0])
    [record] = await observations.apply_observations(
        desk.ledger, desk.product, [entry_of("t-00000", "success", extra={"amount": 3})]
    )
    assert record.state is TransferState.NEEDS_REVIEW
    # It is found to be all right after all.
    [record] = await observations.apply_observations(desk.ledger, desk.product, [entry_of("t-00000", "pending")])
    assert record.state is TransferState.PENDING
    assert [one for one, _ in await desk.worker.due()] == await desk.chunks()
