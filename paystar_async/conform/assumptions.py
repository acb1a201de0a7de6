"""The register of assumptions about the live service.

Each ``# assumed`` in the code names an entry: ``# assumed (list-order): …``. A test holds code, register and guide
together.
"""

from collections.abc import Iterable, Mapping, Sequence

from paystar_async.conform.assumption import Assumption, Verdict
from paystar_async.conform.bank_assumptions import BANK_ASSUMPTIONS
from paystar_async.conform.judges import Observed
from paystar_async.conform.payment_assumptions import PAYMENT_ASSUMPTIONS
from paystar_async.endpoint import Observation

ASSUMPTIONS: Sequence[Assumption] = (*BANK_ASSUMPTIONS, *PAYMENT_ASSUMPTIONS)
BY_ASSUMPTION: Mapping[str, Assumption] = {assumption.id: assumption for assumption in ASSUMPTIONS}


def judge_observations(observations: Iterable[Observation]) -> Mapping[str, Verdict]:
    """Return the verdict of each assumption: one contradicting response outweighs any number of others."""
    verdicts = dict.fromkeys(BY_ASSUMPTION, Verdict.NOT_OBSERVED)
    for observation in observations:
        observed = Observed.parse(observation)
        for assumption in ASSUMPTIONS:
            opinion = assumption.judge(observed)
            if opinion is False:
                verdicts[assumption.id] = Verdict.CONTRADICTED
            elif opinion and verdicts[assumption.id] is Verdict.NOT_OBSERVED:
                verdicts[assumption.id] = Verdict.CONFIRMED
    return verdicts
