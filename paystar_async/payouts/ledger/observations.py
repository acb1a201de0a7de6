"""What is heard of transfers outside of a claim: a late answer, the bank's list, a person's word."""

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import evolve

from paystar_async.errors import InvalidValue
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.classify import Classification, Verdict, classify, merge_entries, sort_recorded_first
from paystar_async.payouts.decisions import (
    STATES,
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
from paystar_async.payouts.models import AWAITING_BANK, ProductName, TransferRecord, TransferState
from paystar_async.storage.database import Value as Stored
from paystar_async.values.field_type import shown

Resolution = Literal["success", "failed", "resend"]

_FORGOTTEN = "the card number it went to is not on record any more"
_NOW = "SELECT CAST(:now AS DOUBLE PRECISION) AS at"
_ASK_AGAIN = """
UPDATE paystar_payout_chunks SET phase = 'ask', due_at = :at, checks = 0, version = version + 1
WHERE chunk_id = :chunk_id AND phase = 'none'
"""
_MARK_FAILED = """
UPDATE paystar_payout_transfers SET refusal = 'failed', reason = :reason
WHERE product = :product AND account = :account AND track_id = :track_id AND version = :version
    AND state = 'unknown' AND ambiguous_attempts = 0
"""


async def apply_observations(
    tables: LedgerDatabase, product: PayoutChannel, found: Sequence[Settlement], cause: TransitionCause = "reconcile"
) -> Sequence[TransferRecord]:
    """Take in what the bank says of transfers that are on record; the records that changed."""
    entries: dict[str, list[Settlement]] = {}
    for one in found:
        if one.track_id is not None:
            entries.setdefault(product.sent_track_id(one.track_id), []).append(one)
    changed: list[TransferRecord] = []
    async with tables.transaction() as transaction:
        for held in await _held(transaction, product, list(entries)):
            word = _word(tables, product, held, entries[held.record.track_id])
            changed += await _take(transaction, held, word, cause)
    return changed


async def apply_late_response(
    tables: LedgerDatabase, product: PayoutChannel, known: Mapping[str, Classification], attempts: Mapping[str, int]
) -> None:
    """Take in the answer to a send of ours that came after its lease was over.

    Args:
        tables: the ledger.
        product: what was sent.
        known: what the answer says of each transfer.
        attempts: which attempt of each it was.
    """
    async with tables.transaction() as transaction:
        for held in await _held(transaction, product, list(known)):
            record = held.record
            word = known[record.track_id]
            heard_of = STATES.get(word.settlement.status) if word.settlement is not None else None
            if heard_of is TransferState.FAILED:
                # As in a response that came in time, it is looked up before it is final.
                if record.attempt == attempts[record.track_id]:
                    await transaction.execute(_MARK_FAILED, _marked(record, word.reason))
                continue
            if heard_of is TransferState.PENDING and record.state is TransferState.FAILED:
                continue  # it was pending when that was said; the bank has decided since
            await _take(transaction, held, word, "late")


def _marked(record: TransferRecord, reason: str) -> dict[str, Stored]:
    return {
        "product": record.product,
        "account": record.account,
        "track_id": record.track_id,
        "version": record.version,
        "reason": reason or "the bank says it failed",
    }


async def resolve(
    tables: LedgerDatabase,
    product: ProductName,
    account: str,
    track_id: str,
    verdict: Resolution,
    *,
    note: str = "",
    ref_code: str | None = None,
) -> TransferRecord:
    """Record what a person found out about a transfer that needs review.

    Raises:
        InvalidValue: there is no such transfer, or it does not wait for review.
    """
    after = {"success": TransferState.SUCCESS, "failed": TransferState.FAILED, "resend": TransferState.PLANNED}.get(
        verdict
    )
    if after is None:
        raise InvalidValue("verdict", expected="success, failed or resend", got=shown(verdict))
    async with tables.transaction() as transaction:
        rows = await transaction.fetch(*select_transfers(STORED_TRANSFER_COLUMNS, product, account, [track_id]))
        if not rows:
            raise InvalidValue("track_id", expected="a transfer of the ledger", got=shown(track_id))
        held = stored_transfer_of(rows[0])
        record = held.record
        if record.state is not TransferState.NEEDS_REVIEW:
            raise InvalidValue("track_id", expected="a transfer that needs review", got=f"one that is {record.state}")
        if held.is_masked and after is TransferState.PLANNED:
            hint = "submit it under a track_id of its own, and say failed here"
            raise InvalidValue("verdict", expected="success or failed", got=f'"resend": {_FORGOTTEN}', hint=hint)
        at = (await transaction.fetch(_NOW))[0]["at"]
        change = Transition(record=record, after=after, reason=note, ref_code=ref_code)
        if not await transition_transfers(transaction, product, account, [change], at=at, cause="resolve"):
            raise InvalidValue(
                "track_id", expected="a transfer that needs review", got="one that was decided meanwhile"
            )
        if after is TransferState.PLANNED:
            await split_chunk(transaction, record.chunk_id, at)
        return transfer_of(
            (await transaction.fetch(*select_transfers(STORED_TRANSFER_COLUMNS, product, account, [track_id])))[0]
        )


async def _held(
    transaction: LedgerTransaction, product: PayoutChannel, track_ids: Sequence[str]
) -> list[StoredTransfer]:
    if not track_ids:
        return []
    rows = await transaction.fetch(*select_transfers(STORED_TRANSFER_COLUMNS, product.name, product.account, track_ids))
    return [stored_transfer_of(row) for row in rows]


def _word(
    tables: LedgerDatabase, product: PayoutChannel, held: StoredTransfer, entries: Sequence[Settlement]
) -> Classification:
    hashids = {held.record.hashid: held.record.track_id} if held.record.hashid else {}
    if not held.is_masked:
        value = held.value(tables)
        return classify(list(entries), [value], product.sent_track_id, hashids)[value.track_id]
    # Where it went is not on record any more; what the bank says of it is compared no further.
    return merge_entries(sort_recorded_first(entries, hashids))


async def _take(
    transaction: LedgerTransaction, held: StoredTransfer, word: Classification, cause: TransitionCause
) -> list[TransferRecord]:
    change = transition_for(held, word)
    if change is None:
        return []
    record = held.record
    at = (await transaction.fetch(_NOW))[0]["at"]
    if not await transition_transfers(transaction, record.product, record.account, [change], at=at, cause=cause):
        return []
    if change.after in AWAITING_BANK:
        params: dict[str, Stored] = {"chunk_id": record.chunk_id, "at": at}
        await transaction.execute(_ASK_AGAIN, params)
    return [evolve(record, state=change.after, version=record.version + 1, reason=change.reason, changed_at=at)]


_NAMED = frozenset({TransferState.PENDING, TransferState.SUCCESS, TransferState.NEEDS_REVIEW})
"""States in which the ledger may have the bank's name for the very payment it speaks of."""


def transition_for(held: StoredTransfer, word: Classification) -> Transition | None:
    """Return what becomes of a transfer by what the bank says of it outside of a claim; None: nothing.

    The bank's word holds for a planned transfer, too: a restored ledger has forgotten what it sent.
    """
    record = held.record
    if record.state is TransferState.SENDING:
        return None  # whoever is sending it will say
    if word.verdict is Verdict.CONTRADICTION:
        change = Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=word.reason)
        return change if change.is_allowed else None
    entry = word.settlement if word.verdict is Verdict.REPORTED else None
    after = STATES.get(entry.status) if entry is not None else None
    if entry is None or after is None or after is record.state:
        return None
    if after is TransferState.FAILED and (
        record.state is TransferState.NEEDS_REVIEW or not failure_covers_all_attempts(held, entry)
    ):
        return None  # it may be one attempt of several, and one of the others paid: a person, or the inquiry, says
    if record.state in _NAMED and is_different_payment(record.hashid, entry):
        # Of an attempt before or after this one, which it does not speak for.
        change = Transition(record=record, after=TransferState.NEEDS_REVIEW, reason="the bank has it under two names")
        return change if after is not TransferState.FAILED and change.is_allowed else None
    if record.state is TransferState.SUCCESS and after is TransferState.FAILED:
        return bank_transition(record, TransferState.REVERSED, word)
    if (
        record.state is TransferState.FAILED
        and after is TransferState.PENDING
        and not is_different_payment(record.hashid, entry)
    ):
        return None  # the list may lag behind what the bank said of the same transfer before
    if record.state is TransferState.FAILED:
        why = f"it was said to have failed, and now: {after}"
        return Transition(record=record, after=TransferState.NEEDS_REVIEW, reason=why)
    change = bank_transition(record, after, word)
    return change if change.is_allowed else None
