"""The register of assumptions about the live service.

Each ``# assumed`` in the code names an entry: ``# assumed (list-order): …``. A test holds code, register and guide
together.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from paystar_async.conform.assumption import Assumption, Verdict
from paystar_async.conform.bank_assumptions import BANK_ASSUMPTIONS
from paystar_async.conform.judges import Observed
from paystar_async.conform.payment_assumptions import PAYMENT_ASSUMPTIONS
from paystar_async.endpoint import Observation

ASSUMPTIONS: Sequence[Assumption] = (*BANK_ASSUMPTIONS, *PAYMENT_ASSUMPTIONS)
BY_ASSUMPTION: Mapping[str, Assumption] = {assumption.id: assumption for assumption in ASSUMPTIONS}


@frozen
class Finding:
    """The verdict on an assumption, and the observations that contradict it."""

    assumption: Assumption
    verdict: Verdict
    contradictions: Sequence[Observation] = ()


def judge_observations(observations: Iterable[Observation]) -> list[Finding]:
    """Return a finding for each assumption: one contradicting response outweighs any number of others."""
    observed = [Observed.parse(observation) for observation in observations]
    return [_judge(assumption, observed) for assumption in ASSUMPTIONS]


def _judge(assumption: Assumption, observed: Sequence[Observed]) -> Finding:
    opinions = [(assumption.judge(response), response.observation) for response in observed]
    contradictions = [observation for opinion, observation in opinions if opinion is False]
    if contradictions:
        return Finding(assumption, Verdict.CONTRADICTED, contradictions)
    is_confirmed = any(opinion for opinion, _ in opinions)
    return Finding(assumption, Verdict.CONFIRMED if is_confirmed else Verdict.NOT_OBSERVED)
