"""``python -m paystar_async.describe``: writes, checks, explains."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from paystar_async.describe.__main__ import main
from paystar_async.describe.reference import BEGIN, END
from paystar_async.table import TABLE
from tests.describe.endpoints import AddedRequest, UndocumentedRequest, make_table

HOME = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A house of its own, freshly generated."""
    (tmp_path / "paystar_async" / "describe").mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"# Paystar\n\n{BEGIN}\n{END}\n", encoding="utf-8")
    assert main(["--root", str(tmp_path)]) == 0
    return tmp_path


def test_what_is_checked_in_fits_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--root", str(HOME)]) == 0, capsys.readouterr().out


def test_it_writes_three_files_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "paystar_async" / "services.py").write_text("stale", encoding="utf-8")
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root)]) == 0
    written, left = capsys.readouterr().out.splitlines()[-2:]
    assert written == f"wrote {Path('paystar_async', 'services.py')}"
    assert left == "3 files fit the table"
    assert main(["--root", str(root), "--check"]) == 0


@pytest.mark.parametrize(
    "table",
    [
        make_table(AddedRequest),
        TABLE[1:],
        (attrs.evolve(TABLE[0], path="/elsewhere"), *TABLE[1:]),
        (*TABLE[:-1], attrs.evolve(TABLE[-1], ask="wallet.balance")),
    ],
    ids=["field", "row gone", "path", "ask"],
)
def test_a_changed_table_is_a_drift_of_every_file(
    root: Path, table: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*.*") if path.is_file()}
    capsys.readouterr()
    assert main(["--root", str(root), "--check"], table) == 1  # type: ignore[arg-type]
    out = capsys.readouterr().out
    for name in ("paystar_async/services.py", "paystar_async/describe/openapi.json", "README.md"):
        assert f"--- {name} (checked in)\n+++ {name} (the table)\n@@" in out.replace(os.sep, "/")
    assert {path: path.read_bytes() for path in before} == before, "--check writes nothing"


@pytest.mark.parametrize("name", ["paystar_async/services.py", "paystar_async/describe/openapi.json", "README.md"])
def test_a_file_changed_by_hand_is_a_drift_of_that_file(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / name
    path.write_text(path.read_text(encoding="utf-8").replace("Shahkar", "by hand"), encoding="utf-8")
    capsys.readouterr()
    assert main(["--root", str(root), "--check"]) == 1
    out = capsys.readouterr().out
    assert out.count("(checked in)") == 1
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root), "--check"]) == 0


def test_a_missing_file_is_a_drift(root: Path) -> None:
    (root / "paystar_async" / "services.py").unlink()
    assert main(["--root", str(root), "--check"]) == 1


def test_a_readme_without_markers_is_an_error_and_one_that_is_not_there_is_none(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "README.md").write_text("# Paystar\n", encoding="utf-8")
    assert main(["--root", str(root)]) == 2
    assert BEGIN in capsys.readouterr().err
    (root / "README.md").unlink()
    assert main(["--root", str(root), "--check"]) == 0
    assert not (root / "README.md").exists()


def test_nothing_is_written_while_something_is_not_documented(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(root)], make_table(UndocumentedRequest)) == 2
    assert "UndocumentedRequest.bare" in capsys.readouterr().err
    assert main(["--root", str(root), "--check"]) == 0


def test_help_says_what_is_written_and_what_the_exit_status_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for word in ("services.py", "openapi.json", "README.md", "--check", "1 that a file has drifted"):
        assert word in said


@pytest.mark.parametrize("seed", ["1", "2"])
def test_it_writes_the_same_bytes_in_every_process(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "paystar_async.describe", "--check"],
        cwd=HOME,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
