"""What became of a transfer. A sum type, so that a type checker asks what you do about ``Unknown``."""

from attrs import field, frozen

from paystar_async.errors import PaystarError


@frozen(kw_only=True)
class Succeeded:
    """The money arrived.

    Attributes:
        track_id: the transfer's own id.
        ref_code: the bank's reference, where it gave one.
    """

    track_id: str
    ref_code: str | None = None


@frozen(kw_only=True)
class Failed:
    """No money moved, or it came back; the same transfer may be sent again.

    Attributes:
        track_id: the transfer's own id.
        reason: why, in words.
        reversed: True if it had arrived and was taken back.
        error: the refusal, where it was one.
    """

    track_id: str
    reason: str = ""
    reversed: bool = False
    error: PaystarError | None = field(default=None, eq=False)


@frozen(kw_only=True)
class Pending:
    """The bank has it and has not decided; ask again later.

    Attributes:
        track_id: the transfer's own id.
        reason: what it waits for.
    """

    track_id: str
    reason: str = ""


@frozen(kw_only=True)
class Unknown:
    """Nobody knows yet whether money moved. Never send it again before you have asked.

    Attributes:
        track_id: the transfer's own id.
        reason: why it is not known.
        error: what happened instead of an answer, where something did.
    """

    track_id: str
    reason: str
    error: PaystarError | None = field(default=None, eq=False)


Outcome = Succeeded | Failed | Pending | Unknown
