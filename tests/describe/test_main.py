"""Tests of ``python -m paystar_async.describe``."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from paystar_async.describe.__main__ import main
from paystar_async.table import TABLE
from tests.describe.endpoints import AddedRequest, UndocumentedRequest, make_table

ROOT = Path(__file__).parents[2]
GENERATED_FILES = [
    "paystar_async/services.py",
    "paystar_async/blocking/services.py",
    "paystar_async/docs/reference.md",
    "paystar_async/docs/llms.txt",
]
"""The files generated from the table."""
ASSUMPTIONS = "paystar_async/docs/assumptions.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project folder with freshly generated files."""
    for name in ("docs", "blocking"):
        (tmp_path / "paystar_async" / name).mkdir(parents=True)
    (tmp_path / "paystar_async" / "docs" / "index.md").write_text("# Guides\n", encoding="utf-8")
    assert main(["--root", str(tmp_path)]) == 0
    return tmp_path


def test_check_repository_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0, capsys.readouterr().out


def test_main_writes_outdated_files_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "paystar_async" / "services.py").write_text("stale", encoding="utf-8")
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root)]) == 0
    written, summary = capsys.readouterr().out.splitlines()[-2:]
    assert written == f"wrote {Path('paystar_async', 'services.py')}"
    assert summary == "5 files are up to date"
    assert main(["--root", str(root), "--check"]) == 0


@pytest.mark.parametrize(
    "table",
    [
        make_table(AddedRequest),
        TABLE[1:],
        (attrs.evolve(TABLE[0], path="/elsewhere"), *TABLE[1:]),
        (*TABLE[:-1], attrs.evolve(TABLE[-1], lookup="wallet.balance")),
    ],
    ids=["field", "endpoint removed", "path", "lookup"],
)
def test_check_changed_table_reports_every_file(
    root: Path, table: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    capsys.readouterr()
    assert main(["--root", str(root), "--check"], table) == 1  # type: ignore[arg-type]
    out = capsys.readouterr().out
    for name in GENERATED_FILES:
        assert f"--- {name} (checked in)\n+++ {name} (generated)\n@@" in out.replace(os.sep, "/")
    assert {path: path.read_bytes() for path in before} == before, "--check writes nothing"


@pytest.mark.parametrize("name", [*GENERATED_FILES, ASSUMPTIONS])
def test_check_edited_file_reports_that_file(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Shahkar", "by hand").replace("list-order", "by hand"), encoding="utf-8")
    capsys.readouterr()
    assert main(["--root", str(root), "--check"]) == 1
    out = capsys.readouterr().out
    assert out.count("(checked in)") == 1
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root), "--check"]) == 0


def test_check_missing_file_fails(root: Path) -> None:
    (root / "paystar_async" / "services.py").unlink()
    assert main(["--root", str(root), "--check"]) == 1


def test_main_undocumented_field_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(root)], make_table(UndocumentedRequest)) == 2
    assert "UndocumentedRequest.bare" in capsys.readouterr().err
    assert main(["--root", str(root), "--check"]) == 0


def test_help_names_files_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    help_text = capsys.readouterr().out
    for text in ("services.py", "reference.md", "llms.txt", "--check", "1 a file is out of date"):
        assert text in help_text


@pytest.mark.parametrize("seed", ["1", "2"])
def test_check_is_independent_of_hash_seed(seed: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "paystar_async.describe", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
