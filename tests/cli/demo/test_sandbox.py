"""A sandbox that does not start is reported in one line."""

import pytest

from tests.cli.conftest import Run


def test_start_sandbox_failure_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/true")
    result = run("demo")
    assert result.status == 2
    assert "the sandbox did not start" in result.err
    assert result.err.count("\n") == 1
