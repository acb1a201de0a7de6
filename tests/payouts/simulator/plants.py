"""Bugs planted into the real code, each a mistake that a payout service is known to make."""

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
from paystar_async.payouts.ledger.leases import ChunkSnapshot, NotDue
from paystar_async.payouts.ledger.updates import StoredTransfer, Transition
from paystar_async.payouts.models import Policy, TransferState
from paystar_async.payouts.recovery import RecoveryCheck


@contextmanager
def naive_retry() -> Generator[None]:
    """No answer? Send it again."""

    def hasty(result: object, values: Sequence[AnyTransfer], own: Any, *more: Any) -> Mapping[str, Classification]:
        if isinstance(result, NoResponse):
            return {value.track_id: Classification(verdict=Verdict.NOT_SENT, reason="timed out") for value in values}
        return classify(result, values, own, *more)

    with patch.object(worker, "classify", hasty):
        yield


@contextmanager
def single_not_found() -> Generator[None]:
    """Ask at once, and take the first "not found" at its word."""
    count = decisions._count_not_found  # pyright: ignore[reportPrivateUsage]

    def hasty(transfer: Any, classification: Any, policy: Any, at: float) -> int:
        return (
            decisions.REQUIRED_NOT_FOUNDS
            if classification is decisions.ABSENT
            else count(transfer, classification, policy, at)
        )

    with patch.object(decisions, "_count_not_found", hasty):
        yield


@contextmanager
def no_send_deadline() -> Generator[None]:
    """Once claimed, it is sent, however long that took."""

    def open_for_ever(_: worker.SendDeadline) -> None:
        pass

    with patch.object(worker.SendDeadline, "__call__", open_for_ever):
        yield


@contextmanager
def no_shield() -> Generator[None]:
    """Stop the work with its cancelled caller."""
    scope = anyio.CancelScope

    def bare(*, shield: bool) -> anyio.CancelScope:
        return scope()

    with patch.object(worker.ChunkWorker, "step", _step_in_caller_task), patch.object(anyio, "CancelScope", bare):
        yield


@contextmanager
def cancelled_means_not_sent() -> Generator[None]:
    """Take a cancelled call for one that was not sent."""

    def hasty(result: object, values: Sequence[AnyTransfer], own: Any, *more: Any) -> Mapping[str, Classification]:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            return {value.track_id: Classification(verdict=Verdict.NOT_SENT, reason="cancelled") for value in values}
        return classify(result, values, own, *more)

    with patch.object(worker.ChunkWorker, "step", _step_in_caller_task), patch.object(worker, "classify", hasty):
        yield


@contextmanager
def refusal_means_not_executed() -> Generator[None]:
    """Take a refused call for one of which nothing was executed."""

    def hasty(result: object, values: Sequence[AnyTransfer], own: Any, *more: Any) -> Mapping[str, Classification]:
        classifications = classify(result, values, own, *more)
        return {track_id: evolve(classification, proven=True) for track_id, classification in classifications.items()}

    with patch.object(worker, "classify", hasty):
        yield


@contextmanager
def refusal_settled_early() -> Generator[None]:
    """Look a refused transfer up at once, however late the bank lists what it executed."""
    with patch.object(Policy, "not_found_interval", 1.0):
        yield


@contextmanager
def failed_is_final() -> Generator[None]:
    """Take one failed response for all that is known."""
    answered = decisions._transition_after_send  # pyright: ignore[reportPrivateUsage]

    def hasty(transfer: StoredTransfer, classification: Classification) -> Transition:
        entry = classification.settlement
        if entry is None or classification.verdict is not Verdict.REPORTED or entry.status is not TransferStatus.FAILED:
            return answered(transfer, classification)
        return decisions.bank_transition(transfer.record, TransferState.FAILED, classification)

    with patch.object(decisions, "_transition_after_send", hasty):
        yield


@contextmanager
def single_entry_matches_any() -> Generator[None]:
    """Take the only entry of a response for the transfer that was looked up."""
    named = classifying._match_entries  # pyright: ignore[reportPrivateUsage]

    def hasty(
        entries: Sequence[Settlement], values: Sequence[AnyTransfer], own: Any, hashids: Any
    ) -> dict[str, list[Settlement]]:
        if len(entries) == len(values) == 1 and not entries[0].track_id:
            return {values[0].track_id: list(entries)}
        return named(entries, values, own, hashids)

    with patch.object(classifying, "_match_entries", hasty):
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
    """Take an error of a user middleware for a call without effect."""

    def hasty(result: object, values: Sequence[AnyTransfer], own: Any, *more: Any) -> Mapping[str, Classification]:
        if isinstance(result, PaystarError) and isinstance(result.__cause__, RuntimeError):
            return {value.track_id: Classification(verdict=Verdict.NOT_SENT, reason="a mistake") for value in values}
        return classify(result, values, own, *more)

    with patch.object(worker, "classify", hasty):
        yield


@contextmanager
def no_look_before_send() -> Generator[None]:
    """Trust the ledger that a transfer was not sent."""

    def needed(self: RecoveryCheck, snapshot: ChunkSnapshot) -> bool:
        return False

    with patch.object(RecoveryCheck, "is_needed", needed):
        yield


@contextmanager
def failed_look_up_means_not_found() -> Generator[None]:
    """Take a bank that cannot be reached for one that has no transfer."""

    async def look_up(self: RecoveryCheck, snapshot: ChunkSnapshot, channel: PayoutChannel) -> None:
        with suppress(Exception):
            await real(self, snapshot, channel)

    real = RecoveryCheck._look_up  # pyright: ignore[reportPrivateUsage]
    with patch.object(RecoveryCheck, "_look_up", look_up):
        yield


@contextmanager
def no_high_water_mark() -> Generator[None]:
    """Take a ledger of the same name for the same ledger, of any age."""

    def check(self: LedgerIdentity, *_: object, **__: object) -> None:
        pass

    with patch.object(LedgerIdentity, "check_version", check):
        yield


@contextmanager
def no_origin() -> Generator[None]:
    """Whichever server answers is the right one."""

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
    no_high_water_mark,
    no_origin,
)
