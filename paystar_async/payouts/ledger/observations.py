"""Observations: apply late responses, the bank's list and manual decisions to transfers without a lease."""

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import evolve

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.classify import Classification, Verdict, classify, merge_entries, sort_recorded_first
from paystar_async.payouts.decisions import (
    STATES,
    TWO_HASHIDS,
    TransitionCause,
    bank_transition,
    failure_covers_all_attempts,
    is_different_payment,
)
from paystar_async.payouts.ledger.queries import STORED_TRANSFER_COLUMNS, select_transfers, transfer_of
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction
from paystar_async.payouts.ledger.updates import (
    StoredTransfer,
    Transition,
    split_chunk,
    stored_transfer_of,
    transition_transfers,
)
from paystar_async.payouts.models import AWAITING_BANK, BANK_FAILED, ProductName, TransferRecord, TransferState
from paystar_async.storage.database import Value
from paystar_async.values.field_type import short_repr

Resolution = Literal["success", "failed", "resend"]
_RESOLUTIONS: Mapping[Resolution, TransferState] = {
    "success": TransferState.SUCCESS,
    "failed": TransferState.FAILED,
    "resend": TransferState.PLANNED,
}

_CARD_MASKED = "the card number it went to is not on record any more"
_NOW = "SELECT CAST(:now AS DOUBLE PRECISION) AS at"
_CHECK_AGAIN = """
UPDATE paystar_payout_chunks SET phase = 'check', due_at = :at, checks = 0, version = version + 1
WHERE chunk_id = :chunk_id AND phase = 'none'
"""
_MARK_FAILED = """
UPDATE paystar_payout_transfers SET refusal = 'failed', reason = :reason
WHERE product = :product AND account = :account AND track_id = :track_id AND version = :version
    AND state = 'unknown' AND ambiguous_attempts = 0
"""


async def apply_observations(
    ledger: LedgerDatabase, channel: PayoutChannel, entries: Sequence[Settlement], cause: TransitionCause = "reconcile"
) -> Sequence[TransferRecord]:
    """Apply entries of the bank's list to transfers on record; return the records that changed."""
    entries_by_track_id: dict[str, list[Settlement]] = {}
    for entry in entries:
        if entry.track_id is not None:
            entries_by_track_id.setdefault(channel.sent_track_id(entry.track_id), []).append(entry)
    changed: list[TransferRecord] = []
    async with ledger.transaction() as transaction:
        for transfer in await _stored(transaction, channel, list(entries_by_track_id)):
            observed = _classify(ledger, channel, transfer, entries_by_track_id[transfer.record.track_id])
            changed += await _apply(transaction, transfer, observed, cause)
    return changed


async def apply_late_response(
    ledger: LedgerDatabase,
    channel: PayoutChannel,
    classifications: Mapping[str, Classification],
    attempts: Mapping[str, int],
) -> None:
    """Apply the response to a send that came after its lease had expired.

    Args:
        ledger: the ledger.
        channel: the channel and account of the transfers.
        classifications: the result of each transfer by track_id.
        attempts: the attempt that was sent, by track_id.
    """
    async with ledger.transaction() as transaction:
        for transfer in await _stored(transaction, channel, list(classifications)):
            record = transfer.record
            observed = classifications[record.track_id]
            state = STATES.get(observed.settlement.status) if observed.settlement is not None else None
            if state is TransferState.FAILED:
                # As for a response in time, a status check comes before it is final.
                if record.attempt == attempts[record.track_id]:
                    params: dict[str, Value] = {
                        "product": record.product,
                        "account": record.account,
                        "track_id": record.track_id,
                        "version": record.version,
                        "reason": observed.reason or BANK_FAILED,
                    }
                    await transaction.execute(_MARK_FAILED, params)
                continue
            if state is TransferState.PENDING and record.state is TransferState.FAILED:
                continue  # the response is older: the bank has decided since
            await _apply(transaction, transfer, observed, "late")


async def resolve(
    ledger: LedgerDatabase,
    product: ProductName,
    account: str,
    track_id: str,
    verdict: Resolution,
    *,
    note: str = "",
    ref_code: str | None = None,
) -> TransferRecord:
    """Record the manual decision on a transfer that needs review.

    Raises:
        InvalidValue: the transfer is not on record, or does not need review.
    """
    after = _RESOLUTIONS[verdict]
    async with ledger.transaction() as transaction:
        rows = await transaction.fetch(*select_transfers(STORED_TRANSFER_COLUMNS, product, account, [track_id]))
        if not rows:
            raise InvalidValue("track_id", expected="a transfer of the ledger", got=short_repr(track_id))
        transfer = stored_transfer_of(rows[0])
        record = transfer.record
        if record.state is not TransferState.NEEDS_REVIEW:
            raise InvalidValue("track_id", expected="a transfer that needs review", got=f"one that is {record.state}")
        if transfer.is_masked and after is TransferState.PLANNED:
            hint = "submit it under a new track_id, and resolve this transfer as failed"
            raise InvalidValue("verdict", expected="success or failed", got=f'"resend": {_CARD_MASKED}', hint=hint)
        at = (await transaction.fetch(_NOW))[0]["at"]
        change = Transition(record=record, after=after, reason=note, ref_code=ref_code)
        if not await transition_transfers(transaction, product, account, [change], at=at, cause="resolve"):
            raise InvalidValue("track_id", expected="a transfer that needs review", got="one that was decided since")
        if after is TransferState.PLANNED:
            await split_chunk(transaction, record.chunk_id, at)
        return transfer_of(
            (await transaction.fetch(*select_transfers(STORED_TRANSFER_COLUMNS, product, account, [track_id])))[0]
        )


async def _stored(
    transaction: LedgerTransaction, channel: PayoutChannel, track_ids: Sequence[str]
) -> list[StoredTransfer]:
    if not track_ids:
        return []
    rows = await transaction.fetch(*select_transfers(STORED_TRANSFER_COLUMNS, channel.name, channel.account, track_ids))
    return [stored_transfer_of(row) for row in rows]


def _classify(
    ledger: LedgerDatabase, channel: PayoutChannel, transfer: StoredTransfer, entries: Sequence[Settlement]
) -> Classification:
    hashids = {transfer.record.hashid: transfer.record.track_id} if transfer.record.hashid else {}
    if not transfer.is_masked:
        value = transfer.value(ledger)
        return classify(list(entries), [value], channel.sent_track_id, hashids)[value.track_id]
    # The destination is no longer on record: the entries cannot be compared with the transfer.
    return merge_entries(sort_recorded_first(entries, hashids))


async def _apply(
    transaction: LedgerTransaction, transfer: StoredTransfer, observed: Classification, cause: TransitionCause
) -> list[TransferRecord]:
    change = transition_for(transfer, observed)
    if change is None:
        return []
    record = transfer.record
    at = (await transaction.fetch(_NOW))[0]["at"]
    if not await transition_transfers(transaction, record.product, record.account, [change], at=at, cause=cause):
        return []
    if change.after in AWAITING_BANK:
        params: dict[str, Value] = {"chunk_id": record.chunk_id, "at": at}
        await transaction.execute(_CHECK_AGAIN, params)
    return [evolve(record, state=change.after, version=record.version + 1, reason=change.reason, changed_at=at)]


_AT_BANK = frozenset({TransferState.PENDING, TransferState.SUCCESS, TransferState.NEEDS_REVIEW})
"""States in which the bank may have the recorded payment, so that an entry with another hashid is another payment."""


def transition_for(transfer: StoredTransfer, observed: Classification) -> Transition | None:
    """Return the transition that an entry of the bank causes outside of a lease, or None.

    It applies to planned transfers too: a restored ledger does not know what it sent.
    """
    record = transfer.record
    if record.state is TransferState.SENDING:
        return None  # its sender writes the result
    if observed.verdict is Verdict.CONTRADICTION:
        change = Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=observed.reason)
        return change if change.is_allowed else None
    entry = observed.settlement if observed.verdict is Verdict.REPORTED else None
    after = STATES.get(entry.status) if entry is not None else None
    if entry is None or after is None or after is record.state:
        return None
    if after is TransferState.FAILED and (
        record.state is TransferState.NEEDS_REVIEW or not failure_covers_all_attempts(transfer, entry)
    ):
        return None  # another attempt may have been paid: a status check or manual review decides
    if record.state in _AT_BANK and is_different_payment(record.hashid, entry):
        # An entry of another attempt proves nothing about this one.
        change = Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=TWO_HASHIDS)
        return change if after is not TransferState.FAILED and change.is_allowed else None
    if record.state is TransferState.SUCCESS and after is TransferState.FAILED:
        return bank_transition(record, TransferState.REVERSED, observed)
    if (
        record.state is TransferState.FAILED
        and after is TransferState.PENDING
        and not is_different_payment(record.hashid, entry)
    ):
        return None  # the list may lag behind an earlier response of the same transfer
    if record.state is TransferState.FAILED:
        reason = f"the bank reported that it failed, and now reports: {after}"
        return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=reason)
    change = bank_transition(record, after, observed)
    return change if change.is_allowed else None
