"""What the ledger holds, as values. None of them shows a full account, card number or name."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, cast, get_args

from attrs import asdict, frozen

from paystar_async.errors import InvalidValue, StorageCorrupt
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.values.field_type import shown


class TransferState(StrEnum):
    """What is known of a transfer."""

    PLANNED = "planned"
    """On record; nothing of it has been sent, or it is known that nothing came of what was."""
    SENDING = "sending"
    """An intent is on record: it may leave, or have left, at any moment until the lease is over."""
    PENDING = "pending"
    """The bank has it and has not decided."""
    SUCCESS = "success"
    FAILED = "failed"
    """The bank, or Paystar before it, said no: no money moved."""
    UNKNOWN = "unknown"
    """It may have left, and nobody has said yet what became of it."""
    NOT_ACCEPTED = "not_accepted"
    """The bank has said often enough, late enough, that it does not know it."""
    NEEDS_REVIEW = "needs_review"
    """A person has to look: ``payouts.resolve``."""
    PAUSED_FUNDS = "paused_funds"
    """Refused for lack of money before anything was done; ``payouts.resume`` plans it again."""
    REVERSED = "reversed"
    """It had succeeded, and the money came back."""


_S = TransferState
TRANSITIONS: Mapping[TransferState, frozenset[TransferState]] = {
    # What the bank says of a planned one is a late answer to an earlier attempt, or a find of reconcile.
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
"""From a state to those that may follow it. ``sending`` follows ``planned`` alone: what may have left is never sent
again before it was found not to be there, or a person said so."""

FINAL = frozenset({_S.SUCCESS, _S.FAILED, _S.REVERSED})
"""Decided: nothing is sent or asked any more."""
ASKED = frozenset({_S.UNKNOWN, _S.PENDING})
"""The bank is asked about them."""
STUCK = frozenset({_S.NEEDS_REVIEW, _S.PAUSED_FUNDS})
"""Only a person moves them on."""


def may_follow(before: TransferState, after: TransferState) -> bool:
    """Whether the table lets ``after`` come right after ``before``."""
    return after in TRANSITIONS[before]


ProductName = Literal["bank", "wallet"]
Refusal = Literal["auth", "halt", "funds", "rejected", "failed"]
"""Why a call was refused, or a transfer failed, before one look-up has shown that nothing was executed."""
LookBeforeSend = Literal["recovered", "always", "never"]
ChunkPhase = Literal["send", "wait", "ask", "funds", "none"]
MOST_IN_A_CHUNK = 100


@frozen(kw_only=True)
class Policy:
    """How a batch is paid out; stored with it.

    Args:
        chunk: transfers in one call, 1 to 100.
        concurrency: calls in flight at once for one deposit account, over all hosts.
        rate: calls a second for one deposit account, over all hosts; None: as fast as they come.
        quiet_window: seconds after which "not found" begins to count for a transfer nobody knows the fate of.
        resend: whether such a transfer is sent again, with the same track_id, instead of waiting for a person.
        look_before_send: whose transfers are looked up at the bank once before their first send. ``"recovered"``: those
            another process submitted, also an earlier life of this one, so that a restored backup pays nothing twice;
            ``"always"``: all; ``"never"``: none.

    Raises:
        InvalidValue: a number is out of its bounds.
    """

    chunk: int = 20
    concurrency: int = 4
    rate: float | None = None
    quiet_window: float = 900.0
    resend: bool = False
    look_before_send: LookBeforeSend = "recovered"

    def __attrs_post_init__(self) -> None:
        _whole("chunk", self.chunk, MOST_IN_A_CHUNK)
        _whole("concurrency", self.concurrency, 1000)
        if self.rate is not None:
            _span("rate", self.rate, "a number of calls a second above 0, or None")
        _span("quiet_window", self.quiet_window, "a number of seconds above 0")
        if not isinstance(cast("object", self.resend), bool):
            raise InvalidValue("resend", expected="True or False", got=shown(self.resend))
        if self.look_before_send not in get_args(LookBeforeSend):
            expected = '"recovered", "always" or "never"'
            raise InvalidValue("look_before_send", expected=expected, got=shown(self.look_before_send))

    @property
    def spacing(self) -> float:
        """Seconds between two "not found" that both count."""
        return min(60.0, self.quiet_window / 10)

    def to_text(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Policy":
        """As it was stored; raises StorageCorrupt."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            raise StorageCorrupt("a batch's policy in the payout ledger cannot be read") from None


def _whole(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidValue(name, expected=f"a whole number, 1 to {most}", got=shown(value))


def _span(name: str, value: object, expected: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidValue(name, expected=expected, got=shown(value))


@frozen(kw_only=True)
class BatchRecord:
    """A batch: transfers that were submitted together.

    Attributes:
        batch_id: its name, unique in the ledger.
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        count: how many transfers it has.
        amount: what they come to, in Rial.
        policy: how it is paid out.
        created_at: when it was submitted, in the ledger's time.
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
    """Transfers that are sent in one call. Its members and their order never change once an intent was written.

    Attributes:
        chunk_id: its name, unique in the ledger; all a dispatcher has to carry.
        batch_id: whose it is.
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        deposit: the deposit account its money leaves, ``""`` for a wallet.
        phase: what is to be done next: ``send``, ``wait`` (an intent is out), ``ask``, ``funds`` (it waits for money)
            or ``none``.
        due_at: when, in the ledger's time; None: not before somebody resumes it.
        lease_owner: the owner of its lease, if it is leased.
        lease_expires_at: when the lease expires.
        version: counts the changes.
        attempt: how often an intent was written.
        checks: how often it was asked about, or its sending put off, since something last changed.
        runner: which opening of the ledger submitted it, or has looked it up at the bank since.
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


@frozen(kw_only=True)
class TransferRecord:
    """A transfer as the ledger knows it.

    Attributes:
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        track_id: its own id.
        version: counts the changes of state.
        state: what is known.
        attempt: how often an intent was written.
        amount: Rial.
        deposit: the deposit account the money leaves, ``""`` for a wallet.
        destination: where it goes, masked.
        batch_id: the batch that brought it first.
        chunk_id: the call it goes with.
        not_found_count: how many times "not found" has counted.
        unknown_since: since when nobody knows, in the ledger's time.
        reason: why it is in its state, in words, masked.
        ref_code: the bank's reference.
        hashid: Paystar's name for it.
        changed_at: when its state last changed, in the ledger's time.
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
        """What the caller of a payout is told of it."""
        return outcome(self)


@frozen(kw_only=True)
class EventRecord:
    """One change of a transfer's state.

    Attributes:
        track_id: the transfer's own id.
        version: of the transfer, after the change.
        at: when, in the ledger's time.
        before: the state it left; None where it was planned first.
        after: the state it came to.
        cause: why, in a word (``answer``, ``lease``, ``found``, ``resolve``).
        detail: more of it, masked.
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
    """What keeps the transfers of a deposit account, or of all of an account, from being sent.

    Attributes:
        product: ``bank`` or ``wallet``.
        account: the application's id, or the wallet's hashid.
        deposit: the deposit account; ``""`` for all of them.
        halted: why Paystar refuses everything, or None.
        short: why there is no money, or None.
        held: whether ``pause`` was called.
    """

    product: ProductName
    account: str
    deposit: str
    suspended_reason: str | None
    insufficient_funds_reason: str | None
    paused: bool

    @property
    def closed(self) -> bool:
        """Whether it keeps anything back."""
        return self.paused or self.suspended_reason is not None or self.insufficient_funds_reason is not None


_WAITS: Mapping[TransferState, str] = {
    TransferState.PLANNED: "not sent yet",
    TransferState.SENDING: "being sent",
    TransferState.PENDING: "the bank has not decided",
    TransferState.PAUSED_FUNDS: "not sent: there was not enough money",
}


def outcome(record: TransferRecord) -> Outcome:
    """What the caller of a payout is told of a record.

    Args:
        record: the transfer as the ledger has it.

    Returns:
        Succeeded; Failed, ``reversed`` where the money came back; Pending where nothing is amiss; Unknown where
        nobody knows, or a person has to look.
    """
    match record.state:
        case TransferState.SUCCESS:
            return Succeeded(track_id=record.track_id, ref_code=record.ref_code)
        case TransferState.FAILED | TransferState.REVERSED:
            return Failed(
                track_id=record.track_id,
                reason=record.reason or "the bank says it failed",
                reversed=record.state is TransferState.REVERSED,
            )
        case TransferState.UNKNOWN | TransferState.NOT_ACCEPTED | TransferState.NEEDS_REVIEW:
            return Unknown(track_id=record.track_id, reason=record.reason or record.state.value)
        case waiting:
            said = _WAITS[waiting]
            return Pending(track_id=record.track_id, reason=f"{said}: {record.reason}" if record.reason else said)
