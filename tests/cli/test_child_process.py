"""``paystar sandbox -- COMMAND``: the command's environment, its signals and its exit status."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from paystar_async.cli.child_process import run_command
from tests.cli.conftest import Run

PAYSTAR = (sys.executable, "-W", "error", "-m", "paystar_async")
RECORDING = """
import signal, sys
names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT")
numbers = [getattr(signal, name) for name in names]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("ready", flush=True)
while True:
    number = signal.sigwait(numbers)
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(7)
"""


IN_TERMINAL = (
    sys.executable,
    "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""A program that makes its stdin the terminal of its session, and then runs another."""


def start(*command: str, prefix: Sequence[str] = (), **options: Any) -> "subprocess.Popen[str]":
    line = (*prefix, *PAYSTAR, "sandbox", "--", *command)
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def python(code: str) -> Sequence[str]:
    return (sys.executable, "-c", code)


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("7", 7)])
def test_sandbox_command_exit_status_is_passed_on(code: str, status: int, run: Run) -> None:
    assert run("sandbox", "--", *python(f"raise SystemExit({code})")).status == status


def test_sandbox_command_killed_by_signal_is_128_and_number(run: Run) -> None:
    assert run("sandbox", "--", *python("import os; os.kill(os.getpid(), 9)")).status == 137


@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), ("/", 126)])
def test_sandbox_command_that_cannot_run_is_named(command: str, status: int, run: Run) -> None:
    result = run("sandbox", "--", command)
    assert result.status == status
    assert f"{command} cannot be run" in result.err


def test_sandbox_command_gets_environment_and_arguments(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_SIGN_KEY_FILE", "/real-canary")
    monkeypatch.setenv("PAYSTAR_KEYS", "redis://real-canary")
    monkeypatch.setenv("PAYSTAR_WALLET_PASSWORD", "real-canary")
    monkeypatch.setenv("PAYSTAR_TIMEOUT", "7")
    code = (
        "import asyncio, os, sys; from paystar_async import Paystar; "
        "print(asyncio.run(Paystar.from_env().wallet.balance()).total_amount, file=sys.stderr); "
        "assert sys.argv[1:] == ['--snake_case', '--port', 'x', '--'], sys.argv; "
        "assert not any('real-canary' in value for value in os.environ.values()), os.environ; "
        "assert os.environ['PAYSTAR_TIMEOUT'] == '7'"
    )
    completed = subprocess.run(
        (*PAYSTAR, "sandbox", "--set", "wallet_opening=123", "--", *python(code), "--snake_case", "--port", "x", "--"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == ""  # stdout is the command's
    assert "123\n" in completed.stderr


def test_sandbox_ends_with_its_command() -> None:
    with start(*python("import os; print(os.environ['PAYSTAR_BASE_URL'], os.environ['PAYSTAR_DATABASE'])")) as process:
        base_url, database = process.communicate(timeout=30)[0].split()
    with pytest.raises(httpx.ConnectError):
        httpx.get(base_url, trust_env=False)
    assert not Path(database).parent.exists()


@pytest.mark.usefixtures("interruptible")
def test_sandbox_command_receives_signals() -> None:
    with start(*python(RECORDING), start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline() == f"{name}\n"
        assert process.wait(timeout=30) == 7


@pytest.mark.usefixtures("interruptible")
def test_signal_while_command_starts_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    create = cast("Callable[..., subprocess.Popen[bytes]]", subprocess.Popen)

    def create_and_interrupt(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        process = create(*arguments, stdout=subprocess.PIPE, **options)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
        signal.raise_signal(signal.SIGINT)
        return process

    monkeypatch.setattr(subprocess, "Popen", create_and_interrupt)
    code = "import signal; signal.signal(signal.SIGINT, lambda *_: exit(7)); print('ready', flush=True); signal.pause()"
    assert run_command(python(code), {}) == 7


@pytest.mark.usefixtures("interruptible")
def test_sandbox_command_in_terminal_is_interrupted_once() -> None:
    """A terminal sends Ctrl-C to both processes; a second one would stop a server before its requests are done."""
    terminal, side = pty.openpty()
    with start(*python(RECORDING), prefix=IN_TERMINAL, stdin=side, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)  # a second signal would be lost if it came before the first was taken
        os.write(terminal, b"\x03")
        assert process.stdout.readline() == "SIGINT\n"
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "SIGTERM\n"
        assert process.wait(timeout=30) == 7
    os.close(terminal)
    os.close(side)


def test_run_command_signal_in_another_thread_is_forwarded(tmp_path: Path) -> None:
    """The kernel gives a signal to any thread of a process; only the main thread runs handlers."""
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    code = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); "
        "open(sys.argv[1], 'w').close(); "
        "sys.exit(7 if signal.sigtimedwait({signal.SIGUSR1}, 20) else 1)"
    )

    def receive() -> None:
        ready.read_bytes()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    def ignore(*_: object) -> None:
        """Keep a signal that comes too early from ending the tests."""

    previous = signal.signal(signal.SIGUSR1, ignore)
    thread = threading.Thread(target=receive)
    thread.start()
    try:
        assert run_command([*python(code), str(ready)], {}) == 7
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, previous)
