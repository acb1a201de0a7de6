"""Outcomes of a transfer: a union, so that a type checker demands the handling of ``Unknown``."""

from attrs import field, frozen

from paystar_async.errors import PaystarError


@frozen(kw_only=True)
class Succeeded:
    """A transfer whose money arrived.

    Attributes:
        track_id: the id of the transfer.
        ref_code: the bank's reference, or None.
    """

    track_id: str
    ref_code: str | None = None


@frozen(kw_only=True)
class Failed:
    """A transfer that moved no money, or whose money came back; the transfer may be sent again.

    Attributes:
        track_id: the id of the transfer.
        reason: the reason of the failure.
        reversed: True if the money had arrived and was taken back.
        error: the error of a rejected call, or None.
    """

    track_id: str
    reason: str = ""
    reversed: bool = False
    error: PaystarError | None = field(default=None, eq=False)


@frozen(kw_only=True)
class Pending:
    """A transfer that the bank has accepted and not yet decided; check its status later.

    Attributes:
        track_id: the id of the transfer.
        reason: the reason of the delay.
    """

    track_id: str
    reason: str = ""


@frozen(kw_only=True)
class Unknown:
    """A transfer that may have moved money; never send it again before its status is checked.

    Attributes:
        track_id: the id of the transfer.
        reason: why the result is unknown.
        error: the error of the call, or None.
    """

    track_id: str
    reason: str
    error: PaystarError | None = field(default=None, eq=False)


Outcome = Succeeded | Failed | Pending | Unknown
