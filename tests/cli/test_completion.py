"""``paystar --install-completion``: a shell completes commands and options."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("BASH_VERSION", "ZSH_VERSION", "FISH_VERSION", "ZSH", "ZSH_CUSTOM", "SHELL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("shell", "script", "startup"),
    [
        ("bash", ".local/share/bash-completion/completions/paystar", ".bashrc"),
        ("zsh", ".zsh/completions", ".zshrc"),
        ("fish", ".config/fish/completions/paystar.fish", None),
    ],
)
def test_install_completion_writes_script(shell: str, script: str, startup: str | None, run: Run, home: Path) -> None:
    result = run("--install-completion", "--shell", shell)
    assert result.status == 0, result.err
    path = Path(result.out.splitlines()[0])
    assert path.is_relative_to(home / script)
    assert "payout" in path.read_text("utf-8")
    assert startup is None or str(home) in (home / startup).read_text("utf-8")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("paystar pay", {"payout", "payments"}),
        ("paystar payout re", {"review", "reconcile", "resolve", "resume"}),
        ("paystar payout run --qu", {"--quiet-window"}),
    ],
)
def test_bash_completes_commands_and_options(line: str, expected: set[str], run: Run, home: Path) -> None:
    assert run("--install-completion", "--shell", "bash").status == 0
    words = line.split()
    program = (
        f". ~/.bashrc; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}; "
        "$(complete -p paystar | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    completed = subprocess.run(["bash", "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert set(completed.stdout.split()) == expected, completed.stderr


def test_install_completion_detects_shell(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISH_VERSION", "4")
    assert run("--install-completion").out.startswith(str(home / ".config" / "fish"))


def test_install_completion_unknown_shell_is_status_2(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--install-completion", "--shell", "tcsh")
    assert (result.status, "expected one of bash, zsh, fish, got 'tcsh'" in result.err) == (2, True)
    monkeypatch.setenv("PATH", str(home))  # no ps
    result = run("--install-completion")
    assert (result.status, "this shell is not recognised – --shell bash, zsh or fish" in result.err) == (2, True)


def test_install_completion_unwritable_home_is_status_1(run: Run, home: Path) -> None:
    (home / ".config").write_text("a file")
    result = run("--install-completion", "--shell", "fish")
    assert (result.status, "the completion cannot be written" in result.err) == (1, True)
