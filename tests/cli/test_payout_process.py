"""``paystar payout run`` as a process: interrupted or killed at any moment, the same command goes on."""

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
def slow(sandbox: Sandbox) -> Sandbox:
    """A bank that takes its time over each call, so that there is a moment to interrupt, and forgives no repetition."""
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    sandbox.fail("transfers.settle", "latency", seconds=0.1)
    return sandbox


@contextmanager
def paying(file: Path) -> Generator[subprocess.Popen[str]]:
    arguments = ("payout", "run", str(file), "--ledger", str(file.parent / "payouts.db"))
    policy = ("--chunk", "3", "--concurrency", "2", "--quiet-window", "0.2", "--yes")
    with subprocess.Popen(
        [sys.executable, "-m", "paystar_async", *arguments, *policy],
        # A short call is a short lease: what a dead process was sending is soon asked about.
        env={**os.environ, "PAYSTAR_TIMEOUT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def paid(sandbox: Sandbox, at_least: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while len(sandbox.ledger) < at_least:
        assert time.monotonic() < end, "nothing is paid"
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def all_of_it(sandbox: Sandbox) -> bool:
    return {track_id: line.count for track_id, line in sandbox.ledger.items()} == {
        f"t-{number}": 1 for number in range(COUNT)
    }


def needing_review(file: Path) -> set[str]:
    """Return the transfers whose process was killed after its intent and before the bank had the request."""
    with closing(sqlite3.connect(file.parent / "payouts.db")) as connection:
        rows = connection.execute("SELECT track_id FROM paystar_payout_transfers WHERE state = 'needs_review'")
        return {track_id for (track_id,) in rows}


def resend(file: Path, track_id: str) -> None:
    """Decide, as a user who has seen the statement, that a transfer was not paid."""
    arguments = ("payout", "review", str(file), "--ledger", str(file.parent / "payouts.db"), "--track-id", track_id)
    command = (sys.executable, "-m", "paystar_async", *arguments, "--verdict", "resend", "--yes")
    assert subprocess.run(command, check=False, capture_output=True, timeout=60).returncode in (0, 3)


@pytest.mark.usefixtures("interruptible")
def test_after_ctrl_c_the_same_command_goes_on(file: Path, slow: Sandbox) -> None:
    with paying(file) as process:
        paid(slow, 9, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "the same command goes on with the rest" in err
    assert err.endswith("paystar: interrupted\n")
    assert out == ""
    assert len(slow.ledger) < COUNT
    slow.heal()
    with paying(file) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert f" of {COUNT} are decided" in err
    assert all_of_it(slow)


def test_after_kill_9_at_any_moment_the_same_command_goes_on(file: Path, slow: Sandbox) -> None:
    dice = random.Random(7)
    for target in (1, 12, 30):
        with paying(file) as process:
            paid(slow, target, process)
            time.sleep(dice.uniform(0, 0.1))
            process.kill()
    slow.heal()
    with paying(file) as process:
        out, err = process.communicate(timeout=60)
    unsent = needing_review(file)
    assert process.returncode == (3 if unsent else 0), (out, err)
    assert unsent.isdisjoint(slow.ledger)
    for track_id in unsent:
        resend(file, track_id)
    with paying(file) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert all_of_it(slow)


@pytest.mark.parametrize("after", [0.3, 0.6])
def test_killed_before_anything_is_sent_it_begins_anew(after: float, file: Path, slow: Sandbox) -> None:
    with paying(file) as process:
        time.sleep(after)
        process.kill()
    slow.heal()
    with paying(file) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert all_of_it(slow)


def test_two_at_once_pay_it_once(file: Path, slow: Sandbox) -> None:
    with paying(file) as one, paying(file) as other:
        ends = [process.communicate(timeout=60) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), ends
    assert all_of_it(slow)


def test_on_a_full_disk_it_waits_and_goes_on_when_there_is_room(file: Path, slow: Sandbox) -> None:
    with paying(file) as process:
        paid(slow, 9, process)
        room = (file.parent / "payouts.db-wal").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        assert process.stderr is not None
        said = "".join(process.stderr.readline() for _ in range(3))
        assert "make room" in said
        assert said.endswith("; it is tried again\n")
        assert len(slow.ledger) < COUNT
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        slow.heal()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert err.count("make room") <= 1  # once, not for each chunk, each second
    assert all_of_it(slow)


def test_a_ledger_that_is_spoilt_meanwhile_ends_it_and_says_what_holds(file: Path, slow: Sandbox) -> None:
    ledger, letters = file.parent / "payouts.db", file.parent / "letters"
    letters.write_bytes(b"somebody's letters" * 100)
    with paying(file) as process:
        paid(slow, 9, process)
        letters.replace(ledger)
        for leftover in ("payouts.db-wal", "payouts.db-shm"):
            ledger.with_name(leftover).unlink()  # in which all of the ledger still is
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "no SQLite database" in err
    assert "what was sent is on record; once that is mended, the same command goes on" in err
    assert "executed: no" not in err
    assert all(line.count == 1 for line in slow.ledger.values())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_report_that_cannot_be_written_leaves_the_status_that_is_true(file: Path, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 0.0
    run = (sys.executable, "-m", "paystar_async", "payout", "run", str(file))
    line = f"{shlex.join((*run, '--ledger', str(file.parent / 'payouts.db'), '--yes'))} >/dev/full"
    ended = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=60)
    assert all_of_it(sandbox)
    assert ended.returncode == 0, ended.stderr
    assert "the answer cannot be written: No space left on device" in ended.stderr


def test_run_reader_gone_exits_by_report(file: Path, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 0.0
    command = (sys.executable, "-m", "paystar_async", "payout", "run", str(file), "--yes")
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [*command, "--ledger", str(file.parent / "payouts.db")],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert all_of_it(sandbox)
    assert ended.returncode == 0, ended.stderr
