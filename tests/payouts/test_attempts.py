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
    """The chunk of a second attempt, the first being one that a person has looked at."""
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


async def test_a_first_attempt_that_failed_is_no_word_of_a_second_one_nobody_knows_of(
    place: Place, desk: PayoutFixture
) -> None:
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
async def test_if_nothing_is_ever_heard_of_the_second_the_quiet_window_is_waited_for(
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


async def test_the_second_one_that_failed_by_its_own_name_has_failed(place: Place, desk: PayoutFixture) -> None:
    again = await sent_again(desk)
    desk.teller.script.append(answering(found("failed", "second")))
    await desk.worker.advance(again)
    assert await desk.states() == ["unknown"]
    desk.teller.finds.append(lambda _: [found("failed", "second")])
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["failed"]


async def test_a_second_one_that_waits_is_not_failed_by_the_first(place: Place, desk: PayoutFixture) -> None:
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


async def test_a_wallet_that_tells_no_names_leaves_it_to_a_person(place: Place) -> None:
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
async def test_whatever_a_person_sends_again_is_not_failed_by_a_refusal(
    place: Place, desk: PayoutFixture, first: str
) -> None:
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


async def test_what_a_person_says_arrived_is_not_reversed_by_an_attempt_that_failed(
    place: Place, desk: PayoutFixture
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(answering(found("success", "third"), found("success", "second")))
    await desk.worker.advance((await desk.chunks())[0])
    assert await desk.states() == ["needs_review"]
    await observations.resolve(desk.ledger, "bank", "app-1", ID, "success")
    await observations.apply_observations(desk.ledger, desk.product, [found("failed", "first")])
    assert await desk.states() == ["success"]


async def test_what_had_failed_and_then_arrived_is_not_failed_again_by_its_first_name(
    place: Place, desk: PayoutFixture
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    await failed_for_good(desk, place, (await desk.chunks())[0])
    await observations.apply_observations(desk.ledger, desk.product, [found("success", "second")])
    assert await desk.states() == ["needs_review"]
    await observations.apply_observations(desk.ledger, desk.product, [found("failed", "first")])
    assert await desk.states() == ["needs_review"]


async def test_of_what_is_masked_all_that_is_listed_is_read(place: Place, desk: PayoutFixture) -> None:
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


async def test_a_masked_one_cannot_be_sent_again(place: Place, desk: PayoutFixture) -> None:
    """Its card number is not on record any more: nothing would ever leave."""
    await insert_batch(desk.ledger, desk.product, "b", each([transfer(0, destination_account="6037990000000006")]))
    await failed_for_good(desk, place, (await desk.chunks())[0])
    await observations.apply_observations(desk.ledger, desk.product, [found("success", "second")])
    assert await desk.states() == ["needs_review"]
    with pytest.raises(InvalidValue, match="card number"):
        await observations.resolve(desk.ledger, "bank", "app-1", ID, "resend")
    assert await desk.states() == ["needs_review"]
    assert (await observations.resolve(desk.ledger, "bank", "app-1", ID, "failed")).state is TransferState.FAILED


async def test_two_entries_with_a_reference_each_are_two_payments(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(answering(found("success", ref_code="1"), found("success", ref_code="2")))
    await desk.worker.advance((await desk.chunks())[0])
    assert await desk.states() == ["needs_review"]


async def test_of_two_who_decide_at_once_the_second_is_told_that_it_was_too_late(
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


async def test_a_refusal_of_its_track_id_says_that_the_bank_may_have_it(place: Place, desk: PayoutFixture) -> None:
    """Paid by another hand, under the same track_id: whoever is told that it failed would pay it once more."""
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
