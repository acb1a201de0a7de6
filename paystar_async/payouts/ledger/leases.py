"""Who does what next: a chunk is claimed before anything is sent or asked, and let go with what came of it."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from attrs import evolve, frozen

from paystar_async.payouts.classify import Value
from paystar_async.payouts.decisions import Decision
from paystar_async.payouts.identity import OLDER
from paystar_async.payouts.ledger.lease_statements import (
    ADOPT,
    ASK,
    CLAIM,
    CLOSED,
    DEFER_CHUNK,
    EXPIRE,
    EXTEND_SLOTS,
    LOCK_ACCOUNT,
    PUT_OFF,
    RELEASE_LEASE,
    SCHEDULE_CHUNK,
    SELECT_CHUNK,
    SELECT_LEASE,
    SELECT_REMAINING,
    SELECT_SENDING,
    SELECT_UNRESOLVED,
    SENDING,
    SENDING_EVENTS,
    SET_NEXT_SEND,
    SHORT,
)
from paystar_async.payouts.ledger.queries import chunk_of
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction
from paystar_async.payouts.ledger.updates import (
    StoredTransfer,
    close,
    held_of,
    record_not_found,
    regroup,
    split_chunk,
    transition_chunk,
    transition_transfers,
)
from paystar_async.payouts.models import ChunkPhase, ChunkRecord, Policy, ProductName, TransferState
from paystar_async.storage.database import Row
from paystar_async.storage.database import Value as Stored

SLOT_SECONDS = 8.0
"""How long a chunk that is being sent takes a place of its account's concurrency, unless its sender extends that."""
BUSY_SECONDS = 0.25
"""When to look again for a chunk that has to wait for its turn."""
MAX_CATCH_UP_SECONDS = 0.25
"""Lateness of a call that those after it may make up for; a pause of the account is no lateness."""


@frozen(kw_only=True)
class ChunkSnapshot:
    """A chunk as it was seen.

    Attributes:
        chunk: the chunk.
        policy: of its batch.
        at: when, in the ledger's time.
    """

    chunk: ChunkRecord
    policy: Policy
    at: float


@frozen(kw_only=True)
class ChunkLease:
    """A chunk that is ours for a while.

    Attributes:
        chunk: the chunk as it is now.
        policy: of its batch.
        at: when it was claimed, in the ledger's time.
        owner: the name of this very claim.
        transfers: what is to be sent or asked about, in order.
        values: the same as it is sent.
    """

    chunk: ChunkRecord
    policy: Policy
    at: float
    owner: str
    transfers: Sequence[StoredTransfer]
    values: Sequence[Value]


class Lane(NamedTuple):
    """A deposit account: what ``Policy.rate`` and ``Policy.concurrency`` hold for."""

    product: ProductName
    account: str
    deposit: str


@frozen(kw_only=True)
class NotDue:
    """Nothing to do now.

    Attributes:
        due: when to come again, in the ledger's time; None: not before somebody resumes it.
        waits_for: the deposit account whose next turn, or free place, the chunk waits for; None: it waits for nothing
            but its time.
        is_taken: whether another sender has the chunk.
    """

    due: float | None
    waits_for: Lane | None = None
    is_taken: bool = False


@frozen(kw_only=True)
class ReleaseResult:
    """How letting go of a claim went.

    Attributes:
        ours: whether the claim still was ours; if not, nothing was changed of its transfers.
        due: when the chunk is due next.
        closed: whether a gate was closed that had been open.
    """

    ours: bool
    due: float | None
    closed: bool


def lane_of(chunk: ChunkRecord) -> Lane:
    """Return the deposit account a chunk is paid from."""
    return Lane(chunk.product, chunk.account, chunk.deposit)


async def load_chunk(tables: LedgerDatabase, chunk_id: str) -> ChunkSnapshot | None:
    """A chunk, without touching it."""
    rows = await tables.fetch(SELECT_CHUNK, {"chunk_id": chunk_id})
    return _sight(rows[0]) if rows else None


async def acquire_send_lease(
    tables: LedgerDatabase, sight: ChunkSnapshot, owner: str, lease: float
) -> ChunkLease | NotDue:
    """Write the intent to send a chunk, unless its gates keep it or somebody else was faster.

    Once this has come back with a Claim, the intent is on the disk.
    """
    chunk, policy = sight.chunk, sight.policy
    told: dict[str, Stored] = {
        "chunk_id": chunk.chunk_id,
        "version": chunk.version,
        "product": chunk.product,
        "account": chunk.account,
        "deposit": chunk.deposit,
        "owner": owner,
        "lease": lease,
        "slot": SLOT_SECONDS,
        "runner": tables.identity.runner,
        "concurrency": policy.concurrency,
    }
    identity = tables.identity
    account = lane_of(chunk)
    version, seen = 0, identity.versions().get(account, 0)  # before anything is read: see ``check_version``

    async def work(transaction: LedgerTransaction) -> ChunkLease | NotDue:
        nonlocal version
        locked = await transaction.fetch(LOCK_ACCOUNT.format(origin=":origin" if identity.origin else "''"), told)
        if not locked:
            identity.refuse(OLDER)
        [gate] = locked
        identity.check_origin(gate["origin"])
        version = gate["version"]
        identity.check_version(version - 1, seen)
        told["at"] = at = gate["at"]
        if policy.rate is not None and gate["next_at"] > at:
            return NotDue(due=gate["next_at"], waits_for=account)
        rows = await transaction.fetch(CLAIM, told)
        if not rows:
            return await _explain_denied(tables, transaction, told)
        if policy.rate is not None:
            await transaction.execute(SET_NEXT_SEND, told | {"next_at": next_turn(gate["next_at"], at, policy.rate)})
        held = [held_of(row) for row in sorted(await transaction.fetch(SENDING, told), key=lambda row: row["place"])]
        if held:
            await transaction.execute(SENDING_EVENTS, told)
            return _claim(tables, rows[0], sight, owner, held, at)
        # All of them were settled otherwise: by a late answer, or by hand.
        await transaction.fetch(RELEASE_LEASE, told)
        return NotDue(due=await _rest(transaction, chunk.chunk_id, at))

    claimed = await tables.run_transaction(work)
    identity.note_version(account, version)  # not before it was committed
    return claimed


def next_turn(turn: float, at: float, rate: float) -> float:
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


async def adopt(tables: LedgerDatabase, sight: ChunkSnapshot) -> None:
    """Note that a chunk was looked up at the bank here, and may be sent."""
    told: dict[str, Stored] = {
        "chunk_id": sight.chunk.chunk_id,
        "version": sight.chunk.version,
        "runner": tables.identity.runner,
    }
    async with tables.transaction() as transaction:
        await transaction.execute(ADOPT, told)


async def put_off(tables: LedgerDatabase, sight: ChunkSnapshot, pause: float) -> None:
    """Do nothing about a chunk for ``pause`` seconds."""
    told: dict[str, Stored] = {
        "chunk_id": sight.chunk.chunk_id,
        "version": sight.chunk.version,
        "pause": pause,
    }
    async with tables.transaction() as transaction:
        await transaction.execute(PUT_OFF, told)


async def extend_slots(tables: LedgerDatabase, chunk_ids: Collection[str]) -> None:
    """Keep the places of chunks that are being sent here."""
    named: dict[str, Stored] = {f"id{number}": chunk_id for number, chunk_id in enumerate(chunk_ids)}
    sql = EXTEND_SLOTS.format(chunk_ids=", ".join(f":{name}" for name in named))
    async with tables.transaction() as transaction:
        await transaction.execute(sql, named | {"slot": SLOT_SECONDS, "runner": tables.identity.runner})


async def _now(tables: LedgerDatabase, transaction: LedgerTransaction, told: dict[str, Stored]) -> ChunkSnapshot:
    """Return a chunk as it is now; raise StorageError if it is gone, since no chunk is ever removed."""
    rows = await transaction.fetch(SELECT_CHUNK, told)
    if not rows:
        tables.identity.refuse(OLDER)
    return _sight(rows[0])


async def _explain_denied(tables: LedgerDatabase, transaction: LedgerTransaction, told: dict[str, Stored]) -> NotDue:
    now = await _now(tables, transaction, told)
    if now.chunk.version != told["version"] or now.chunk.work != "send" or now.chunk.due is None:
        return NotDue(due=now.chunk.due, is_taken=True)
    if now.chunk.due > now.at:
        return NotDue(due=now.chunk.due)
    if await transaction.fetch(CLOSED, told):
        await transaction.execute(DEFER_CHUNK, told)
        return NotDue(due=None)
    return NotDue(due=now.at + BUSY_SECONDS, waits_for=lane_of(now.chunk))


async def find_lease(tables: LedgerDatabase, sight: ChunkSnapshot, owner: str) -> ChunkLease | None:
    """The claim of this name, if it was stored after all."""
    told: dict[str, Stored] = {"chunk_id": sight.chunk.chunk_id, "owner": owner}
    async with tables.transaction() as transaction:
        rows = await transaction.fetch(SELECT_LEASE, told)
        if not rows:
            return None
        held = [held_of(row) for row in await transaction.fetch(SELECT_SENDING, told)]
    return _claim(tables, rows[0], sight, owner, held, sight.at)


async def expire_lease(tables: LedgerDatabase, sight: ChunkSnapshot) -> float | None:
    """Whoever wrote an intent did not come back in time: nobody knows what became of it."""
    told: dict[str, Stored] = {"chunk_id": sight.chunk.chunk_id, "version": sight.chunk.version, "at": sight.at}

    async def work(transaction: LedgerTransaction) -> float | None:
        if not await transaction.fetch(EXPIRE, told):
            return (await _now(tables, transaction, told)).chunk.due
        why = "whoever was sending it did not come back"
        await transition_chunk(
            transaction,
            sight.chunk.chunk_id,
            TransferState.SENDING,
            TransferState.UNKNOWN,
            at=sight.at,
            cause="lease",
            reason=why,
        )
        return await _rest(transaction, sight.chunk.chunk_id, sight.at)

    return await tables.run_transaction(work)


async def claim_to_ask(tables: LedgerDatabase, sight: ChunkSnapshot, owner: str, lease: float) -> ChunkLease | NotDue:
    """Take on asking about a chunk, unless somebody else does."""
    chunk = sight.chunk
    told: dict[str, Stored] = {
        "chunk_id": chunk.chunk_id,
        "version": chunk.version,
        "owner": owner,
        "lease": lease,
        "at": sight.at,
    }

    async def work(transaction: LedgerTransaction) -> ChunkLease | NotDue:
        rows = await transaction.fetch(ASK, told)
        if not rows:
            return NotDue(due=(await _now(tables, transaction, told)).chunk.due)
        held = [held_of(row) for row in await transaction.fetch(SELECT_UNRESOLVED, told)]
        if held:
            return _claim(tables, rows[0], sight, owner, held, sight.at)
        await transaction.fetch(RELEASE_LEASE, told)
        return NotDue(due=await _rest(transaction, chunk.chunk_id, sight.at))

    return await tables.run_transaction(work)


async def release(tables: LedgerDatabase, claim: ChunkLease, decision: Decision) -> ReleaseResult:
    """Record what came of a claim, all of it at once; nothing, if it is not ours any more."""
    chunk = claim.chunk
    told: dict[str, Stored] = {"chunk_id": chunk.chunk_id, "owner": claim.owner}

    async def work(transaction: LedgerTransaction) -> ReleaseResult:
        # The gate first, as a claim does: two that wait for each other would both fail.
        closed = False
        if decision.close is not None:
            kind, why = decision.close
            where = "" if kind == "suspended_reason" else chunk.deposit
            gate: dict[str, Stored] = {"product": chunk.product, "account": chunk.account, "deposit": where}
            closed = await close(transaction, kind, gate | {"why": why})
        rows = await transaction.fetch(RELEASE_LEASE, told)
        if not rows:
            return ReleaseResult(ours=False, due=None, closed=closed)
        at = rows[0]["at"]
        whole = await _write(transaction, claim, await _with_funds(transaction, chunk, decision), at)
        if whole and decision.work != "none":
            due = None if decision.pause is None else at + decision.pause
            await transaction.execute(
                SCHEDULE_CHUNK, told | {"work": decision.work, "due": due, "checks": decision.checks}
            )
        else:  # a late answer, or the bank's list, may have come in between: what is next was decided without it
            due = await _rest(transaction, chunk.chunk_id, at)
        return ReleaseResult(ours=True, due=due, closed=closed)

    return await tables.run_transaction(work)


async def _write(transaction: LedgerTransaction, claim: ChunkLease, decision: Decision, at: float) -> bool:
    """Whether all transfers were still as they had been claimed; the others stay as they are."""
    chunk, cause = claim.chunk, decision.cause
    whole = True
    if decision.chunk_transition is not None:
        after, why = decision.chunk_transition
        await transition_chunk(
            transaction,
            chunk.chunk_id,
            TransferState.SENDING,
            after,
            at=at,
            cause=cause,
            reason=why,
            refusal=decision.refusal,
        )
    for step in decision.steps:
        moved = await transition_transfers(transaction, chunk.product, chunk.account, step, at=at, cause=cause)
        whole = whole and len(moved) == len(step)
    counts = [
        (one.record, decision.counted[one.record.track_id])
        for one in claim.transfers
        if one.record.track_id in decision.counted
    ]
    await record_not_found(transaction, chunk.product, chunk.account, counts, claim.at)
    if decision.split:
        await split_chunk(transaction, chunk.chunk_id, at)
    if decision.regroup:
        await regroup(transaction, chunk, TransferState.PAUSED_FUNDS, at, work="funds", due=None)
        await regroup(transaction, chunk, TransferState.PLANNED, at, work="send", due=at)
    return whole


async def _with_funds(transaction: LedgerTransaction, chunk: ChunkRecord, decision: Decision) -> Decision:
    """Return the decision, with what waits for money planned instead if ``resume`` was called meanwhile."""
    waiting = any(change.after is TransferState.PAUSED_FUNDS for step in decision.steps for change in step)
    if not waiting or await transaction.fetch(
        SHORT, {"product": chunk.product, "account": chunk.account, "deposit": chunk.deposit}
    ):
        return decision
    steps = [
        [evolve(one, after=TransferState.PLANNED) if one.after is TransferState.PAUSED_FUNDS else one for one in step]
        for step in decision.steps
    ]
    return evolve(decision, steps=steps)


async def _rest(transaction: LedgerTransaction, chunk_id: str, at: float) -> float | None:
    """Set a chunk to whatever is left to do for it; when that is due."""
    [left] = await transaction.fetch(SELECT_REMAINING, {"chunk_id": chunk_id})
    work: ChunkPhase = "ask" if left["asked"] else "send" if left["planned"] else "none"
    due = None if work == "none" else at
    told: dict[str, Stored] = {"chunk_id": chunk_id, "work": work, "due": due, "checks": 0}
    await transaction.execute(SCHEDULE_CHUNK, told)
    return due


def _claim(
    tables: LedgerDatabase, row: Row, sight: ChunkSnapshot, owner: str, held: Sequence[StoredTransfer], at: float
) -> ChunkLease:
    values = [one.value(tables) for one in held]
    return ChunkLease(chunk=chunk_of(row), policy=sight.policy, at=at, owner=owner, transfers=held, values=values)


def _sight(row: Row) -> ChunkSnapshot:
    return ChunkSnapshot(chunk=chunk_of(row), policy=Policy.from_text(row["policy"]), at=row["at"])
