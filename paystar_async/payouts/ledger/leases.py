"""Leases: exclusive, expiring ownership of a chunk."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from attrs import frozen

from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.identity import OLDER
from paystar_async.payouts.ledger.lease_statements import (
    ACQUIRE_CHECK_LEASE,
    ACQUIRE_SEND_LEASE,
    DEFER_CHUNK,
    EXPIRE_LEASE,
    EXTEND_SLOTS,
    INSERT_SENDING_EVENTS,
    LOCK_ACCOUNT,
    MARK_SENDING,
    POSTPONE_CHUNK,
    RELEASE_LEASE,
    SCHEDULE_CHUNK,
    SELECT_ACTIVE_HOLD,
    SELECT_CHUNK,
    SELECT_LEASE,
    SELECT_REMAINING,
    SELECT_SENDING,
    SELECT_UNRESOLVED,
    SET_NEXT_SEND,
    SET_RUNNER,
)
from paystar_async.payouts.ledger.queries import chunk_of
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction
from paystar_async.payouts.ledger.updates import StoredTransfer, stored_transfer_of, transition_chunk
from paystar_async.payouts.models import ChunkPhase, ChunkRecord, Policy, ProductName, TransferState
from paystar_async.storage.database import Row, Value
from paystar_async.storage.record_types import require_types

SLOT_SECONDS = 8.0
"""Seconds that a chunk being sent counts towards its account's concurrency, unless the sender extends them."""
BUSY_SECONDS = 0.25
"""Seconds until a chunk that waits for its turn is tried again."""
MAX_CATCH_UP_SECONDS = 0.25
"""Lateness of a call that later calls may make up for; a pause of the account does not count."""


@frozen(kw_only=True)
class ChunkSnapshot:
    """A chunk as it was read.

    Attributes:
        chunk: the chunk.
        policy: the policy of its batch.
        at: when it was read, in the ledger's time.
        next_send_at: when the deposit account may send its next call.
    """

    chunk: ChunkRecord
    policy: Policy
    at: float
    next_send_at: float

    @property
    def waits_for_turn(self) -> bool:
        """Return True if the deposit account may not send a call yet."""
        return self.policy.rate is not None and self.next_send_at > self.at


@frozen(kw_only=True)
class ChunkLease:
    """A lease of a chunk that this process holds.

    Attributes:
        chunk: the chunk as it is now.
        policy: the policy of its batch.
        at: when the lease was acquired, in the ledger's time.
        owner: a name that only this lease has.
        transfers: the transfers to send or to check, in order.
        values: the same transfers as they are sent.
    """

    chunk: ChunkRecord
    policy: Policy
    at: float
    owner: str
    transfers: Sequence[StoredTransfer]
    values: Sequence[AnyTransfer]


class Lane(NamedTuple):
    """A deposit account: the scope of ``Policy.rate`` and ``Policy.concurrency``."""

    product: ProductName
    account: str
    deposit: str


@frozen(kw_only=True)
class NotDue:
    """A chunk with nothing to do now.

    Attributes:
        due_at: when to call again, in the ledger's time; None: not before ``resume``.
        waits_for: the deposit account whose next turn or free slot the chunk waits for; None: only for its time.
        is_taken: True if another sender has the chunk.
        was_sent: True if this process has just sent the chunk, which used a turn of the deposit account.
    """

    due_at: float | None
    waits_for: Lane | None = None
    is_taken: bool = False
    was_sent: bool = False


def lane_of_chunk(chunk: ChunkRecord) -> Lane:
    """Return the deposit account a chunk is paid from."""
    return Lane(chunk.product, chunk.account, chunk.deposit)


async def load_chunk(ledger: LedgerDatabase, chunk_id: str) -> ChunkSnapshot | None:
    """Return a chunk as it is now, or None; change nothing."""
    rows = await ledger.fetch(SELECT_CHUNK, {"chunk_id": chunk_id})
    return _snapshot(rows[0]) if rows else None


async def acquire_send_lease(
    ledger: LedgerDatabase, snapshot: ChunkSnapshot, owner: str, lease: float
) -> ChunkLease | NotDue:
    """Write the intent to send a chunk, unless a hold prevents it or another sender was faster.

    Once this has returned a ChunkLease, the intent is on the disk.
    """
    chunk, policy = snapshot.chunk, snapshot.policy
    lane = lane_of_chunk(chunk)
    if snapshot.waits_for_turn:  # without the lock, which the sender whose turn it is needs
        return NotDue(due_at=snapshot.next_send_at, waits_for=lane)
    params: dict[str, Value] = {
        "chunk_id": chunk.chunk_id,
        "version": chunk.version,
        "product": chunk.product,
        "account": chunk.account,
        "deposit": chunk.deposit,
        "lease_owner": owner,
        "lease": lease,
        "slot": SLOT_SECONDS,
        "runner": ledger.identity.runner,
        "concurrency": policy.concurrency,
    }
    identity = ledger.identity
    version, noted_version = 0, identity.versions().get(lane, 0)  # before anything is read: see ``check_version``

    async def acquire(transaction: LedgerTransaction) -> ChunkLease | NotDue:
        nonlocal version
        holds = await transaction.fetch(LOCK_ACCOUNT.format(origin=identity.origin_sql), params)
        if not holds:
            identity.refuse(OLDER)
        [hold] = holds
        identity.check_origin(hold["origin"])
        version = hold["version"]
        identity.check_version(version - 1, noted_version)
        params["at"] = at = hold["at"]
        if policy.rate is not None and hold["next_send_at"] > at:
            return NotDue(due_at=hold["next_send_at"], waits_for=lane)
        rows = await transaction.fetch(ACQUIRE_SEND_LEASE, params)
        if not rows:
            return await _explain_denied(ledger, transaction, params)
        identity.check_attempt(chunk.chunk_id, rows[0]["attempt"])
        if policy.rate is not None:
            next_send_at = next_send_time(hold["next_send_at"], at, policy.rate)
            await transaction.execute(SET_NEXT_SEND, params | {"next_send_at": next_send_at})
        sending = sorted(await transaction.fetch(MARK_SENDING, params), key=lambda row: row["position"])
        transfers = [stored_transfer_of(row) for row in sending]
        if transfers:
            await transaction.execute(INSERT_SENDING_EVENTS, params)
            return _lease(ledger, rows[0], snapshot, owner, transfers, at)
        # All transfers were settled otherwise: by a late response, or in manual review.
        await transaction.fetch(RELEASE_LEASE, params)
        return NotDue(due_at=await schedule_remaining(transaction, chunk.chunk_id, at))

    result = await ledger.run_transaction(acquire)
    identity.note_version(lane, version)  # not before it was committed
    if isinstance(result, ChunkLease):
        identity.note_attempt(chunk.chunk_id, result.chunk.attempt)
    return result


def next_send_time(turn: float, at: float, rate: float) -> float:
    """Return when the next call of a deposit account may be sent.

    Turns are counted from turns, not from calls, so that a late call slows no other one down. A call makes up for at
    most one interval (and at most ``MAX_CATCH_UP_SECONDS``): in any window of T seconds at most ``rate * T + 2`` calls
    are sent, also in the first after an idle hour.

    Args:
        turn: when this call might have been sent, in the ledger's time.
        at: when it is sent.
        rate: calls a second.
    """
    interval = 1 / rate
    return max(turn, at - min(interval, MAX_CATCH_UP_SECONDS)) + interval


async def mark_looked_up(ledger: LedgerDatabase, snapshot: ChunkSnapshot) -> None:
    """Record that this process has looked a chunk up at the bank, so that it may be sent."""
    chunk, runner = snapshot.chunk, ledger.identity.runner
    async with ledger.transaction() as transaction:
        await transaction.execute(SET_RUNNER, {"chunk_id": chunk.chunk_id, "version": chunk.version, "runner": runner})


async def postpone(ledger: LedgerDatabase, snapshot: ChunkSnapshot, pause: float) -> None:
    """Postpone the send of a chunk by ``pause`` seconds."""
    chunk = snapshot.chunk
    async with ledger.transaction() as transaction:
        await transaction.execute(
            POSTPONE_CHUNK, {"chunk_id": chunk.chunk_id, "version": chunk.version, "pause": pause}
        )


async def extend_slots(ledger: LedgerDatabase, chunk_ids: Collection[str]) -> None:
    """Extend the slots of chunks that this process is sending."""
    ids: dict[str, Value] = {f"id{number}": chunk_id for number, chunk_id in enumerate(chunk_ids)}
    sql = EXTEND_SLOTS.format(chunk_ids=", ".join(f":{name}" for name in ids))
    async with ledger.transaction() as transaction:
        await transaction.execute(sql, ids | {"slot": SLOT_SECONDS, "runner": ledger.identity.runner})


async def find_lease(ledger: LedgerDatabase, snapshot: ChunkSnapshot, owner: str) -> ChunkLease | None:
    """Return the send lease of this owner if its commit was stored after all, or None."""
    params: dict[str, Value] = {"chunk_id": snapshot.chunk.chunk_id, "lease_owner": owner}
    async with ledger.transaction() as transaction:
        rows = await transaction.fetch(SELECT_LEASE, params)
        if not rows:
            return None
        transfers = [stored_transfer_of(row) for row in await transaction.fetch(SELECT_SENDING, params)]
    lease = _lease(ledger, rows[0], snapshot, owner, transfers, snapshot.at)
    ledger.identity.note_attempt(lease.chunk.chunk_id, lease.chunk.attempt)
    return lease


async def expire_lease(ledger: LedgerDatabase, snapshot: ChunkSnapshot) -> float | None:
    """Expire the lease of a sender that did not return in time; return when the chunk is due.

    The result of what it may have sent is unknown.
    """
    chunk_id, at = snapshot.chunk.chunk_id, snapshot.at
    params: dict[str, Value] = {"chunk_id": chunk_id, "version": snapshot.chunk.version, "at": at}

    async def expire(transaction: LedgerTransaction) -> float | None:
        if not await transaction.fetch(EXPIRE_LEASE, params):
            return (await _reload(ledger, transaction, params)).chunk.due_at
        await transition_chunk(
            transaction,
            chunk_id,
            TransferState.SENDING,
            TransferState.UNKNOWN,
            at=at,
            cause="lease",
            reason="the lease of its sender expired",
        )
        return await schedule_remaining(transaction, chunk_id, at)

    return await ledger.run_transaction(expire)


async def acquire_check_lease(
    ledger: LedgerDatabase, snapshot: ChunkSnapshot, owner: str, lease: float
) -> ChunkLease | NotDue:
    """Lease a chunk to check its status, unless another process holds it."""
    chunk = snapshot.chunk
    params: dict[str, Value] = {
        "chunk_id": chunk.chunk_id,
        "version": chunk.version,
        "lease_owner": owner,
        "lease": lease,
        "at": snapshot.at,
    }

    async def acquire(transaction: LedgerTransaction) -> ChunkLease | NotDue:
        rows = await transaction.fetch(ACQUIRE_CHECK_LEASE, params)
        if not rows:
            return NotDue(due_at=(await _reload(ledger, transaction, params)).chunk.due_at)
        transfers = [stored_transfer_of(row) for row in await transaction.fetch(SELECT_UNRESOLVED, params)]
        if transfers:
            return _lease(ledger, rows[0], snapshot, owner, transfers, snapshot.at)
        await transaction.fetch(RELEASE_LEASE, params)
        return NotDue(due_at=await schedule_remaining(transaction, chunk.chunk_id, snapshot.at))

    return await ledger.run_transaction(acquire)


async def schedule_remaining(transaction: LedgerTransaction, chunk_id: str, at: float) -> float | None:
    """Set a chunk to the phase its transfers need next; return when it is due, or None if nothing remains."""
    [remaining] = await transaction.fetch(SELECT_REMAINING, {"chunk_id": chunk_id})
    phase: ChunkPhase
    if remaining["unresolved"]:
        phase = "check"
    elif remaining["planned"]:
        phase = "send"
    else:
        phase = "none"
    due_at = None if phase == "none" else at
    params: dict[str, Value] = {"chunk_id": chunk_id, "phase": phase, "due_at": due_at, "checks": 0}
    await transaction.execute(SCHEDULE_CHUNK, params)
    return due_at


async def _reload(ledger: LedgerDatabase, transaction: LedgerTransaction, params: dict[str, Value]) -> ChunkSnapshot:
    """Return a chunk as it is now; raise StorageError if it is missing, since no chunk is ever removed."""
    rows = await transaction.fetch(SELECT_CHUNK, params)
    if not rows:
        ledger.identity.refuse(OLDER)
    return _snapshot(rows[0])


async def _explain_denied(ledger: LedgerDatabase, transaction: LedgerTransaction, params: dict[str, Value]) -> NotDue:
    """Return why a send lease was denied."""
    snapshot = await _reload(ledger, transaction, params)
    chunk = snapshot.chunk
    if chunk.version != params["version"] or chunk.phase != "send" or chunk.due_at is None:
        return NotDue(due_at=chunk.due_at, is_taken=True)
    if chunk.due_at > snapshot.at:
        return NotDue(due_at=chunk.due_at)
    if await transaction.fetch(SELECT_ACTIVE_HOLD, params):
        await transaction.execute(DEFER_CHUNK, params)
        return NotDue(due_at=None)
    return NotDue(due_at=snapshot.at + BUSY_SECONDS, waits_for=lane_of_chunk(chunk))


def _lease(
    ledger: LedgerDatabase,
    row: Row,
    snapshot: ChunkSnapshot,
    owner: str,
    transfers: Sequence[StoredTransfer],
    at: float,
) -> ChunkLease:
    values = [transfer.value(ledger) for transfer in transfers]
    return ChunkLease(
        chunk=chunk_of(row), policy=snapshot.policy, at=at, owner=owner, transfers=transfers, values=values
    )


def _snapshot(row: Row) -> ChunkSnapshot:
    snapshot = ChunkSnapshot(
        chunk=chunk_of(row),
        policy=Policy.from_json(row["policy"]),
        at=row["at"],
        next_send_at=row["next_send_at"] or 0.0,  # no row: a ledger that ``acquire_send_lease`` refuses
    )
    return require_types(snapshot, "hold")
