"""What is known of each transfer once a call has ended. Pure and total: the one place that decides it."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from attrs import frozen

from paystar_async.models.transfers import Settlement, Transfer
from paystar_async.models.wallet import WalletTransfer

Value = Transfer | WalletTransfer
Matches = Callable[[str, str], bool]
"""Whether a track_id as the bank keeps it (first) is that of a transfer (second)."""


class Verdict(Enum):
    """What is known of one transfer."""

    NOT_SENT = "it provably never left"
    AMBIGUOUS = "it may have been carried out, and nobody has said"
    ITEM = "the bank has said"
    INTEGRITY = "what the bank says contradicts itself or what was sent"
    AUTH = "refused before anything was done: the key"
    HALT = "refused before anything was done: the account"
    FUNDS = "refused before anything was done: no money"
    REJECTED = "refused before anything was done: what was sent"


@frozen(kw_only=True)
class Known:
    """What is known of one transfer, and why.

    Attributes:
        verdict: what is known.
        reason: why, in words, masked.
        settlement: what the bank said, where it is ITEM.
    """

    verdict: Verdict
    reason: str = ""
    settlement: Settlement | None = None


def classify(result: object, values: Sequence[Value], matches: Matches) -> Mapping[str, Known]:
    """What is known of each transfer that was to be sent in one call.

    Args:
        result: the answer's value (a list of Settlement, or Accepted), or whatever was raised.
        values: what was to be sent.
        matches: whether a track_id as the bank keeps it is that of a transfer.

    Returns:
        A word on each track_id in ``values``, whatever the result was.
    """
    raise NotImplementedError
