"""Asking the bank about transfers that are pending or unknown."""

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
from paystar_async.payouts.decisions import ABSENT, Decision, decide_after_check, decide_after_send
from paystar_async.payouts.heartbeat import SlotHeartbeat
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.leases import (
    ChunkLease,
    ChunkSnapshot,
    Lane,
    NotDue,
    ReleaseResult,
    acquire_send_lease,
    claim_to_ask,
    expire_lease,
    find_lease,
    lane_of,
    load_chunk,
    release,
)
from paystar_async.payouts.ledger.observations import apply_late_response
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import ProductName
from paystar_async.payouts.recovery import RecoveryCheck
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import Event, EventName, OnEvent, logger
from paystar_async.runtime.tasks import BackgroundTasks

CALL_SECONDS = 30.0
SEND_DEADLINE_SECONDS = 5.0
LEASE_MARGIN_SECONDS = 5.0
MAX_RECORD_ATTEMPTS = 8
_ALARMS: Mapping[str, EventName] = {
    "halt": "payouts_suspended",
    "funds": "payouts_insufficient_funds",
    "auth": "payouts_unauthorized",
}


class SendDeadline:
    """Lets a first byte leave for a short while, and never again.

    Args:
        clock: what time it is.
        seconds: how long.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._until, self._wall = clock.monotonic() + seconds, clock.time() + seconds

    def __call__(self) -> None:
        """Raise NotSent unless a byte may leave now."""
        # A machine that slept knows it by its wall clock alone; one that was only set keeps a byte back for nothing.
        if self._clock.monotonic() >= self._until or self._clock.time() >= self._wall:
            raise NotSent("it was held up for too long after its intent was recorded")

    def fall(self) -> None:
        """Let nothing leave any more."""
        self._until = float("-inf")


class ChunkWorker:
    """Brings chunks forward: claim, send, record – or ask, record.

    Args:
        ledger: where everything is on record.
        products: what can be paid out here.
        clock: what time it is.
        background: gives whose jobs the steps are; cancelling a caller does not stop them.
        fences: whether the engine calls back right before the first byte; without that nothing is sent.
        notify: told when Paystar refuses everything, or there is no money; once each.
        timeout: seconds one call may take.
        send_deadline: seconds after a lease was acquired within which its first byte may leave.
        lease_margin: seconds a lease lasts beyond that and the call.
    """

    def __init__(
        self,
        ledger: LedgerDatabase,
        products: Iterable[PayoutChannel],
        clock: Clock,
        background: Callable[[], BackgroundTasks],
        fences: Callable[[], bool],
        notify: OnEvent,
        *,
        timeout: float = CALL_SECONDS,
        send_deadline: float = SEND_DEADLINE_SECONDS,
        lease_margin: float = LEASE_MARGIN_SECONDS,
    ) -> None:
        self._tables = ledger
        self._products: dict[tuple[ProductName, str], PayoutChannel] = {
            (one.name, one.account): one for one in products
        }
        self._clock, self._background, self._fences, self._notify = clock, background, fences, notify
        self._timeout, self._send_deadline = timeout, send_deadline
        self._lease_seconds = send_deadline + timeout + lease_margin
        self._inquirer = StatusChecker(self._tables, clock, timeout, timeout + lease_margin)
        self._recovery = RecoveryCheck(self._tables, timeout, send_deadline)
        self._heartbeat = SlotHeartbeat(self._tables, clock, background)

    async def advance(self, chunk_id: str) -> float | None:
        """Do what is due for a chunk, if anything is.

        Args:
            chunk_id: which.

        Returns:
            When to call again, in the ledger's time; None: there is nothing more to do, or not before ``resume``.

        Raises:
            ConfigurationError: the chunk's account is not configured here, or the engine cannot be fenced.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        return (await self.step(chunk_id)).due

    async def step(self, chunk_id: str) -> NotDue:
        """Do what ``advance`` does; return when to call again, and what the chunk waits for."""
        if not self._fences():
            raise ConfigurationError(
                "payouts need an engine that says when a request leaves", hint='use the default one: engine="auto"'
            )
        return await self._background().start(partial(self._step, chunk_id)).wait()

    async def due(self, limit: int = 100) -> Sequence[tuple[str, float]]:
        """Chunks of the accounts that are configured here, and when each is due in the ledger's time."""
        return await queries.due(self._tables, list(self._products), limit)

    def close(self) -> None:
        """Extend no places any more than those of calls under way."""
        self._heartbeat.close()

    async def lane_of(self, chunk_id: str) -> Lane | None:
        """Return the deposit account a chunk is paid from; None where there is no such chunk."""
        sight = await load_chunk(self._tables, chunk_id)
        return None if sight is None else lane_of(sight.chunk)

    async def _step(self, chunk_id: str) -> NotDue:
        sight = await load_chunk(self._tables, chunk_id)
        if sight is None or (due := sight.chunk.due) is None:
            return NotDue(due=None)
        chunk = sight.chunk
        product = self._products.get((chunk.product, chunk.account))
        if product is None:
            raise ConfigurationError(
                f"a payout of the {chunk.product} account {chunk.account} is due, and this client has another or none",
                hint="run it with the account that planned it",
            )
        if due > sight.at:
            return NotDue(due=due, is_taken=chunk.work == "wait")
        if chunk.work == "wait":
            return NotDue(due=await expire_lease(self._tables, sight))
        if chunk.work == "ask":
            return NotDue(due=await self._ask(sight, product))
        if self._recovery.is_needed(sight):
            is_known = await self._recovery.check(sight, product)
            return await self._step(chunk_id) if is_known else NotDue(due=await self._due(chunk_id))
        return await self._send(sight, product)

    async def _due(self, chunk_id: str) -> float | None:
        sight = await load_chunk(self._tables, chunk_id)
        return None if sight is None else sight.chunk.due

    async def _send(self, sight: ChunkSnapshot, product: PayoutChannel) -> NotDue:
        # Its time begins before the claim's: whatever the claim takes, the lease outlasts what may leave.
        fence = SendDeadline(self._clock, self._send_deadline)
        held = await self._claim(sight)
        if isinstance(held, NotDue):
            return held
        result: object
        try:
            with self._heartbeat.sending(held.chunk.chunk_id):
                result = await product.send(held.values, self._timeout, fence)
        except BaseException as error:
            result = error
        fence.fall()
        known = classify(result, held.values, product.own)
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            # The loop is ending. What is known is recorded all the same.
            with anyio.CancelScope(shield=True):
                await self._record(held, product, known)
            raise result
        return NotDue(due=await self._record(held, product, known))

    async def _claim(self, sight: ChunkSnapshot) -> ChunkLease | NotDue:
        owner = secrets.token_hex(8)
        try:
            return await acquire_send_lease(self._tables, sight, owner, self._lease_seconds)
        except StorageUnavailable:
            # The commit may have been what failed, and may have happened. Nothing is sent unless it reads as ours.
            held = await find_lease(self._tables, sight, owner)
            if held is None:
                raise
            return held

    async def _record(
        self, held: ChunkLease, product: PayoutChannel, known: Mapping[str, Classification]
    ) -> float | None:
        decision = decide_after_send(held.transfers, known, held.policy, held.chunk.checks)
        release, repeated = await self._let_go(held, decision)
        if release.closed or decision.cause == "auth" or (repeated and decision.close is not None):
            self._alarm(held, decision)
        if release.ours:
            return release.due
        attempts = {one.record.track_id: one.record.attempt for one in held.transfers}
        await apply_late_response(self._tables, product, known, attempts)
        return await self._due(held.chunk.chunk_id)

    async def _let_go(self, held: ChunkLease, decision: Decision) -> tuple[ReleaseResult, bool]:
        """Record, again and again if need be: recording twice is the same as once."""
        pause = 0.1
        for tried in range(MAX_RECORD_ATTEMPTS):
            try:
                return await release(self._tables, held, decision), tried > 0
            except StorageUnavailable:
                if tried == MAX_RECORD_ATTEMPTS - 1:
                    raise
                await self._clock.sleep(pause)
                pause *= 2
        raise AssertionError  # the last time returns or raises

    async def _ask(self, sight: ChunkSnapshot, product: PayoutChannel) -> float | None:
        asked = await self._inquirer.ask(sight, product)
        if isinstance(asked, NotDue):
            return asked.due
        held, decision = asked
        release, _ = await self._let_go(held, decision)
        if release.closed:
            self._alarm(held, evolve(decision, cause="halt"))
        if release.ours:
            return release.due
        return await self._due(held.chunk.chunk_id)

    def _alarm(self, held: ChunkLease, decision: Decision) -> None:
        name = _ALARMS[decision.cause]
        why = decision.close[1] if decision.close else (decision.chunk_transition or ("", ""))[1]
        logger.error("%s: %s %s: %s", name, held.chunk.product, held.chunk.account, why)
        realm = "application" if held.chunk.product == "bank" else "wallet"
        self._notify(Event(name=name, realm=realm, account=held.chunk.account, detail=why))


SEVERAL = 3
"""From so many on, the bank's list is looked at first."""


class StatusChecker:
    """Asks about the transfers of a chunk.

    Args:
        tables: where they are on record.
        clock: what time it is.
        timeout: seconds all the asking may take.
        lease: seconds a claim to ask lasts.
    """

    def __init__(self, tables: LedgerDatabase, clock: Clock, timeout: float, lease: float) -> None:
        self._tables, self._clock, self._timeout, self._lease = tables, clock, timeout, lease

    async def ask(self, sight: ChunkSnapshot, product: PayoutChannel) -> tuple[ChunkLease, Decision] | NotDue:
        """Claim the asking, ask, and say what follows; nothing is recorded yet but the claim."""
        held = await claim_to_ask(self._tables, sight, secrets.token_hex(8), self._lease)
        if isinstance(held, NotDue):
            return held
        known, refused = await self._look(held, product)
        decision = decide_after_check(held.transfers, known, held.policy, held.at, held.chunk.checks)
        if refused is not None and refused.verdict is Verdict.HALT:
            decision = evolve(decision, close=("suspended_reason", refused.reason))
        return held, decision

    async def _listed(self, held: ChunkLease, product: PayoutChannel) -> dict[str, Classification]:
        """What the bank's list says of them, where it says something."""
        entries = await product.list(held.chunk.deposit, 0, self._timeout / 2)
        told = classify(list(entries), held.values, product.own, _hashids(held))
        return {name: word for name, word in told.items() if word.verdict is not Verdict.AMBIGUOUS}

    async def _look(
        self, held: ChunkLease, product: PayoutChannel
    ) -> tuple[dict[str, Classification], Classification | None]:
        """What is known now of each, and the refusal that ended the asking, if one did."""
        until = self._clock.monotonic() + self._timeout
        known: dict[str, Classification] = {}
        value = held.values[0]
        try:
            if len(held.values) >= SEVERAL:
                # Whatever is wrong with the list may be about others: they can still be asked about one by one.
                with suppress(Exception):
                    known = await self._listed(held, product)
            # One that cannot be asked about must not stand before the others for ever.
            first = held.chunk.checks % len(held.values)
            for value in (*held.values[first:], *held.values[:first]):
                left = until - self._clock.monotonic()
                if value.track_id not in known and left > 0:
                    found: Sequence[Settlement] = await product.find(value.track_id, left)
                    # Others in the answer would mean that it was not asked for this one alone: that proves nothing.
                    told = classify(list(found), [value], product.own, _hashids(held))
                    known[value.track_id] = told[value.track_id] if found else ABSENT
        except Exception as error:
            # It only asks: the next look may go better, and what was heard so far holds.
            return known, classify(error, [value], product.own)[value.track_id]
        return known, None


def _hashids(held: ChunkLease) -> dict[str, str]:
    """Return track_id by hashid for the transfers whose hashid is on record and names one of them alone."""
    named: dict[str, list[str]] = {}
    for one in held.transfers:
        if one.record.hashid:
            named.setdefault(one.record.hashid, []).append(one.record.track_id)
    return {hashid: track_ids[0] for hashid, track_ids in named.items() if len(track_ids) == 1}
