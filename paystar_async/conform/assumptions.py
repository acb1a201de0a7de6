"""The register of assumptions about the live service.

Each ``# assumed`` in the code names an entry: ``# assumed (list-order): …``. A test holds code, register and guide
together.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, field, frozen

from paystar_async.conform.assumption import Assumption, Verdict
from paystar_async.conform.bank_assumptions import BANK_ASSUMPTIONS
from paystar_async.conform.judges import Observed
from paystar_async.conform.payment_assumptions import PAYMENT_ASSUMPTIONS
from paystar_async.endpoint import Observation

ASSUMPTIONS: Sequence[Assumption] = (*BANK_ASSUMPTIONS, *PAYMENT_ASSUMPTIONS)


@frozen
class Finding:
    """The verdict on an assumption.

    Attributes:
        assumption: the assumption.
        verdict: the verdict.
        contradictions: the observations that contradict it.
        hidden_by: the ids and verdicts of other assumptions that may be why this one was not observed.
    """

    assumption: Assumption
    verdict: Verdict
    contradictions: Sequence[Observation] = ()
    hidden_by: Mapping[str, Verdict] = field(factory=dict[str, Verdict])


def judge_observations(observations: Iterable[Observation]) -> list[Finding]:
    """Return a finding for each assumption.

    One contradicting response outweighs any number of others. A confirmation does not count before the assumptions that
    it relies on are confirmed.
    """
    observed = [Observed.parse(observation) for observation in observations]
    findings = [_judge(assumption, observed) for assumption in ASSUMPTIONS]
    verdicts = {finding.assumption.id: finding.verdict for finding in findings}
    return [_doubt(finding, verdicts) for finding in findings]


def _judge(assumption: Assumption, observed: Sequence[Observed]) -> Finding:
    opinions = [(assumption.judge(response), response.observation) for response in observed]
    contradictions = [observation for opinion, observation in opinions if opinion is False]
    if contradictions:
        return Finding(assumption, Verdict.CONTRADICTED, contradictions)
    is_confirmed = any(opinion for opinion, _ in opinions)
    return Finding(assumption, Verdict.CONFIRMED if is_confirmed else Verdict.NOT_OBSERVED)


def _doubt(finding: Finding, verdicts: Mapping[str, Verdict]) -> Finding:
    """Return a finding that confirms nothing unproven, and names what may hide an assumption that is not observed."""
    assumption = finding.assumption
    if finding.verdict is Verdict.CONTRADICTED:
        return finding
    if finding.verdict is Verdict.CONFIRMED:
        hidden_by = {name: verdicts[name] for name in assumption.relies_on if verdicts[name] is not Verdict.CONFIRMED}
        return evolve(finding, verdict=Verdict.NOT_OBSERVED, hidden_by=hidden_by) if hidden_by else finding
    related = (*assumption.relies_on, *assumption.hidden_by)
    return evolve(
        finding, hidden_by={name: verdicts[name] for name in related if verdicts[name] is Verdict.CONTRADICTED}
    )
