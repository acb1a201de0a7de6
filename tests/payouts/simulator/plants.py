"""Planted bugs: patches of the real code, each a typical mistake of payout services."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from unittest.mock import patch

import anyio
from attrs import evolve

from paystar_async.endpoint import Dispatch
from paystar_async.errors import NoResponse, PaystarError
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts import classify as classifying
from paystar_async.payouts import decisions, worker
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.classify import AnyTransfer, Classification, Verdict, classify
from paystar_async.payouts.identity import LedgerIdentity
from paystar_async.payouts.ledger import leases
from paystar_async.payouts.ledger.lease_statements import ACQUIRE_SEND_LEASE
from paystar_async.payouts.ledger.leases import ChunkSnapshot, NotDue
from paystar_async.payouts.ledger.updates import StoredTransfer, Transition
from paystar_async.payouts.models import Policy, TransferState
from paystar_async.payouts.recovery import RecoveryCheck


@contextmanager
def naive_retry() -> Generator[None]:
    """Send again after a call without a response."""

    def planted(
        result: object, values: Sequence[AnyTransfer], sent_track_id: Any, *more: Any
    ) -> Mapping[str, Classification]:
        if isinstance(result, NoResponse):
            return {value.track_id: Classification(verdict=Verdict.NOT_SENT, reason="timed out") for value in values}
        return classify(result, values, sent_track_id, *more)

    with patch.object(worker, "classify", planted):
        yield


@contextmanager
def single_not_found() -> Generator[None]:
    """Take the first "not found" as final, without a quiet window."""
    count = decisions._count_not_found  # pyright: ignore[reportPrivateUsage]

    def planted(transfer: Any, classification: Any, policy: Any, at: float) -> int:
        return (
            decisions.REQUIRED_NOT_FOUNDS
            if classification is decisions.ABSENT
            else count(transfer, classification, policy, at)
        )

    with patch.object(decisions, "_count_not_found", planted):
        yield


@contextmanager
def no_send_deadline() -> Generator[None]:
    """Send after the lease was acquired, however late."""

    def never_expired(_: worker.SendDeadline) -> None:
        pass

    with patch.object(worker.SendDeadline, "__call__", never_expired):
        yield


@contextmanager
def no_shield() -> Generator[None]:
    """Cancel the work with its caller."""
    scope = anyio.CancelScope

    def unshielded(*, shield: bool) -> anyio.CancelScope:
        return scope()

    with patch.object(worker.ChunkWorker, "step", _step_in_caller_task), patch.object(anyio, "CancelScope", unshielded):
        yield


@contextmanager
def cancelled_means_not_sent() -> Generator[None]:
    """Take a cancelled call as not sent."""

    def planted(
        result: object, values: Sequence[AnyTransfer], sent_track_id: Any, *more: Any
    ) -> Mapping[str, Classification]:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            return {value.track_id: Classification(verdict=Verdict.NOT_SENT, reason="cancelled") for value in values}
        return classify(result, values, sent_track_id, *more)

    with patch.object(worker.ChunkWorker, "step", _step_in_caller_task), patch.object(worker, "classify", planted):
        yield


@contextmanager
def refusal_means_not_executed() -> Generator[None]:
    """Take a refused call of several transfers as not executed."""

    def planted(
        result: object, values: Sequence[AnyTransfer], sent_track_id: Any, *more: Any
    ) -> Mapping[str, Classification]:
        classifications = classify(result, values, sent_track_id, *more)
        return {track_id: evolve(classification, proven=True) for track_id, classification in classifications.items()}

    with patch.object(worker, "classify", planted):
        yield


@contextmanager
def refusal_settled_early() -> Generator[None]:
    """Look up a refused transfer at once, although the bank may list executed transfers later."""
    with patch.object(Policy, "not_found_interval", 1.0):
        yield


@contextmanager
def failed_is_final() -> Generator[None]:
    """Take a failed response as final without a look-up."""
    transition_after_send = decisions._transition_after_send  # pyright: ignore[reportPrivateUsage]

    def planted(transfer: StoredTransfer, classification: Classification) -> Transition:
        entry = classification.settlement
        if entry is None or classification.verdict is not Verdict.REPORTED or entry.status is not TransferStatus.FAILED:
            return transition_after_send(transfer, classification)
        return decisions.bank_transition(transfer.record, TransferState.FAILED, classification)

    with patch.object(decisions, "_transition_after_send", planted):
        yield


@contextmanager
def single_entry_matches_any() -> Generator[None]:
    """Take the only entry of a response as the transfer that was looked up."""
    match_entries = classifying._match_entries  # pyright: ignore[reportPrivateUsage]

    def planted(
        entries: Sequence[Settlement], values: Sequence[AnyTransfer], sent_track_id: Any, hashids: Any
    ) -> dict[str, list[Settlement]]:
        if len(entries) == len(values) == 1 and not entries[0].track_id:
            return {values[0].track_id: list(entries)}
        return match_entries(entries, values, sent_track_id, hashids)

    with patch.object(classifying, "_match_entries", planted):
        yield


@contextmanager
def middleware_sends_twice() -> Generator[None]:
    """Let a user middleware send a call any number of times."""

    def begin(self: Dispatch) -> None:
        self.is_sent = self.may_have_executed = True

    with patch.object(Dispatch, "begin", begin):
        yield


@contextmanager
def stray_error_means_not_sent() -> Generator[None]:
    """Take an error of a user middleware as a call that was not sent."""

    def planted(
        result: object, values: Sequence[AnyTransfer], sent_track_id: Any, *more: Any
    ) -> Mapping[str, Classification]:
        if isinstance(result, PaystarError) and isinstance(result.__cause__, RuntimeError):
            return {value.track_id: Classification(verdict=Verdict.NOT_SENT, reason="a bug") for value in values}
        return classify(result, values, sent_track_id, *more)

    with patch.object(worker, "classify", planted):
        yield


@contextmanager
def no_look_before_send() -> Generator[None]:
    """Send recovered transfers without a look-up."""

    def needed(self: RecoveryCheck, snapshot: ChunkSnapshot) -> bool:
        return False

    with patch.object(RecoveryCheck, "is_needed", needed):
        yield


@contextmanager
def failed_look_up_means_not_found() -> Generator[None]:
    """Take a failed look-up as "not found"."""

    async def look_up(self: RecoveryCheck, snapshot: ChunkSnapshot, channel: PayoutChannel) -> None:
        with suppress(Exception):
            await real(self, snapshot, channel)

    real = RecoveryCheck._look_up  # pyright: ignore[reportPrivateUsage]
    with patch.object(RecoveryCheck, "_look_up", look_up):
        yield


@contextmanager
def pause_is_ignored() -> Generator[None]:
    """Send from an account that the operator has paused."""
    acquire = ACQUIRE_SEND_LEASE.replace("paused <> 0", "paused <> paused")
    with patch.object(leases, "ACQUIRE_SEND_LEASE", acquire):
        yield


@contextmanager
def no_high_water_mark() -> Generator[None]:
    """Accept a ledger that is older than it was."""

    def check(self: LedgerIdentity, *_: object, **__: object) -> None:
        pass

    with patch.object(LedgerIdentity, "check_version", check), patch.object(LedgerIdentity, "check_attempt", check):
        yield


@contextmanager
def no_origin() -> Generator[None]:
    """Accept any server as the origin of the ledger."""

    def check(self: LedgerIdentity, origin: str) -> None:
        pass

    with patch.object(LedgerIdentity, "check_origin", check):
        yield


async def _step_in_caller_task(self: worker.ChunkWorker, chunk_id: str) -> NotDue:
    """Run a step in the caller's own task."""
    return await self._step(chunk_id)  # pyright: ignore[reportPrivateUsage]


PlantedBug = Callable[[], AbstractContextManager[None]]
PLANTED_BUGS: Sequence[PlantedBug] = (
    naive_retry,
    single_not_found,
    no_send_deadline,
    no_shield,
    cancelled_means_not_sent,
    refusal_means_not_executed,
    refusal_settled_early,
    failed_is_final,
    single_entry_matches_any,
    middleware_sends_twice,
    stray_error_means_not_sent,
    no_look_before_send,
    failed_look_up_means_not_found,
    pause_is_ignored,
    no_high_water_mark,
    no_origin,
)
