"""A transfer that was sent more than once: what is heard of one attempt does not speak for the others."""

from typing import Any

import pytest

from paystar_async.errors import InvalidInput, InvalidValue, NoResponse
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.ledger import observations, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy, TransferState
from tests.payouts.backends import Place
from tests.payouts.bank import PayoutFixture, answering, each, execute, raising, transfer, transfers, wallet_transfer

ID = "t-00000"


def found(status: str, hashid: str | None = None, **more: object) -> Settlement:
    return Settlement(track_id=ID, status=TransferStatus(status), hashid=hashid, **more)  # type: ignore[arg-type]


async def sent_again(desk: PayoutFixture) -> str:
    """Return the chunk of a second attempt, after a manual review of the first."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)), policy=Policy(quiet_window=30.0))
    desk.teller.script.append(answering(found("success", "first", extra={"amount": 1})))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    await observations.resolve(desk.ledger, "bank", "app-1", ID, "resend")
    [_, again] = await desk.chunks()
    return again


async def failed_for_good(desk: PayoutFixture, place: Place, chunk: str) -> None:
    """Let the bank fail a transfer, in its response and in its list."""
    desk.teller.script.append(answering(found("failed", "first")))
    desk.teller.finds.append(lambda _: [found("failed", "first")])
    await desk.worker.advance(chunk)
    place.passes(2)
    await desk.worker.advance(chunk)
    assert await desk.states() == ["failed"]


async def asked(desk: PayoutFixture, place: Place, chunk: str, times: int) -> None:
    """Ask so often, as time goes by."""
    for _ in range(times):
        place.passes(11)
        await desk.worker.advance(chunk)


async def test_check_failed_first_attempt_leaves_second_unknown(place: Place, desk: PayoutFixture) -> None:
    again = await sent_again(desk)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(again)
    desk.teller.finds.append(lambda _: [found("failed", "first")])
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["unknown"]
    await observations.apply_observations(desk.ledger, desk.product, [found("failed", "first")])
    assert await desk.states() == ["unknown"]
    desk.teller.execute(transfers(1))  # the second is carried out late
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["success"]


@pytest.mark.parametrize(("resend", "ends"), [(False, "needs_review"), (True, "failed")])
async def test_check_unlisted_second_attempt_waits_quiet_window(
    place: Place, desk: PayoutFixture, resend: bool, ends: str
) -> None:
    """With ``resend`` whatever the bank does not name by then was never there; else a person looks."""
    again = await sent_again(desk)
    await insert_batch(
        desk.ledger, desk.product, "b", each(transfers(1)), policy=Policy(quiet_window=30.0, resend=resend)
    )
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(again)
    for _ in range(12):
        desk.teller.finds.append(lambda _: [found("failed", "first")])
    await asked(desk, place, again, 2)
    assert await desk.states() == ["unknown"]
    await asked(desk, place, again, 6)
    assert await desk.states() == [ends]
    assert len(desk.teller.calls) == 2


async def test_check_failed_second_attempt_by_hashid_fails(place: Place, desk: PayoutFixture) -> None:
    again = await sent_again(desk)
    desk.teller.script.append(answering(found("failed", "second")))
    await desk.worker.advance(again)
    assert await desk.states() == ["unknown"]
    desk.teller.finds.append(lambda _: [found("failed", "second")])
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["failed"]


async def test_check_pending_second_attempt_is_not_failed(place: Place, desk: PayoutFixture) -> None:
    again = await sent_again(desk)
    desk.teller.script.append(answering(found("pending", "second")))
    await desk.worker.advance(again)
    desk.teller.finds.append(lambda _: [found("failed", "first")])
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["pending"]
    desk.teller.finds.append(lambda _: [found("success", "first")])
    place.passes(5)
    await desk.worker.advance(again)
    assert await desk.states() == ["needs_review"]


async def test_check_wallet_without_hashids_needs_review(place: Place) -> None:
    desk = PayoutFixture(place.ledger(), place.clock, product=WalletChannel, account="w")
    await insert_batch(desk.ledger, desk.product, "b", each([wallet_transfer(0)]))
    desk.teller.script.append(raising(NoResponse("no answer")))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    stored = Settlement(track_id="w*w-00000*1", status=TransferStatus.SUCCESS, extra={"amount": 1})
    desk.teller.finds.append(lambda _: [stored])
    place.passes(2)
    await desk.worker.advance(chunk)
    await observations.resolve(desk.ledger, "wallet", "w", "w-00000", "resend")
    [_, again] = await desk.chunks()
    desk.teller.script.append(lambda teller, given: None)  # taken, and not listed yet
    await desk.worker.advance(again)
    assert await desk.states() == ["pending"]
    failed = [Settlement(track_id="w*w-00000*1", status=TransferStatus.FAILED)]
    desk.teller.finds.append(lambda _: failed)
    desk.teller.finds.append(lambda _: failed)
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["pending"]
    place.passes(900)
    await desk.worker.advance(again)
    assert await desk.states() == ["needs_review"]


@pytest.mark.parametrize("first", ["pending", "failed"])
async def test_resolve_resent_is_not_failed_by_refusal(place: Place, desk: PayoutFixture, first: str) -> None:
    """A track_id the bank has is what it refuses: what it has may have been paid."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    [chunk] = await desk.chunks()
    if first == "failed":
        await failed_for_good(desk, place, chunk)
    else:
        desk.teller.script.append(answering(found(first, "first")))
        await desk.worker.advance(chunk)
    said = found("success", "second")
    await observations.apply_observations(desk.ledger, desk.product, [said])
    assert await desk.states() == ["needs_review"]
    await observations.resolve(desk.ledger, "bank", "app-1", ID, "resend")
    desk.teller.script.append(raising(InvalidInput("used before")))
    for one in await desk.chunks():
        await desk.worker.advance(one)
    assert await desk.states() == ["needs_review"]


async def test_resolve_success_is_not_reversed_by_failed_attempt(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(answering(found("success", "third"), found("success", "second")))
    await desk.worker.advance((await desk.chunks())[0])
    assert await desk.states() == ["needs_review"]
    await observations.resolve(desk.ledger, "bank", "app-1", ID, "success")
    await observations.apply_observations(desk.ledger, desk.product, [found("failed", "first")])
    assert await desk.states() == ["success"]


async def test_apply_observations_success_is_not_failed_again(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    await failed_for_good(desk, place, (await desk.chunks())[0])
    await observations.apply_observations(desk.ledger, desk.product, [found("success", "second")])
    assert await desk.states() == ["needs_review"]
    await observations.apply_observations(desk.ledger, desk.product, [found("failed", "first")])
    assert await desk.states() == ["needs_review"]


async def test_apply_observations_masked_reads_all_entries(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each([transfer(0, destination_account="6037990000000006")]))
    desk.teller.script.append(answering(found("success")))
    await desk.worker.advance((await desk.chunks())[0])
    both = [found("failed", "second"), found("success", "first")]
    assert await observations.apply_observations(desk.ledger, desk.product, both) == []
    assert await desk.states() == ["success"]
    [record] = await observations.apply_observations(
        desk.ledger, desk.product, [found("failed", message="IR110170000000123456789001")]
    )
    assert record.state is TransferState.REVERSED
    assert "123456789001" not in record.reason


async def test_resolve_masked_transfer_cannot_be_resent(place: Place, desk: PayoutFixture) -> None:
    """Its card number is not on record any more: nothing would ever leave."""
    await insert_batch(desk.ledger, desk.product, "b", each([transfer(0, destination_account="6037990000000006")]))
    await failed_for_good(desk, place, (await desk.chunks())[0])
    await observations.apply_observations(desk.ledger, desk.product, [found("success", "second")])
    assert await desk.states() == ["needs_review"]
    with pytest.raises(InvalidValue, match="card number"):
        await observations.resolve(desk.ledger, "bank", "app-1", ID, "resend")
    assert await desk.states() == ["needs_review"]
    assert (await observations.resolve(desk.ledger, "bank", "app-1", ID, "failed")).state is TransferState.FAILED


async def test_advance_two_ref_codes_need_review(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(answering(found("success", ref_code="1"), found("success", ref_code="2")))
    await desk.worker.advance((await desk.chunks())[0])
    assert await desk.states() == ["needs_review"]


async def test_resolve_concurrent_second_is_refused(
    place: Place, desk: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(answering(found("success", "first", extra={"amount": 1})))
    await desk.worker.advance((await desk.chunks())[0])
    moving = updates.transition_transfers

    async def overtaken(*given: Any, **more: Any) -> set[str]:
        await moving(*given, **more)
        return await moving(*given, **more)

    monkeypatch.setattr(observations, "transition_transfers", overtaken)
    with pytest.raises(InvalidValue, match="meanwhile"):
        await observations.resolve(desk.ledger, "bank", "app-1", ID, "failed")


async def test_advance_duplicate_track_id_is_looked_up(place: Place, desk: PayoutFixture) -> None:
    """Paid by another hand, under the same track_id: a user who reads that it failed would pay it once more."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)), policy=Policy(quiet_window=30.0))
    refused = InvalidInput(10, "no", fields={"transfers.1.track_id": ["used before"]})
    desk.teller.script.append(raising(refused))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    await asked(desk, place, chunk, 1)
    assert await desk.states() == ["planned"] * 2
    alone = InvalidInput(10, "no", fields={"transfers.0.track_id": ["used before"]})
    desk.teller.script.extend([execute, raising(alone)])
    for one in await desk.chunks():
        await desk.worker.advance(one)
    assert await desk.states() == ["success", "needs_review"]
