"""Releases of leases: write a decision and schedule what is next, in one transaction."""

from attrs import evolve, frozen

from paystar_async.payouts.decisions import Decision
from paystar_async.payouts.ledger.lease_statements import LOCK_NO_FUNDS_HOLD, RELEASE_LEASE, SCHEDULE_CHUNK
from paystar_async.payouts.ledger.leases import ChunkLease, schedule_remaining
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction
from paystar_async.payouts.ledger.updates import (
    record_not_found,
    regroup,
    set_hold,
    split_chunk,
    transition_chunk,
    transition_transfers,
)
from paystar_async.payouts.models import ChunkRecord, TransferState
from paystar_async.storage.database import Value


@frozen(kw_only=True)
class ReleaseResult:
    """The result of a release.

    Attributes:
        is_recorded: True if the lease was still held; False: nothing was changed of its transfers.
        due_at: when the chunk is due next.
        is_hold_new: True if a hold was set that had not been set before.
    """

    is_recorded: bool
    due_at: float | None
    is_hold_new: bool


async def release(ledger: LedgerDatabase, lease: ChunkLease, decision: Decision) -> ReleaseResult:
    """Write a decision and end its lease; write nothing of its transfers if the lease is no longer held."""
    chunk = lease.chunk
    params: dict[str, Value] = {"chunk_id": chunk.chunk_id, "lease_owner": lease.owner}

    async def write(transaction: LedgerTransaction) -> ReleaseResult:
        # The hold first, as in ``acquire_send_lease``: two transactions that wait for each other would both fail.
        is_hold_new = decision.hold is not None and await set_hold(transaction, chunk, *decision.hold)
        rows = await transaction.fetch(RELEASE_LEASE, params)
        if not rows:
            return ReleaseResult(is_recorded=False, due_at=None, is_hold_new=is_hold_new)
        at = rows[0]["at"]
        is_current = await _write(transaction, lease, await _with_funds(transaction, chunk, decision), at)
        if is_current and decision.phase != "none":
            due_at = None if decision.pause is None else at + decision.pause
            schedule: dict[str, Value] = {"phase": decision.phase, "due_at": due_at, "checks": decision.checks}
            await transaction.execute(SCHEDULE_CHUNK, params | schedule)
        else:  # the decision does not know of a late response, or the bank's list, that came in between
            due_at = await schedule_remaining(transaction, chunk.chunk_id, at)
        return ReleaseResult(is_recorded=True, due_at=due_at, is_hold_new=is_hold_new)

    return await ledger.run_transaction(write)


async def _write(transaction: LedgerTransaction, lease: ChunkLease, decision: Decision, at: float) -> bool:
    """Write the transitions; return True if no transfer had changed since the lease. Changed ones stay as they are."""
    chunk, cause = lease.chunk, decision.cause
    is_current = True
    if decision.chunk_transition is not None:
        after, reason = decision.chunk_transition
        await transition_chunk(
            transaction,
            chunk.chunk_id,
            TransferState.SENDING,
            after,
            at=at,
            cause=cause,
            reason=reason,
            refusal=decision.refusal,
        )
    for step in decision.steps:
        moved = await transition_transfers(transaction, chunk.product, chunk.account, step, at=at, cause=cause)
        is_current = is_current and len(moved) == len(step)
    counts = [
        (transfer.record, decision.counted[transfer.record.track_id])
        for transfer in lease.transfers
        if transfer.record.track_id in decision.counted
    ]
    await record_not_found(transaction, chunk.product, chunk.account, counts, lease.at)
    if decision.split:
        await split_chunk(transaction, chunk.chunk_id, at)
    if decision.regroup:
        await regroup(transaction, chunk, TransferState.PAUSED_FUNDS, at, phase="funds", due_at=None)
        await regroup(transaction, chunk, TransferState.PLANNED, at, phase="send", due_at=at)
    return is_current


async def _with_funds(transaction: LedgerTransaction, chunk: ChunkRecord, decision: Decision) -> Decision:
    """Return the decision; if ``resume`` was called since, transfers that wait for money are planned instead."""
    is_waiting = any(change.after is TransferState.PAUSED_FUNDS for step in decision.steps for change in step)
    account: dict[str, Value] = {"product": chunk.product, "account": chunk.account, "deposit": chunk.deposit}
    if not is_waiting or await transaction.fetch(LOCK_NO_FUNDS_HOLD, account):
        return decision
    steps = [
        [
            evolve(change, after=TransferState.PLANNED) if change.after is TransferState.PAUSED_FUNDS else change
            for change in step
        ]
        for step in decision.steps
    ]
    return evolve(decision, steps=steps)
