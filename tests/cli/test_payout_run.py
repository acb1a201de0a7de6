"""``paystar payout run`` as a process: interrupted or killed at any moment, the same command continues."""

import os
import random
import resource
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from paystar_async.sandbox import Sandbox
from tests.payouts.files import row, table, write_csv

COUNT = 60


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "salaries.csv", table([row(number) for number in range(COUNT)]))


@pytest.fixture
def slow_bank(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox whose calls are slow enough to interrupt, and which executes a repeated transfer again."""
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    sandbox.fail("transfers.settle", "latency", seconds=0.1)
    return sandbox


@contextmanager
def start_run(file: Path) -> Generator[subprocess.Popen[str]]:
    arguments = ("payout", "run", str(file), "--ledger", str(file.parent / "payouts.db"))
    policy = ("--chunk", "3", "--concurrency", "2", "--quiet-window", "0.2", "--yes")
    with subprocess.Popen(
        [sys.executable, "-m", "paystar_async", *arguments, *policy],
        # A short timeout means a short lease, so that an interrupted send is checked soon.
        env={**os.environ, "PAYSTAR_TIMEOUT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_paid(sandbox: Sandbox, at_least: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while len(sandbox.ledger) < at_least:
        assert time.monotonic() < deadline, "nothing is paid"
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def is_paid_once(sandbox: Sandbox) -> bool:
    return {track_id: entry.count for track_id, entry in sandbox.ledger.items()} == {
        f"t-{number}": 1 for number in range(COUNT)
    }


def needing_review(file: Path) -> set[str]:
    """Return the transfers whose process was killed after its intent and before the bank had the request."""
    with closing(sqlite3.connect(file.parent / "payouts.db")) as connection:
        rows = connection.execute("SELECT track_id FROM paystar_payout_transfers WHERE state = 'needs_review'")
        return {track_id for (track_id,) in rows}


def resend(file: Path, track_id: str) -> None:
    """Decide, as a user who has seen the statement, that a transfer was not paid."""
    arguments = ("payout", "resolve", track_id, "--verdict", "resend", "--ledger", str(file.parent / "payouts.db"))
    command = (sys.executable, "-m", "paystar_async", *arguments, "--yes")
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


@pytest.mark.usefixtures("interruptible")
def test_run_after_sigint_continues(file: Path, slow_bank: Sandbox) -> None:
    with start_run(file) as process:
        wait_until_paid(slow_bank, 9, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "run the same command again to continue" in err
    assert err.endswith("paystar: interrupted\n")
    assert out == ""
    assert len(slow_bank.ledger) < COUNT
    slow_bank.heal()
    with start_run(file) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert f" of {COUNT} are decided" in err
    assert is_paid_once(slow_bank)


def test_run_after_sigkill_continues(file: Path, slow_bank: Sandbox) -> None:
    delays = random.Random(7)
    for target in (1, 12, 30):
        with start_run(file) as process:
            wait_until_paid(slow_bank, target, process)
            time.sleep(delays.uniform(0, 0.1))
            process.kill()
    slow_bank.heal()
    with start_run(file) as process:
        out, err = process.communicate(timeout=60)
    unsent = needing_review(file)
    assert process.returncode == (3 if unsent else 0), (out, err)
    assert unsent.isdisjoint(slow_bank.ledger)
    for track_id in unsent:
        resend(file, track_id)
    with start_run(file) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert is_paid_once(slow_bank)


@pytest.mark.parametrize("after", [0.3, 0.6])
def test_run_killed_before_sending_starts_again(after: float, file: Path, slow_bank: Sandbox) -> None:
    with start_run(file) as process:
        time.sleep(after)
        process.kill()
    slow_bank.heal()
    with start_run(file) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert is_paid_once(slow_bank)


def test_run_two_processes_pay_once(file: Path, slow_bank: Sandbox) -> None:
    with start_run(file) as first, start_run(file) as second:
        outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert is_paid_once(slow_bank)


def test_run_full_disk_waits_and_continues(file: Path, slow_bank: Sandbox) -> None:
    with start_run(file) as process:
        wait_until_paid(slow_bank, 9, process)
        wal_size = (file.parent / "payouts.db-wal").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (wal_size, resource.RLIM_INFINITY))
        assert process.stderr is not None
        messages = "".join(process.stderr.readline() for _ in range(3))
        assert "make room" in messages
        assert messages.endswith("; retrying\n")
        assert len(slow_bank.ledger) < COUNT
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        slow_bank.heal()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert err.count("make room") <= 1  # once, not for each chunk and second
    assert is_paid_once(slow_bank)


def test_run_corrupted_ledger_stops_and_explains(file: Path, slow_bank: Sandbox) -> None:
    ledger, other_file = file.parent / "payouts.db", file.parent / "other"
    other_file.write_bytes(b"not a database" * 100)
    with start_run(file) as process:
        wait_until_paid(slow_bank, 9, process)
        other_file.replace(ledger)
        for name in ("payouts.db-wal", "payouts.db-shm"):
            ledger.with_name(name).unlink()  # the WAL still has all of the ledger
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    # The first operation to meet the file either looks at which file it is, or reads it.
    assert "no SQLite database" in err or "file was replaced" in err
    assert "sent transfers are on record; fix the problem, then run the same command again to continue" in err
    assert "executed: no" not in err
    assert all(entry.count == 1 for entry in slow_bank.ledger.values())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_run_output_unwritable_keeps_exit_status(file: Path, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 0.0
    run = (sys.executable, "-m", "paystar_async", "payout", "run", str(file))
    line = f"{shlex.join((*run, '--ledger', str(file.parent / 'payouts.db'), '--yes'))} >/dev/full"
    completed = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert is_paid_once(sandbox)
    assert completed.returncode == 0, completed.stderr
    assert "the output cannot be written: No space left on device" in completed.stderr


def test_run_pipe_closed_keeps_exit_status(file: Path, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 0.0
    command = (sys.executable, "-m", "paystar_async", "payout", "run", str(file), "--yes")
    read, write = os.pipe()
    os.close(read)
    completed = subprocess.run(
        [*command, "--ledger", str(file.parent / "payouts.db")],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert is_paid_once(sandbox)
    assert completed.returncode == 0, completed.stderr


def test_run_with_log_level_prints_each_event_once(
    file: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYSTAR_LOG", "info")
    sandbox.fail("transfers.settle", "ip", times=1)
    with start_run(file) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert err.count("paystar: payouts_suspended: ") == 2  # the error, and the event
    assert err.count("payouts_suspended: ") == 2
