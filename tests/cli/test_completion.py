"""``paystar --install-completion``: a shell completes commands and options."""

import os
import pty
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import get_args

import pytest

from paystar_async.cli.payments import StateName
from paystar_async.payments.models import OrderStatus
from tests.cli.conftest import Run

_VARIABLES = ("BASH_VERSION", "ZSH_VERSION", "FISH_VERSION", "ZSH", "ZSH_CUSTOM", "ZDOTDIR", "XDG_CONFIG_HOME", "SHELL")

COMPLETIONS = [
    ("paystar pay", {"payout", "payments"}),
    ("paystar payout re", {"review", "reconcile", "resolve", "resume"}),
    ("paystar payout run --qu", {"--quiet-window"}),
    ("paystar payments list --state ex", {"expired"}),
    ("paystar sandbox trigger transfer-f", {"transfer-failed"}),
]
FILES = [
    ("paystar payout run march", "march salaries.csv"),
    ("paystar payout run march.csv --ledger pay", "payouts.db"),
    ("paystar payments find o-1 --database pay", "payouts.db"),
]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("march salaries.csv", "payouts.db"):
        (tmp_path / name).touch()
    program = tmp_path / "bin" / "paystar"  # fish completes only programs that exist
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return tmp_path


@contextmanager
def terminal(*command: str) -> Generator[int]:
    """Run an interactive shell and yield the descriptor of its terminal."""
    control, terminal = pty.openpty()
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True) as shell:
        os.close(terminal)
        try:
            yield control
        finally:
            shell.kill()
            os.close(control)


def read_until(descriptor: int, *texts: str) -> str:
    """Return a terminal's output when it contains each of the texts."""
    output = ""
    while not all(text in output for text in texts):
        assert select([descriptor], [], [], 20)[0], output
        output += os.read(descriptor, 65_536).decode("utf-8", "replace")
    return output


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
@pytest.mark.parametrize(("line", "expected"), COMPLETIONS)
def test_bash_completes_words(line: str, expected: set[str], run: Run, home: Path) -> None:
    assert run("--install-completion", "--shell", "bash").status == 0
    words = line.split()
    program = (
        f". ~/.bashrc; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}; "
        "$(complete -p paystar | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    completed = subprocess.run(["bash", "-c", program], env=os.environ, capture_output=True, text=True, check=True)
    assert set(completed.stdout.split()) == expected, completed.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("line", "name"), FILES)
def test_bash_completes_files(line: str, name: str, run: Run, home: Path) -> None:
    assert run("--install-completion", "--shell", "bash").status == 0
    with terminal("bash", "--rcfile", str(home / ".bashrc"), "-i") as shell:
        os.write(shell, b"PS1=READY; bind 'set enable-bracketed-paste off'; echo LOADED$((1))\n")
        read_until(shell, "LOADED1", "READY")
        os.write(shell, f"{line}\t".encode())
        read_until(shell, line + name.removeprefix(line.split()[-1]).replace(" ", "\\ "))


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.parametrize("startup", ["", "autoload -Uz compinit && compinit -i"])
def test_zsh_completes_words_and_files(startup: str, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZDOTDIR", str(home / "zsh"))
    (home / "zsh").mkdir()
    (home / "zsh" / ".zshrc").write_text(startup)
    for _ in range(2):  # the second changes nothing
        assert run("--install-completion", "--shell", "zsh").status == 0
    assert (home / "zsh" / ".zshrc").read_text().count("compdef _") == 1
    for line, expected in [*COMPLETIONS, *((line, {name.replace(" ", "\\ ")}) for line, name in FILES)]:
        with terminal("zsh", "-i") as shell:
            os.write(shell, b"PS1=READY; unsetopt prompt_cr zle_bracketed_paste; echo LOADED$((1))\n")
            read_until(shell, "LOADED1", "READY")
            os.write(shell, f"{line}\t".encode())
            read_until(shell, *expected)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize(("line", "expected"), [*COMPLETIONS, *((line, {name}) for line, name in FILES)])
def test_fish_completes_words_and_files(line: str, expected: set[str], run: Run, home: Path) -> None:
    assert run("--install-completion", "--shell", "fish").status == 0
    completed = subprocess.run(["fish", "-c", f"complete -C '{line}'"], capture_output=True, text=True, check=True)
    words = {row.partition("\t")[0] for row in completed.stdout.splitlines()}
    assert words - {"payouts.db"} == expected - {"payouts.db"}
    assert "payouts.db" not in expected or "payouts.db" in words


def test_fish_script_is_in_its_configuration_folder(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    assert run("--install-completion", "--shell", "fish").out.startswith(str(home / "settings" / "fish"))


def test_states_on_command_line_are_those_of_orders() -> None:
    assert list(get_args(StateName)) == [status.value for status in OrderStatus]


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
