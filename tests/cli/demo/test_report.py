"""The demo's report fails if the sandbox ledger contradicts the client."""

import pytest
from attrs import evolve

from paystar_async.cli.demo.report import Report
from paystar_async.outcomes import Failed, Pending, Succeeded, Unknown
from tests.cli.demo.helpers import PASSED_REPORT


def check_texts(report: Report) -> dict[str, str]:
    return {name: f"{count} {is_expected}" for name, count, is_expected in report.checks()}


def test_report_of_good_run_is_passed() -> None:
    assert PASSED_REPORT.is_passed
    assert PASSED_REPORT.table().row_count == 15


@pytest.mark.parametrize(
    ("report", "name", "text"),
    [
        (
            evolve(PASSED_REPORT, ledger={**PASSED_REPORT.ledger, "a": {"count": 2, "status": "success"}}),
            "executed twice",
            "1 False",
        ),
        (
            evolve(PASSED_REPORT, ledger={**PASSED_REPORT.ledger, "w": {"count": 2, "status": "success"}}),
            "executed twice",
            "1 False",
        ),
        (
            evolve(PASSED_REPORT, ledger={**PASSED_REPORT.ledger, "x": {"count": 1, "status": "success"}}),
            "executed but not requested",
            "1 False",
        ),
        (
            evolve(PASSED_REPORT, ledger={"a": PASSED_REPORT.ledger["a"], "w": PASSED_REPORT.ledger["w"]}),
            "executed exactly once",
            "1 False",
        ),
        (evolve(PASSED_REPORT, outcomes={"a": PASSED_REPORT.outcomes["a"]}), "unresolved", "1 False"),
        (
            evolve(PASSED_REPORT, outcomes={**PASSED_REPORT.outcomes, "a": Unknown(track_id="a", reason="")}),
            "unresolved",
            "1 False",
        ),
        (
            evolve(PASSED_REPORT, outcomes={**PASSED_REPORT.outcomes, "a": Pending(track_id="a")}),
            "unresolved",
            "1 False",
        ),
        (
            evolve(PASSED_REPORT, outcomes={**PASSED_REPORT.outcomes, "a": Failed(track_id="a")}),
            "unresolved",
            "1 False",
        ),
        (
            evolve(PASSED_REPORT, outcomes={**PASSED_REPORT.outcomes, "b": Succeeded(track_id="b")}),
            "unresolved",
            "1 False",
        ),
        (
            evolve(
                PASSED_REPORT, stats={**PASSED_REPORT.stats, "refreshes": {"application": 2, "wallet": 1, "inquiry": 1}}
            ),
            "refreshes of the application key",
            "2 False",
        ),
        (
            evolve(
                PASSED_REPORT, stats={**PASSED_REPORT.stats, "refreshes": {"application": 1, "wallet": 0, "inquiry": 1}}
            ),
            "refreshes of the wallet key",
            "0 False",
        ),
        (evolve(PASSED_REPORT, kills=1), "kills (-9) of the worker", "1 False"),
    ],
)
def test_report_with_wrong_count_is_not_passed(report: Report, name: str, text: str) -> None:
    assert check_texts(report)[name] == text
    assert not report.is_passed


def test_report_with_failed_workflow_is_not_passed() -> None:
    assert not evolve(PASSED_REPORT, workflows={"workflow A": True, "workflow B": False}).is_passed
