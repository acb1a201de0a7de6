"""``paystar demo``: it passes all checks, and fails if money moved twice."""

import re

import pytest
from attrs import evolve

from paystar_async.cli.demo import command
from paystar_async.cli.demo.report import Report
from tests.cli.conftest import Run
from tests.cli.demo.helpers import PASSED_REPORT


def test_demo_double_execution_is_status_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_with_double(_: object) -> Report:
        return evolve(PASSED_REPORT, ledger={**PASSED_REPORT.ledger, "a": {"count": 2, "status": "success"}})

    monkeypatch.setattr(command.Demo, "run", run_with_double)
    result = run("demo")
    assert result.status == 1
    assert re.search(r"executed twice +1 +WRONG", result.out)
    assert "SOME CHECKS FAILED" in result.out


def test_demo_passes_all_checks(run: Run) -> None:
    result = run("demo", "--transfers", "60", "--seed", "3")
    assert (result.status, result.err) == (0, ""), result.out
    rows = dict(re.findall(r"^ (\S.*?)  +([\d,.]+|yes|no)\b", result.out, re.MULTILINE))
    expected = {
        "transfers requested": "60",
        "executed exactly once": "60",
        "executed twice": "0",
        "executed but not requested": "0",
        "unresolved": "0",
        "refreshes of the application key": "1",
        "refreshes of the wallet key": "1",
        "refreshes of the inquiry key": "1",
        "kills (-9) of the worker": "2",
    }
    assert expected.items() <= rows.items()
    assert [value for name, value in rows.items() if name.startswith(("workflow", "wallet"))] == ["yes"] * 5
    assert {"requests", "retries by the client", "seconds"} <= rows.keys()
    assert not set(result.out) & {"\x1b", "\r"}
