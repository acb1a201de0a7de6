"""Run a command as a child process: its environment, its signals and its exit status."""

import os
import signal
import subprocess
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress

from attrs import define, field

from paystar_async.cli.console import print_error

EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND = 126, 127
"""The exit status of a command that cannot be run, as in a shell."""
SIGNAL_STATUS_BASE = 128
"""Added to the number of the signal that ended a process, as in a shell."""
_WAIT_SECONDS = 1.0

_TERMINAL_SIGNALS = ("SIGINT", "SIGQUIT", "SIGHUP")
"""A terminal sends these to all processes in its foreground, the command among them."""
_FORWARDED_SIGNALS = (*_TERMINAL_SIGNALS, "SIGTERM", "SIGUSR1", "SIGUSR2")


def run_command(command: Sequence[str], variables: Mapping[str, str | None]) -> int:
    """Run a command until it ends, and return its exit status; 128 and the signal's number if a signal ended it.

    Args:
        command: the program and its arguments.
        variables: environment variables to set; None deletes a variable.
    """
    names = set(os.environ) - set(variables)
    environment = {name: os.environ[name] for name in names}
    environment |= {name: value for name, value in variables.items() if value is not None}
    with _signals_caught() as signals:  # from before the start: a signal must not end this process alone
        try:
            process = subprocess.Popen(command, env=environment)  # noqa: S603 - the user's own command
        except OSError as error:
            print_error(f"{command[0]} cannot be run: {error.strerror or type(error).__name__}", hint="see --help")
            return EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_NOT_EXECUTABLE
        signals.forward_to(process)
        try:
            status = _wait(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return status if status >= 0 else SIGNAL_STATUS_BASE - status


def _wait(process: "subprocess.Popen[bytes]") -> int:
    while True:
        # Without a timeout, a signal that the kernel gives to another thread would not wake this one, whose handlers
        # forward it.
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_WAIT_SECONDS)


@define
class _CaughtSignals:
    """The signals of this process, which its command gets as soon as it runs."""

    _received: list[int] = field(factory=list[int])
    _process: "subprocess.Popen[bytes] | None" = None

    def handle(self, number: int, _: object) -> None:
        if self._process is None:
            self._received.append(number)
        elif signal.Signals(number).name not in _TERMINAL_SIGNALS or not _is_in_foreground():
            self._process.send_signal(number)

    def forward_to(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        for number in self._received:
            process.send_signal(number)


@contextmanager
def _signals_caught() -> Generator[_CaughtSignals]:
    signals = _CaughtSignals()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield signals
        return
    numbers = [number for name in _FORWARDED_SIGNALS if (number := getattr(signal, name, None)) is not None]
    previous = {number: signal.signal(number, signals.handle) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _is_in_foreground() -> bool:
    """Return True if the terminal sends its signals to this process, and so to the command."""
    if not hasattr(os, "tcgetpgrp"):
        return True  # a console of Windows
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
