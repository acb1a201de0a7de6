"""Both type checkers catch what a user gets wrong, and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
MISTAKES = HERE / "typing_mistakes.py"


def planted() -> set[int]:
    lines = MISTAKES.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if "# mistake" in line}


def run(*command: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, f"found nothing, or failed: {result.stdout}{result.stderr}"
    return result.stdout


def test_mypy_catches_each_planted_mistake_and_nothing_else() -> None:
    reports = [json.loads(line) for line in run("mypy", "-O", "json", str(MISTAKES)).splitlines() if line]
    assert {one["line"] for one in reports if one["severity"] == "error"} == planted()


def test_pyright_catches_each_planted_mistake_and_nothing_else(tmp_path: Path) -> None:
    # The project's own configuration leaves the file out, so a copy gets one of its own.
    shutil.copy(MISTAKES, tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    report = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)))
    found = [one for one in report["generalDiagnostics"] if one["severity"] == "error"]
    assert {one["range"]["start"]["line"] + 1 for one in found} == planted()
