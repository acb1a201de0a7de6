"""Reports of ``paystar conform``: a table, JSON and Markdown, none of which holds a value."""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from rich.table import Table
from rich.text import Text

from paystar_async._version import VERSION
from paystar_async.cli.console import make_table
from paystar_async.conform.assumption import Verdict
from paystar_async.conform.assumptions import Finding
from paystar_async.endpoint import Observation

MAX_SHOWN_CONTRADICTIONS = 3
"""Different responses that a report shows for one contradicted assumption."""
_STYLES = {Verdict.CONFIRMED: "green", Verdict.CONTRADICTED: "bold red", Verdict.NOT_OBSERVED: "dim"}


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return a table of the assumptions with their verdicts, the contradicted ones first."""
    table = make_table("Assumption", "Verdict", "Evidence", "What is assumed")
    for finding in _in_order(findings):
        assumption = finding.assumption
        verdict = Text(str(finding.verdict), _STYLES[finding.verdict])
        sentence = Text(assumption.sentence)
        if finding.hidden_by:
            sentence.append(f"\n{_hidden_by(finding)}", "dim")
        table.add_row(assumption.id, verdict, assumption.evidence, sentence)
    return table


def count_line(findings: Sequence[Finding]) -> str:
    """Return the number of assumptions with each verdict."""
    verdicts = [finding.verdict for finding in findings]
    return " · ".join(
        f"{verdicts.count(verdict)} {verdict}"
        for verdict in (Verdict.CONTRADICTED, Verdict.CONFIRMED, Verdict.NOT_OBSERVED)
    )


def report_json(findings: Sequence[Finding], *, responses: int, unreadable: int) -> dict[str, object]:
    """Return the findings as JSON types.

    Args:
        findings: the finding of each assumption.
        responses: the number of judged responses.
        unreadable: the number of unreadable lines in the record.
    """
    return {
        "version": VERSION,
        "month": f"{date.today():%Y-%m}",
        "responses": responses,
        "unreadable": unreadable,
        "assumptions": [
            {
                "id": finding.assumption.id,
                "verdict": str(finding.verdict),
                "evidence": finding.assumption.evidence,
                "assumed": finding.assumption.sentence,
                "matters": finding.assumption.matters,
                "observed_in": finding.assumption.observed,
                "if_wrong": finding.assumption.if_wrong,
                "hidden_by": {name: str(verdict) for name, verdict in finding.hidden_by.items()},
                "contradictions": [_to_json(observation) for observation in _distinct(finding)],
            }
            for finding in _in_order(findings)
        ],
    }


def report_markdown(findings: Sequence[Finding], *, responses: int) -> str:
    """Return the findings as Markdown, a section for each contradiction, in the form of a live wire observation.

    Args:
        findings: the finding of each assumption.
        responses: the number of judged responses.
    """
    return "\n".join(_markdown_lines(findings, responses)) + "\n"


def _markdown_lines(findings: Sequence[Finding], responses: int) -> Iterator[str]:
    yield f"# paystar conform, {date.today():%Y-%m}, version {VERSION}"
    yield ""
    yield f"{responses} responses: {count_line(findings)}. Shapes only; no value of a request or response."
    for finding in _in_order(findings):
        if finding.verdict is Verdict.CONTRADICTED:
            yield from ("", f"## {finding.assumption.id}", "")
            yield f"- Expected: {finding.assumption.sentence}"
            yield f"- Matters in: {finding.assumption.matters}"
            yield f"- If it is wrong: {finding.assumption.if_wrong}"
            for observation in _distinct(finding):
                yield from _observation_lines(observation)
    yield from ("", "## All assumptions", "", "| assumption | verdict | evidence |", "|---|---|---|")
    for finding in _in_order(findings):
        verdict = f"{finding.verdict}: {_hidden_by(finding)}" if finding.hidden_by else finding.verdict
        yield f"| {finding.assumption.id} | {verdict} | {finding.assumption.evidence} |"


def _hidden_by(finding: Finding) -> str:
    return "may be hidden by " + ", ".join(f"{name} ({verdict})" for name, verdict in finding.hidden_by.items())


def _observation_lines(observation: Observation) -> Iterator[str]:
    yield ""
    yield f"- Endpoint: {observation.endpoint}"
    yield f"- HTTP status and status: HTTP {observation.http_status}, status {observation.status}"
    yield f"- Transfers in the request: {observation.sent}"
    for name, fact in observation.facts.items():
        yield f"- {name.capitalize()}: {fact}"
    yield from ("", "```json", json.dumps(json.loads(observation.shape), ensure_ascii=False, indent=2), "```")


def _to_json(observation: Observation) -> dict[str, Any]:
    return {
        "endpoint": observation.endpoint,
        "http": observation.http_status,
        "status": observation.status,
        "sent": observation.sent,
        "facts": observation.facts,
        "shape": json.loads(observation.shape),
    }


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    order = (Verdict.CONTRADICTED, Verdict.CONFIRMED, Verdict.NOT_OBSERVED)
    return sorted(findings, key=lambda finding: order.index(finding.verdict))


def _distinct(finding: Finding) -> list[Observation]:
    distinct: list[Observation] = []
    for observation in finding.contradictions:
        if observation not in distinct and len(distinct) < MAX_SHOWN_CONTRADICTIONS:
            distinct.append(observation)
    return distinct
