"""Process a chunk that is due: send its transfers, or check their status at the bank."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import anyio
from attrs import evolve

from paystar_async.errors import ConfigurationError, NotSent, StorageUnavailable
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.classify import Classification, Verdict, classify
from paystar_async.payouts.decisions import ABSENT, Decision, TransitionCause, decide_after_check, decide_after_send
from paystar_async.payouts.heartbeat import SlotHeartbeat
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.leases import (
    ChunkLease,
    ChunkSnapshot,
    NotDue,
    acquire_check_lease,
    acquire_send_lease,
    expire_lease,
    find_lease,
    load_chunk,
)
from paystar_async.payouts.ledger.observations import apply_late_response
from paystar_async.payouts.ledger.releases import ReleaseResult, release
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import ProductName
from paystar_async.payouts.recovery import RecoveryCheck
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import Event, EventName, OnEvent, logger
from paystar_async.runtime.tasks import BackgroundTasks

CALL_SECONDS = 30.0
SEND_DEADLINE_SECONDS = 5.0
"""Seconds after its intent within which the first byte of a call may be written."""
LEASE_MARGIN_SECONDS = 5.0
"""Seconds that a lease outlasts its call."""
MAX_RECORD_ATTEMPTS = 8
"""Attempts to record the result of a call while the ledger is down."""
_EVENTS: Mapping[TransitionCause, EventName] = {
    "suspended": "payouts_suspended",
    "funds": "payouts_insufficient_funds",
    "auth": "payouts_unauthorized",
}


class SendDeadline:
    """A deadline for the first byte of a request, checked right before that byte is written.

    Args:
        clock: the clock that is read.
        seconds: seconds from now to the deadline.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._monotonic_deadline, self._wall_deadline = clock.monotonic() + seconds, clock.time() + seconds

    def __call__(self) -> None:
        """Raise NotSent if the deadline has passed."""
        # A suspended machine shows in its wall clock alone; a wall clock that was set only prevents one request.
        if self._clock.monotonic() >= self._monotonic_deadline or self._clock.time() >= self._wall_deadline:
            raise NotSent("the request was delayed for too long after its intent was recorded")

    def expire(self) -> None:
        """Let the deadline pass now, so that no later byte is written."""
        self._monotonic_deadline = float("-inf")


class ChunkWorker:
    """A worker that processes chunks: acquire a lease, send or check status, record the result.

    Args:
        ledger: the ledger that holds the chunks.
        channels: the payout channels of the configured accounts.
        clock: the clock of deadlines and retries.
        background: the background tasks that run the steps; cancelling a caller does not stop a step.
        supports_before_send: returns True if the engine calls back right before the first byte; otherwise nothing is
            sent.
        notify: receives one event when Paystar refuses all calls of an account, and one when money runs out.
        timeout: seconds one call may take.
        send_deadline: seconds after a lease was acquired within which the first byte may be written.
        lease_margin: seconds a lease lasts beyond ``send_deadline`` and ``timeout``.
    """

    def __init__(
        self,
        ledger: LedgerDatabase,
        channels: Iterable[PayoutChannel],
        clock: Clock,
        background: BackgroundTasks,
        supports_before_send: Callable[[], bool],
        notify: OnEvent,
        *,
        timeout: float = CALL_SECONDS,
        send_deadline: float = SEND_DEADLINE_SECONDS,
        lease_margin: float = LEASE_MARGIN_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._channels: dict[tuple[ProductName, str], PayoutChannel] = {
            (channel.name, channel.account): channel for channel in channels
        }
        self._clock, self._background, self._notify = clock, background, notify
        self._supports_before_send = supports_before_send
        self._timeout, self._send_deadline = timeout, send_deadline
        self._lease_seconds = send_deadline + timeout + lease_margin
        self._status_checker = StatusChecker(self._ledger, clock, timeout, timeout + lease_margin)
        self._recovery = RecoveryCheck(self._ledger, timeout, send_deadline)
        self._heartbeat = SlotHeartbeat(self._ledger, clock, background)

    async def advance(self, chunk_id: str) -> float | None:
        """Process a chunk if it is due.

        Args:
            chunk_id: the chunk's id.

        Returns:
            When to call again, in the ledger's time; None if nothing is left to do, or nothing before ``resume``.

        Raises:
            ConfigurationError: the chunk's account is not configured, or the engine does not call back before it sends.
            StorageError: the ledger cannot be used; every request that was sent is on record. Call again.
        """
        return (await self.step(chunk_id)).due_at

    async def step(self, chunk_id: str) -> NotDue:
        """Process a chunk as ``advance`` does; return when to call again, and what the chunk waits for."""
        if not self._supports_before_send():
            raise ConfigurationError(
                "payouts need an engine that calls back right before it sends", hint='use the default, engine="auto"'
            )
        return await self._background.start(partial(self._step, chunk_id)).wait()

    async def due(self, limit: int = 100) -> Sequence[tuple[str, float]]:
        """Return chunks of the configured accounts, and when each is due in the ledger's time."""
        return await queries.due(self._ledger, list(self._channels), limit)

    def close(self) -> None:
        """Stop extending concurrency slots, except those of calls in progress."""
        self._heartbeat.close()

    async def _step(self, chunk_id: str) -> NotDue:
        snapshot = await load_chunk(self._ledger, chunk_id)
        if snapshot is None or (due := snapshot.chunk.due_at) is None:
            return NotDue(due_at=None)
        chunk = snapshot.chunk
        channel = self._channels.get((chunk.product, chunk.account))
        if channel is None:
            raise ConfigurationError(
                f"a payout of the {chunk.product} account {chunk.account} is due, and that account is not configured",
                hint="configure the account that submitted the payout",
            )
        if due > snapshot.at:
            return NotDue(due_at=due, is_taken=chunk.phase == "sending")
        if chunk.phase == "sending":
            return NotDue(due_at=await expire_lease(self._ledger, snapshot))
        if chunk.phase == "check":
            return NotDue(due_at=await self._check_status(snapshot, channel))
        if self._recovery.is_needed(snapshot):
            is_known = await self._recovery.check(snapshot, channel)
            return await self._step(chunk_id) if is_known else NotDue(due_at=await self._due_at(chunk_id))
        return await self._send(snapshot, channel)

    async def _due_at(self, chunk_id: str) -> float | None:
        snapshot = await load_chunk(self._ledger, chunk_id)
        return None if snapshot is None else snapshot.chunk.due_at

    async def _send(self, snapshot: ChunkSnapshot, channel: PayoutChannel) -> NotDue:
        # The deadline starts before the lease, so the lease outlasts the request however long the commit takes.
        deadline = SendDeadline(self._clock, self._send_deadline)
        lease = await self._acquire_lease(snapshot)
        if isinstance(lease, NotDue):
            return lease
        result: object
        try:
            with self._heartbeat.sending(lease.chunk.chunk_id):
                result = await channel.send(lease.values, self._timeout, deadline)
        except BaseException as error:
            result = error
        deadline.expire()
        classifications = classify(result, lease.values, channel.sent_track_id)
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            # The event loop is ending; the result is recorded all the same.
            with anyio.CancelScope(shield=True):
                await self._record(lease, channel, classifications)
            raise result
        return NotDue(due_at=await self._record(lease, channel, classifications), was_sent=True)

    async def _acquire_lease(self, snapshot: ChunkSnapshot) -> ChunkLease | NotDue:
        owner = secrets.token_hex(8)
        try:
            return await acquire_send_lease(self._ledger, snapshot, owner, self._lease_seconds)
        except StorageUnavailable:
            # The failed commit may have been applied. Nothing is sent unless the lease is found under this owner.
            lease = await find_lease(self._ledger, snapshot, owner)
            if lease is None:
                raise
            return lease

    async def _record(
        self, lease: ChunkLease, channel: PayoutChannel, classifications: Mapping[str, Classification]
    ) -> float | None:
        decision = decide_after_send(lease.transfers, classifications, lease.policy, lease.chunk.checks)
        result, was_retried = await self._release_with_retries(lease, decision)
        if result.is_hold_new or decision.cause == "auth" or (was_retried and decision.hold is not None):
            self._report(lease, decision)
        if result.is_recorded:
            return result.due_at
        attempts = {transfer.record.track_id: transfer.record.attempt for transfer in lease.transfers}
        await apply_late_response(self._ledger, channel, classifications, attempts)
        return await self._due_at(lease.chunk.chunk_id)

    async def _release_with_retries(self, lease: ChunkLease, decision: Decision) -> tuple[ReleaseResult, bool]:
        """Record a decision and release the lease, with retries: recording is idempotent; return if it was retried."""
        delay = 0.1
        for attempt in range(MAX_RECORD_ATTEMPTS):
            try:
                return await release(self._ledger, lease, decision), attempt > 0
            except StorageUnavailable:
                if attempt == MAX_RECORD_ATTEMPTS - 1:
                    raise
                await self._clock.sleep(delay)
                delay *= 2
        raise AssertionError  # unreachable: the last attempt returns or raises

    async def _check_status(self, snapshot: ChunkSnapshot, channel: PayoutChannel) -> float | None:
        check = await self._status_checker.check(snapshot, channel)
        if isinstance(check, NotDue):
            return check.due_at
        lease, decision = check
        result, _ = await self._release_with_retries(lease, decision)
        if result.is_hold_new:
            self._report(lease, evolve(decision, cause="suspended"))
        if result.is_recorded:
            return result.due_at
        return await self._due_at(lease.chunk.chunk_id)

    def _report(self, lease: ChunkLease, decision: Decision) -> None:
        name = _EVENTS[decision.cause]
        reason = decision.hold[1] if decision.hold else (decision.chunk_transition or ("", ""))[1]
        logger.error("%s: %s %s: %s", name, lease.chunk.product, lease.chunk.account, reason)
        realm = "application" if lease.chunk.product == "bank" else "wallet"
        self._notify(Event(name=name, realm=realm, account=lease.chunk.account, detail=reason))


MIN_LIST_CHECK = 3
"""Chunks with at least this number of transfers are first checked with one request for the bank's list."""


class StatusChecker:
    """A checker of the status of a chunk's transfers at the bank.

    Args:
        ledger: the ledger that holds the transfers.
        clock: the clock of the timeout.
        timeout: seconds all requests of one check may take.
        lease_seconds: seconds a lease for a check lasts.
    """

    def __init__(self, ledger: LedgerDatabase, clock: Clock, timeout: float, lease_seconds: float) -> None:
        self._ledger, self._clock, self._timeout, self._lease_seconds = ledger, clock, timeout, lease_seconds

    async def check(self, snapshot: ChunkSnapshot, channel: PayoutChannel) -> tuple[ChunkLease, Decision] | NotDue:
        """Acquire a lease, check the transfers, and return the decision; only the lease is recorded."""
        lease = await acquire_check_lease(self._ledger, snapshot, secrets.token_hex(8), self._lease_seconds)
        if isinstance(lease, NotDue):
            return lease
        classifications, failure = await self._check_transfers(lease, channel)
        decision = decide_after_check(lease.transfers, classifications, lease.policy, lease.at, lease.chunk.checks)
        if failure is not None and failure.verdict is Verdict.SUSPENDED:
            decision = evolve(decision, hold=("suspended_reason", failure.reason))
        return lease, decision

    async def _check_list(self, lease: ChunkLease, channel: PayoutChannel) -> dict[str, Classification]:
        """Return the classifications of the transfers that are in the bank's list."""
        entries = await channel.list(lease.chunk.deposit, 0, self._timeout / 2)
        classifications = classify(list(entries), lease.values, channel.sent_track_id, _hashids(lease))
        return {
            track_id: classification
            for track_id, classification in classifications.items()
            if classification.verdict is not Verdict.AMBIGUOUS
        }

    async def _check_transfers(
        self, lease: ChunkLease, channel: PayoutChannel
    ) -> tuple[dict[str, Classification], Classification | None]:
        """Return the classification by track_id, and the error that ended the check early, or None."""
        deadline = self._clock.monotonic() + self._timeout
        classifications: dict[str, Classification] = {}
        value = lease.values[0]
        try:
            if len(lease.values) >= MIN_LIST_CHECK:
                # An invalid list may be about other transfers; each can still be looked up on its own.
                with suppress(Exception):
                    classifications = await self._check_list(lease, channel)
            # A transfer whose look-up fails must not keep the others unchecked for ever: start with another each time.
            first = lease.chunk.checks % len(lease.values)
            for value in (*lease.values[first:], *lease.values[:first]):
                time_left = deadline - self._clock.monotonic()
                if value.track_id not in classifications and time_left > 0:
                    entries: Sequence[Settlement] = await channel.find(value.track_id, time_left)
                    # Entries of other transfers mean that the filter was ignored: then absence proves nothing.
                    by_track_id = classify(list(entries), [value], channel.sent_track_id, _hashids(lease))
                    classifications[value.track_id] = by_track_id[value.track_id] if entries else ABSENT
        except Exception as error:
            # A check changes nothing at the bank: the classifications so far hold, and the next check retries the rest.
            return classifications, classify(error, [value], channel.sent_track_id)[value.track_id]
        return classifications, None


def _hashids(lease: ChunkLease) -> dict[str, str]:
    """Return track_id by hashid for the transfers whose recorded hashid is unique in the chunk."""
    track_ids_by_hashid: dict[str, list[str]] = {}
    for transfer in lease.transfers:
        if transfer.record.hashid:
            track_ids_by_hashid.setdefault(transfer.record.hashid, []).append(transfer.record.track_id)
    return {hashid: track_ids[0] for hashid, track_ids in track_ids_by_hashid.items() if len(track_ids) == 1}
