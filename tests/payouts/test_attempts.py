"""Test transfers that were sent more than once: the result of one attempt proves nothing about the others."""

from typing import Any

import pytest

from paystar_async.errors import InvalidInput, InvalidValue, NoResponse
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.ledger import observations, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy, TransferState
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, execute, raising, responding, transfer, transfers, wallet_transfer

ID = "t-00000"


def entry(status: str, hashid: str | None = None, **more: object) -> Settlement:
    return Settlement(track_id=ID, status=TransferStatus(status), hashid=hashid, **more)  # type: ignore[arg-type]


async def resend_after_review(payout: PayoutFixture) -> str:
    """Return the chunk of a second attempt, after a manual review of the first."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)), policy=Policy(quiet_window=30.0))
    payout.bank.script.append(responding(entry("success", "first", extra={"amount": 1})))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    await observations.resolve(payout.ledger, "bank", "app-1", ID, "resend")
    [_, second_chunk] = await payout.chunks()
    return second_chunk


async def fail_transfer(payout: PayoutFixture, backend: Backend, chunk: str) -> None:
    """Make the bank fail a transfer, in its response and in its list."""
    payout.bank.script.append(responding(entry("failed", "first")))
    payout.bank.finds.append(lambda _: [entry("failed", "first")])
    await payout.worker.advance(chunk)
    backend.advance_clock(2)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["failed"]


async def check_repeatedly(payout: PayoutFixture, backend: Backend, chunk: str, times: int) -> None:
    """Check a chunk ``times`` times, 11 seconds apart."""
    for _ in range(times):
        backend.advance_clock(11)
        await payout.worker.advance(chunk)


async def test_advance_failed_first_attempt_leaves_second_unknown(backend: Backend, payout: PayoutFixture) -> None:
    second_chunk = await resend_after_review(payout)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(second_chunk)
    payout.bank.finds.append(lambda _: [entry("failed", "first")])
    backend.advance_clock(2)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["unknown"]
    await observations.apply_observations(payout.ledger, payout.channel, [entry("failed", "first")])
    assert await payout.states() == ["unknown"]
    payout.bank.execute(transfers(1))  # the second attempt is executed late
    backend.advance_clock(2)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["success"]


@pytest.mark.parametrize(("resend", "ends"), [(False, "needs_review"), (True, "failed")])
async def test_advance_unlisted_second_attempt_waits_quiet_window(
    backend: Backend, payout: PayoutFixture, resend: bool, ends: str
) -> None:
    """With ``resend`` an attempt that is not listed by then counts as not executed; else it needs manual review."""
    second_chunk = await resend_after_review(payout)
    await insert_batch(
        payout.ledger, payout.channel, "b", each(transfers(1)), policy=Policy(quiet_window=30.0, resend=resend)
    )
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(second_chunk)
    for _ in range(12):
        payout.bank.finds.append(lambda _: [entry("failed", "first")])
    await check_repeatedly(payout, backend, second_chunk, 2)
    assert await payout.states() == ["unknown"]
    await check_repeatedly(payout, backend, second_chunk, 6)
    assert await payout.states() == [ends]
    assert len(payout.bank.calls) == 2


async def test_advance_failed_second_attempt_fails(backend: Backend, payout: PayoutFixture) -> None:
    second_chunk = await resend_after_review(payout)
    payout.bank.script.append(responding(entry("failed", "second")))
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["unknown"]
    payout.bank.finds.append(lambda _: [entry("failed", "second")])
    backend.advance_clock(2)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["failed"]


async def test_advance_pending_second_attempt_is_not_failed(backend: Backend, payout: PayoutFixture) -> None:
    second_chunk = await resend_after_review(payout)
    payout.bank.script.append(responding(entry("pending", "second")))
    await payout.worker.advance(second_chunk)
    payout.bank.finds.append(lambda _: [entry("failed", "first")])
    backend.advance_clock(2)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["pending"]
    payout.bank.finds.append(lambda _: [entry("success", "first")])
    backend.advance_clock(5)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["needs_review"]


async def test_advance_wallet_without_hashids_needs_review(backend: Backend) -> None:
    payout = PayoutFixture(backend.ledger(), backend.clock, channel=WalletChannel, account="w")
    await insert_batch(payout.ledger, payout.channel, "b", each([wallet_transfer(0)]))
    payout.bank.script.append(raising(NoResponse("no response")))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    stored = Settlement(track_id="w*w-00000*1", status=TransferStatus.SUCCESS, extra={"amount": 1})
    payout.bank.finds.append(lambda _: [stored])
    backend.advance_clock(2)
    await payout.worker.advance(chunk)
    await observations.resolve(payout.ledger, "wallet", "w", "w-00000", "resend")
    [_, second_chunk] = await payout.chunks()
    payout.bank.script.append(lambda bank, values: None)  # accepted, and not listed yet
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["pending"]
    failed = [Settlement(track_id="w*w-00000*1", status=TransferStatus.FAILED)]
    payout.bank.finds.append(lambda _: failed)
    payout.bank.finds.append(lambda _: failed)
    backend.advance_clock(2)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["pending"]
    backend.advance_clock(900)
    await payout.worker.advance(second_chunk)
    assert await payout.states() == ["needs_review"]


@pytest.mark.parametrize("first", ["pending", "failed"])
async def test_resolve_resent_is_not_failed_by_refusal(backend: Backend, payout: PayoutFixture, first: str) -> None:
    """The bank refuses the track_id because it has it: that transfer may have been paid."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    [chunk] = await payout.chunks()
    if first == "failed":
        await fail_transfer(payout, backend, chunk)
    else:
        payout.bank.script.append(responding(entry(first, "first")))
        await payout.worker.advance(chunk)
    observed = entry("success", "second")
    await observations.apply_observations(payout.ledger, payout.channel, [observed])
    assert await payout.states() == ["needs_review"]
    await observations.resolve(payout.ledger, "bank", "app-1", ID, "resend")
    payout.bank.script.append(raising(InvalidInput("used before")))
    for chunk in await payout.chunks():
        await payout.worker.advance(chunk)
    assert await payout.states() == ["needs_review"]


async def test_resolve_success_is_not_reversed_by_failed_attempt(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.script.append(responding(entry("success", "third"), entry("success", "second")))
    await payout.worker.advance((await payout.chunks())[0])
    assert await payout.states() == ["needs_review"]
    await observations.resolve(payout.ledger, "bank", "app-1", ID, "success")
    await observations.apply_observations(payout.ledger, payout.channel, [entry("failed", "first")])
    assert await payout.states() == ["success"]


async def test_apply_observations_paid_failure_needs_review(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    await fail_transfer(payout, backend, (await payout.chunks())[0])
    await observations.apply_observations(payout.ledger, payout.channel, [entry("success", "second")])
    assert await payout.states() == ["needs_review"]
    await observations.apply_observations(payout.ledger, payout.channel, [entry("failed", "first")])
    assert await payout.states() == ["needs_review"]


async def test_apply_observations_other_name_ends_no_review(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.script.append(responding(entry("pending", "first")))
    await payout.worker.advance((await payout.chunks())[0])
    for _ in range(2):
        await observations.apply_observations(payout.ledger, payout.channel, [entry("success", "second")])
        assert await payout.states() == ["needs_review"]


async def test_apply_observations_same_state_is_noop(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    await fail_transfer(payout, backend, (await payout.chunks())[0])
    assert await observations.apply_observations(payout.ledger, payout.channel, [entry("failed", "first")]) == []
    assert await payout.states() == ["failed"]


async def test_apply_observations_masked_merges_entries(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each([transfer(0, destination_account="6037990000000006")]))
    payout.bank.script.append(responding(entry("success")))
    await payout.worker.advance((await payout.chunks())[0])
    entries = [entry("failed", "second"), entry("success", "first")]
    assert await observations.apply_observations(payout.ledger, payout.channel, entries) == []
    assert await payout.states() == ["success"]
    [record] = await observations.apply_observations(
        payout.ledger, payout.channel, [entry("failed", message="IR110170000000123456789001")]
    )
    assert record.state is TransferState.REVERSED
    assert "123456789001" not in record.reason


async def test_resolve_masked_transfer_cannot_be_resent(backend: Backend, payout: PayoutFixture) -> None:
    """The card number is no longer on record, so nothing could be sent."""
    await insert_batch(payout.ledger, payout.channel, "b", each([transfer(0, destination_account="6037990000000006")]))
    await fail_transfer(payout, backend, (await payout.chunks())[0])
    await observations.apply_observations(payout.ledger, payout.channel, [entry("success", "second")])
    assert await payout.states() == ["needs_review"]
    with pytest.raises(InvalidValue, match="card number"):
        await observations.resolve(payout.ledger, "bank", "app-1", ID, "resend")
    assert await payout.states() == ["needs_review"]
    assert (await observations.resolve(payout.ledger, "bank", "app-1", ID, "failed")).state is TransferState.FAILED


async def test_advance_two_ref_codes_need_review(payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.script.append(responding(entry("success", ref_code="1"), entry("success", ref_code="2")))
    await payout.worker.advance((await payout.chunks())[0])
    assert await payout.states() == ["needs_review"]


async def test_resolve_concurrent_second_is_refused(payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)))
    payout.bank.script.append(responding(entry("success", "first", extra={"amount": 1})))
    await payout.worker.advance((await payout.chunks())[0])
    transition = updates.transition_transfers

    async def overtaken(*args: Any, **kwargs: Any) -> set[str]:
        await transition(*args, **kwargs)
        return await transition(*args, **kwargs)

    monkeypatch.setattr(observations, "transition_transfers", overtaken)
    with pytest.raises(InvalidValue, match="decided since"):
        await observations.resolve(payout.ledger, "bank", "app-1", ID, "failed")


async def test_advance_duplicate_track_id_is_looked_up(backend: Backend, payout: PayoutFixture) -> None:
    """Another program paid under the same track_id: a user who reads "failed" would pay again."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=Policy(quiet_window=30.0))
    refused = InvalidInput(10, "no", fields={"transfers.1.track_id": ["used before"]})
    payout.bank.script.append(raising(refused))
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    await check_repeatedly(payout, backend, chunk, 1)
    assert await payout.states() == ["planned"] * 2
    alone = InvalidInput(10, "no", fields={"transfers.0.track_id": ["used before"]})
    payout.bank.script.extend([execute, raising(alone)])
    for chunk in await payout.chunks():
        await payout.worker.advance(chunk)
    assert await payout.states() == ["success", "needs_review"]
