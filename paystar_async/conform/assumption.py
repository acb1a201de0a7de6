"""An assumption about the live service, and the verdicts on it."""

from collections.abc import Sequence
from enum import StrEnum

from attrs import field, frozen

from paystar_async.conform.judges import Judge


class Verdict(StrEnum):
    """The result of comparing an assumption with observed responses."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    NOT_OBSERVED = "not observed"


@frozen
class Assumption:
    """An assumption about the live service.

    Attributes:
        id: its name in the code, the guide, reports and ``paystar sandbox --assume``.
        evidence: ``R`` the reference alone, ``R+n`` the reference and n integrations, ``n`` n integrations,
            ``assumed`` no source.
        sentence: what is assumed.
        matters: where it matters.
        observed: which response shows it.
        if_wrong: what changes in this package if it is wrong.
        judge: judges one response.
        relies_on: ids of assumptions that must be confirmed for a response that confirms this one to prove anything.
        hidden_by: ids of assumptions that, where they do not hold, can keep this one from being observed.
    """

    id: str
    evidence: str
    sentence: str
    matters: str
    observed: str
    if_wrong: str
    judge: Judge = field(repr=False, eq=False)
    relies_on: Sequence[str] = field(default=(), kw_only=True)
    hidden_by: Sequence[str] = field(default=(), kw_only=True)
