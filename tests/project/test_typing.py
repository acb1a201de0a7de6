"""Type checkers: mypy and pyright report each marked mistake of ``typing_mistakes.py`` and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MISTAKES = HERE / "typing_mistakes.py"


def marked_lines() -> set[int]:
    lines = MISTAKES.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if "# mistake" in line}


def run_checker(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, f"no mistake was reported, or the checker failed: {result.stdout}{result.stderr}"
    return result.stdout


def test_mypy_reports_only_marked_mistakes() -> None:
    reports = [json.loads(line) for line in run_checker("mypy", "-O", "json", str(MISTAKES)).splitlines() if line]
    assert {report["line"] for report in reports if report["severity"] == "error"} == marked_lines()


def test_pyright_reports_only_marked_mistakes(tmp_path: Path) -> None:
    # The project's configuration excludes the file, so the copy has its own configuration.
    shutil.copy(MISTAKES, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    report = json.loads(run_checker("pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)))
    errors = [entry for entry in report["generalDiagnostics"] if entry["severity"] == "error"]
    assert {entry["range"]["start"]["line"] + 1 for entry in errors} == marked_lines()
