"""The register of assumptions, and that the code's ``# assumed`` marks name its entries."""

import re
from pathlib import Path

import pytest

from paystar_async.conform.assumption import Assumption, Verdict
from paystar_async.conform.assumptions import ASSUMPTIONS, Finding, judge_observations
from paystar_async.endpoint import Observation

PACKAGE = Path(__file__).parents[2] / "paystar_async"
REGISTER = PACKAGE / "conform"
MARK = re.compile(r"\bassumed\b(?: \(([a-z0-9, -]+)\))?[:,]|# assumed\b(?: \(([a-z0-9, -]+)\))?")
IDS = [assumption.id for assumption in ASSUMPTIONS]
EVIDENCE = re.compile(r"R|R\+[1-9][0-9]*|[1-9][0-9]*|assumed")


def marks(text: str) -> list[str]:
    """Return the ids that the ``assumed`` marks of a text name; an empty text for a mark without one."""
    return [name for match in MARK.finditer(text) for name in (match[1] or match[2] or "").split(", ")]


def marked_assumptions() -> dict[str, set[str]]:
    """Return the modules that mark each assumption."""
    modules: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if REGISTER not in path.parents:
            for name in marks(path.read_text("utf-8")):
                modules.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    return modules


def test_marks_finds_ids_and_their_absence() -> None:
    text = "# assumed (a-b): x\n# assumed\n# assumed: y\nassumed (c, d): z\n# assumed (e), from f\nit is assumed here"
    assert marks(text) == ["a-b", "", "", "c", "d", "e"]


def test_marked_assumptions_are_in_the_register() -> None:
    unknown = {name: modules for name, modules in marked_assumptions().items() if name not in IDS}
    assert unknown == {}, "name the assumption, # assumed (id): …, and give the id an entry in the register"


def test_register_marks_every_entry_without_source() -> None:
    without_source = {assumption.id for assumption in ASSUMPTIONS if assumption.evidence == "assumed"}
    assert without_source - set(marked_assumptions()) == set()


def test_register_has_unique_ids() -> None:
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("assumption", ASSUMPTIONS, ids=lambda assumption: assumption.id)
def test_assumption_is_complete(assumption: Assumption) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", assumption.id)
    assert EVIDENCE.fullmatch(assumption.evidence)
    assert assumption.sentence.endswith(".")
    assert all((assumption.matters, assumption.observed, assumption.if_wrong))


@pytest.mark.parametrize("assumption", ASSUMPTIONS, ids=lambda assumption: assumption.id)
def test_assumption_names_existing_modules(assumption: Assumption) -> None:
    named = re.findall(r"[a-z_/]+\.py", assumption.matters)
    assert [path for path in named if not (PACKAGE / path).is_file()] == []


@pytest.mark.parametrize("assumption", ASSUMPTIONS, ids=lambda assumption: assumption.id)
def test_assumption_is_related_to_others_of_the_register(assumption: Assumption) -> None:
    related = {*assumption.relies_on, *assumption.hidden_by}
    assert related <= set(IDS) - {assumption.id}


def observation(**changes: object) -> Observation:
    values: dict[str, object] = {
        "endpoint": "gateway.inquiry",
        "http_status": 401,
        "status": "unauthenticated",
        "sent": "none",
        "shape": '{"status":"word:known"}',
        "facts": {},
    }
    return Observation(**(values | changes))  # type: ignore[arg-type]


def verdicts(*observations: Observation) -> dict[str, Verdict]:
    return {finding.assumption.id: finding.verdict for finding in judge_observations(observations)}


def finding_of(assumption: str, *observations: Observation) -> Finding:
    return next(item for item in judge_observations(observations) if item.assumption.id == assumption)


def test_judge_observations_without_any_observes_nothing() -> None:
    assert set(verdicts().values()) == {Verdict.NOT_OBSERVED}


def test_judge_observations_lets_a_contradiction_outweigh() -> None:
    assert verdicts(observation())["unauthenticated-http"] is Verdict.CONFIRMED
    for order in ((401, 403, 401), (403, 401)):
        observations = [observation(http_status=http) for http in order]
        assert verdicts(*observations)["unauthenticated-http"] is Verdict.CONTRADICTED
        finding = next(item for item in judge_observations(observations) if item.verdict is Verdict.CONTRADICTED)
        assert [item.http_status for item in finding.contradictions] == [403]


def with_fact(name: str, fact: str) -> Observation:
    return observation(endpoint="transfers.find", http_status=200, status="ok", facts={name: fact})


ABSENT, LISTED, MISSING = (
    with_fact("after refusal", "absent"),
    with_fact("listed", "found"),
    with_fact("listed", "missing"),
)


@pytest.mark.parametrize(
    ("observations", "verdict", "hidden_by"),
    [
        ([ABSENT], Verdict.NOT_OBSERVED, {"listed-soon": Verdict.NOT_OBSERVED}),
        ([ABSENT, LISTED], Verdict.CONFIRMED, {}),
        ([ABSENT, LISTED, MISSING], Verdict.NOT_OBSERVED, {"listed-soon": Verdict.CONTRADICTED}),
        ([MISSING], Verdict.NOT_OBSERVED, {"listed-soon": Verdict.CONTRADICTED}),
        ([LISTED], Verdict.NOT_OBSERVED, {}),
        ([MISSING, with_fact("after refusal", "found")], Verdict.CONTRADICTED, {}),
    ],
)
def test_judge_observations_confirms_on_confirmed_ground(
    observations: list[Observation], verdict: Verdict, hidden_by: dict[str, Verdict]
) -> None:
    finding = finding_of("refusal-before-execution", *observations)
    assert (finding.verdict, finding.hidden_by) == (verdict, hidden_by)


@pytest.mark.parametrize(
    ("fact", "contradicted", "other"),
    [("ten times", "payer-fee-limit", "payer-fee"), ("less", "payer-fee", "payer-fee-limit")],
)
def test_payment_amount_that_contradicts_one_confirms_no_other(fact: str, contradicted: str, other: str) -> None:
    response = with_fact("payment_amount", fact)
    assert finding_of(contradicted, response).verdict is Verdict.CONTRADICTED
    finding = finding_of(other, response)
    assert (finding.verdict, finding.hidden_by) == (Verdict.NOT_OBSERVED, {contradicted: Verdict.CONTRADICTED})
    assert finding_of(other, response, with_fact("payment_amount", "equal")).verdict is Verdict.CONFIRMED
