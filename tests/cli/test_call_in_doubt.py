"""``paystar call`` where it goes wrong: what surely did not happen, and what may have."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.calls import settle, transfer
from tests.cli.conftest import Run


def test_a_refusal_says_what_and_why(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", "status", status=9)
    ran = settle(run, transfer("t"))
    assert (ran.status, ran.out) == (1, "")
    assert "status 9" in ran.err
    assert "top up the wallet" in ran.err
    assert "(executed: no)" in ran.err
    assert "MAY HAVE" not in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("kind", ["reset_after", "status_11", "html", "truncated"])
def test_what_may_have_happened_is_said_loudly_with_the_way_to_find_out(kind: str, run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", kind)
    ran = settle(run, *(transfer(f"t {n}".replace(" ", "'")) for n in range(5)))
    loud, plain = ran.err.splitlines()[-2:]
    assert ran.status == 3
    assert "IT MAY HAVE BEEN CARRIED OUT" in loud
    assert """paystar call transfers find --track-id 't'"'"'0'""" in loud
    assert "2 more" in loud
    assert plain.startswith("paystar: ")
    assert plain.endswith("(executed: maybe)")
    sandbox.heal()
    assert len(json.loads(run("call", "transfers", "find", "--track-id", "t'0").out)) == len(sandbox.ledger) / 5


def test_an_interrupted_call_that_moves_money_is_no_silent_one(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Any) -> None:
        _.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupted)
    ran = settle(run, transfer("t"))
    assert ran.status == 3
    assert "IT MAY HAVE BEEN CARRIED OUT" in ran.err
    ran = run("call", "wallet", "balance")
    assert (ran.status, ran.err) == (130, "paystar: interrupted\n")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("status", [3, 130])
def test_a_signal_while_a_call_is_in_flight(kind: signal.Signals, status: int, sandbox: Sandbox) -> None:
    moves = ("transfers", "settle", "--transfers", json.dumps([transfer("t")]), "--yes")
    arguments = moves if status == 3 else ("wallet", "balance")
    sandbox.fail(kind="latency", seconds=5, executed=True)
    command = [sys.executable, "-m", "paystar_async", "call", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not sandbox.stats["requests"]:
            time.sleep(0.05)
        process.send_signal(kind)
        out, err = process.communicate(timeout=10)
    if status == 130 and kind is signal.SIGTERM:
        status = 143
    assert (process.returncode, out) == (status, "")
    assert ("IT MAY HAVE BEEN CARRIED OUT" in err) is (status == 3)
    assert "Traceback" not in err


def test_a_row_nothing_can_be_asked_about_says_so(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("gateway.create", "reset_before")
    order = ("--amount", "50000", "--order-id", "o", "--callback", "https://a.example/")
    assert "nothing can be asked" in run("call", "gateway", "create", *order, "--yes").err


def test_verify_is_asked_about_by_ref_num(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("gateway.verify", "reset_before")
    ran = run(
        *("call", "gateway", "verify", "--ref-num", "r-1", "--amount", "50000"),
        *("--card-number", "", "--tracking-code", "", "--yes"),
    )
    assert "paystar call gateway inquiry --ref-num r-1" in ran.err


def test_a_timeout_is_kept_to(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("wallet.balance", "latency", seconds=20)
    ran = run("call", "wallet", "balance", "--timeout", "0.2")
    assert ran.status == 1
    assert "no answer within" in ran.err


def in_a_shell(redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command as a shell starts it, its streams elsewhere and buffered as they are by default."""
    line = f"{shlex.join((sys.executable, '-m', 'paystar_async', *arguments))} {redirected}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["/bin/sh", "-c", line], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


MOVES = ("call", "transfers", "settle", "--yes", "--transfers")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")


@FULL
@pytest.mark.parametrize("redirected", [">/dev/full", ">/dev/full 2>/dev/full"])
def test_money_that_moved_and_an_answer_nobody_can_read_is_no_failure(redirected: str, sandbox: Sandbox) -> None:
    ended = in_a_shell(redirected, *MOVES, json.dumps([transfer("t")]))
    assert sandbox.ledger["t"].count == 1
    assert ended.returncode == 3, ended.stderr
    assert "Traceback" not in ended.stderr
    if "2>" not in redirected:
        assert "IT MAY HAVE BEEN CARRIED OUT" in ended.stderr
        assert ended.stderr.endswith("the answer cannot be written: No space left on device\n")


def test_money_that_moved_and_a_reader_who_went_away_is_no_failure(sandbox: Sandbox) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "paystar_async", *MOVES, json.dumps([transfer("t")])]
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, timeout=30)
    os.close(write)
    assert sandbox.ledger["t"].count == 1
    assert ended.returncode == 3
    assert b"IT MAY HAVE BEEN CARRIED OUT" in ended.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_command_without_its_streams_does_what_it_always_does(closed: str, sandbox: Sandbox) -> None:
    ended = in_a_shell(closed, *MOVES, json.dumps([transfer("t")]))
    assert (sandbox.ledger["t"].count, ended.returncode) == (1, 0), ended.stderr
    assert "Traceback" not in ended.stderr


@FULL
def test_a_question_whose_answer_cannot_be_written_is_one_line(sandbox: Sandbox) -> None:
    ended = in_a_shell(">/dev/full", "call", "transfers", "find")
    assert (ended.returncode, ended.stderr) == (1, "paystar: the answer cannot be written: No space left on device\n")


@FULL
def test_a_complaint_nobody_hears_leaves_the_doubt_in_the_status(sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", "reset_after")
    ended = in_a_shell("2>/dev/full", *MOVES, json.dumps([transfer("t")]))
    assert (sandbox.ledger["t"].count, ended.returncode) == (1, 3)
