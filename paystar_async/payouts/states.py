"""The states a transfer goes through, and the one table that says which may follow which."""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
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


_S = State
TRANSITIONS: Mapping[State, frozenset[State]] = {
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


def may_follow(before: State, after: State) -> bool:
    """Whether the table lets ``after`` come right after ``before``."""
    return after in TRANSITIONS[before]
