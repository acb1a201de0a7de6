"""Models of the payout ledger: states, policies and records. None holds a full account, card number or name."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, cast, get_args

from attrs import asdict, frozen

from paystar_async.errors import InvalidValue, StorageCorrupt
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.values.field_type import short_repr
from paystar_async.values.numbers import MAX_INT64


class TransferState(StrEnum):
    """The state of a transfer in the ledger."""

    PLANNED = "planned"
    """Recorded and not sent, or sent and known not to have been executed."""
    SENDING = "sending"
    """An intent is recorded: the transfer may be sent, or have been sent, at any moment until the lease expires."""
    PENDING = "pending"
    """The bank has the transfer and has not decided."""
    SUCCESS = "success"
    FAILED = "failed"
    """The bank, or Paystar before it, rejected the transfer: no money moved."""
    UNKNOWN = "unknown"
    """The transfer may have been sent, and its result is unknown."""
    NOT_ACCEPTED = "not_accepted"
    """The bank reported "not found" often enough after the quiet window."""
    NEEDS_REVIEW = "needs_review"
    """The transfer needs manual review: ``payouts.resolve``."""
    PAUSED_FUNDS = "paused_funds"
    """Rejected for insufficient funds before execution; ``payouts.resume`` plans the transfer again."""
    REVERSED = "reversed"
    """The transfer succeeded, and the money was returned."""


_S = TransferState
TRANSITIONS: Mapping[TransferState, frozenset[TransferState]] = {
    # The bank knows a planned transfer from a late response to an earlier attempt, or reconcile has found it.
    _S.PLANNED: frozenset({_S.SENDING, _S.PENDING, _S.SUCCESS, _S.FAILED, _S.NEEDS_REVIEW}),
    _S.SENDING: frozenset(
        {_S.PLANNED, _S.PENDING, _S.SUCCESS, _S.FAILED, _S.UNKNOWN, _S.NEEDS_REVIEW, _S.PAUSED_FUNDS}
    ),
    _S.PENDING: frozenset({_S.SUCCESS, _S.FAILED, _S.NEEDS_REVIEW}),
    _S.SUCCESS: frozenset({_S.REVERSED}),
    _S.FAILED: frozenset({_S.NEEDS_REVIEW}),
    _S.UNKNOWN: frozenset({_S.PENDING, _S.SUCCESS, _S.FAILED, _S.NOT_ACCEPTED, _S.NEEDS_REVIEW}),
    _S.NOT_ACCEPTED: frozenset({_S.PENDING, _S.SUCCESS, _S.FAILED, _S.NEEDS_REVIEW, _S.PLANNED, _S.PAUSED_FUNDS}),
    _S.NEEDS_REVIEW: frozenset({_S.PENDING, _S.SUCCESS, _S.FAILED, _S.PLANNED}),
    _S.PAUSED_FUNDS: frozenset({_S.PLANNED, _S.PENDING, _S.SUCCESS, _S.FAILED, _S.NEEDS_REVIEW}),
    _S.REVERSED: frozenset(),
}
"""The states that may follow each state. Only ``planned`` leads to ``sending``: a transfer that may have been sent is
never sent again before the bank reported "not found" or a user resolved it."""

FINAL = frozenset({_S.SUCCESS, _S.FAILED, _S.REVERSED})
"""Decided: nothing more is sent or checked."""
AWAITING_BANK = frozenset({_S.UNKNOWN, _S.PENDING})
"""The status is checked at the bank."""
AWAITING_USER = frozenset({_S.NEEDS_REVIEW, _S.PAUSED_FUNDS})
"""Only a user can resolve them."""


def is_allowed_transition(before: TransferState, after: TransferState) -> bool:
    """Return True if ``after`` may follow ``before``."""
    return after in TRANSITIONS[before]


ProductName = Literal["bank", "wallet"]
Refusal = Literal["auth", "suspended", "funds", "rejected", "failed"]
"""Why a call was rejected or a transfer failed, until a look-up has shown that nothing was executed."""
LookBeforeSend = Literal["recovered", "always", "never"]
ChunkPhase = Literal["send", "sending", "check", "funds", "none"]
MAX_CHUNK_SIZE = 100


@frozen(kw_only=True)
class Policy:
    """The policy by which a batch is paid; stored with the batch.

    Args:
        chunk: transfers in one call, 1 to 100.
        concurrency: concurrent calls for one deposit account, over all hosts.
        rate: calls a second for one deposit account, over all hosts; None: no limit.
        quiet_window: seconds after which "not found" counts for a transfer whose result is unknown.
        resend: whether such a transfer is sent again with the same track_id instead of needing manual review.
        look_before_send: which transfers are looked up at the bank before their first send. ``"recovered"``: those
            that another process or an earlier run of this process submitted, so that a restored backup pays nothing
            twice; ``"always"``: all; ``"never"``: none.

    Raises:
        InvalidValue: a value is out of bounds.
    """

    chunk: int = 20
    concurrency: int = 4
    rate: float | None = None
    # assumed (listed-soon): the bank lists what it accepted within a minute; the default leaves a wide margin.
    quiet_window: float = 900.0
    resend: bool = False
    look_before_send: LookBeforeSend = "recovered"

    def __attrs_post_init__(self) -> None:
        _check_integer("chunk", self.chunk, MAX_CHUNK_SIZE)
        _check_integer("concurrency", self.concurrency, 1000)
        if self.rate is not None:
            _check_positive("rate", self.rate, "a number of calls a second above 0, or None")
        _check_positive("quiet_window", self.quiet_window, "a number of seconds above 0")
        if not isinstance(cast("object", self.resend), bool):
            raise InvalidValue("resend", expected="True or False", got=short_repr(self.resend))
        if self.look_before_send not in get_args(LookBeforeSend):
            expected = '"recovered", "always" or "never"'
            raise InvalidValue("look_before_send", expected=expected, got=short_repr(self.look_before_send))

    @property
    def not_found_interval(self) -> float:
        """Return the minimum seconds between two "not found" responses that both count."""
        return min(60.0, self.quiet_window / 10)

    def to_json(self) -> str:
        """Return the policy as JSON, as stored."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, payload: str) -> "Policy":
        """Return the policy stored as this JSON; raise StorageCorrupt if that is impossible."""
        try:
            return cls(**json.loads(payload))
        except (TypeError, ValueError):
            raise StorageCorrupt("a batch's policy in the payout ledger cannot be read") from None


def _check_integer(name: str, value: object, maximum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= maximum:
        raise InvalidValue(name, expected=f"a whole number, 1 to {maximum}", got=short_repr(value))


def _check_positive(name: str, value: object, expected: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_INT64:
        raise InvalidValue(name, expected=expected, got=short_repr(value))


@frozen(kw_only=True)
class BatchRecord:
    """A batch: transfers that were submitted together.

    Attributes:
        batch_id: the batch's id, unique in the ledger.
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        count: the number of transfers.
        amount: the sum of the transfers, in Rial.
        policy: the policy by which the batch is paid.
        created_at: the time of submission, in the ledger's time.
    """

    batch_id: str
    product: ProductName
    account: str
    count: int
    amount: int
    policy: Policy
    created_at: float


@frozen(kw_only=True)
class ChunkRecord:
    """Transfers that are sent in one call; fixed in content and order after the first intent was written.

    Attributes:
        chunk_id: the chunk's id, unique in the ledger; all that a dispatcher needs.
        batch_id: the chunk's batch.
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        deposit: the deposit account the money is taken from, ``""`` for a wallet.
        phase: the next step: ``send``, ``sending`` (an intent is written), ``check`` (of the status), ``funds`` (waits
            for money) or ``none``.
        due_at: the time of the next step, in the ledger's time; None: not before ``resume``.
        lease_owner: the owner of the lease, or None.
        lease_expires_at: the time at which the lease expires.
        version: the number of changes.
        attempt: the number of intents written.
        checks: the number of status checks and delays since the last change.
        runner: the ledger session that submitted the chunk, or has looked it up at the bank since.
    """

    chunk_id: str
    batch_id: str
    product: ProductName
    account: str
    deposit: str
    phase: ChunkPhase
    due_at: float | None
    lease_owner: str | None
    lease_expires_at: float | None
    version: int
    attempt: int
    checks: int
    runner: str | None


BANK_FAILED = "the bank reports that it failed"
"""The reason of a failed transfer for which the bank names none."""

_PENDING_REASONS: Mapping[TransferState, str] = {
    TransferState.PLANNED: "not sent yet",
    TransferState.SENDING: "being sent",
    TransferState.PENDING: "the bank has not decided",
    TransferState.PAUSED_FUNDS: "not sent: there was not enough money",
}


@frozen(kw_only=True)
class TransferRecord:
    """A transfer as the ledger knows it.

    Attributes:
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        track_id: the transfer's own id.
        version: the number of state changes.
        state: the transfer's state.
        attempt: the number of intents written.
        amount: the amount, in Rial.
        deposit: the deposit account the money is taken from, ``""`` for a wallet.
        destination: the destination account, masked.
        batch_id: the batch that recorded the transfer first.
        chunk_id: the transfer's chunk.
        not_found_count: the number of "not found" responses that counted.
        unknown_since: the time since which the result is unknown, in the ledger's time.
        reason: why the transfer is in its state, masked.
        ref_code: the bank's reference.
        hashid: Paystar's id of the transfer.
        changed_at: the time of the last state change, in the ledger's time.
    """

    product: ProductName
    account: str
    track_id: str
    version: int
    state: TransferState
    attempt: int
    amount: int
    deposit: str
    destination: str
    batch_id: str
    chunk_id: str
    not_found_count: int = 0
    unknown_since: float | None = None
    reason: str = ""
    ref_code: str | None = None
    hashid: str | None = None
    changed_at: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """Return the outcome that callers receive.

        Succeeded; Failed, with ``reversed`` if the money was returned; Pending while the transfer proceeds; Unknown if
        the result is unknown or needs manual review.
        """
        match self.state:
            case TransferState.SUCCESS:
                return Succeeded(track_id=self.track_id, ref_code=self.ref_code)
            case TransferState.FAILED | TransferState.REVERSED:
                is_reversed = self.state is TransferState.REVERSED
                return Failed(track_id=self.track_id, reason=self.reason or BANK_FAILED, reversed=is_reversed)
            case TransferState.UNKNOWN | TransferState.NOT_ACCEPTED | TransferState.NEEDS_REVIEW:
                return Unknown(track_id=self.track_id, reason=self.reason or self.state.value)
            case waiting:
                status = _PENDING_REASONS[waiting]
                reason = f"{status}: {self.reason}" if self.reason else status
                return Pending(track_id=self.track_id, reason=reason)


@frozen(kw_only=True)
class EventRecord:
    """A change of a transfer's state.

    Attributes:
        track_id: the transfer's own id.
        version: the transfer's version after the change.
        at: the time, in the ledger's time.
        before: the state before; None when the transfer was first recorded.
        after: the state after.
        cause: the cause (``response``, ``lease``, ``found``, ``resolve``).
        detail: details, masked.
    """

    track_id: str
    version: int
    at: float
    before: TransferState | None
    after: TransferState
    cause: str
    detail: str


@frozen(kw_only=True)
class AccountHold:
    """The reasons for which the transfers of a deposit account, or of a whole account, are not sent.

    Attributes:
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        deposit: the deposit account; ``""`` for all.
        suspended_reason: why Paystar rejects every request, or None.
        insufficient_funds_reason: why there is no money, or None.
        paused: whether ``pause`` was called.
    """

    product: ProductName
    account: str
    deposit: str
    suspended_reason: str | None
    insufficient_funds_reason: str | None
    paused: bool

    @property
    def is_active(self) -> bool:
        """Return True if transfers are held back."""
        return self.paused or self.suspended_reason is not None or self.insufficient_funds_reason is not None
