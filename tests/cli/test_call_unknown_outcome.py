"""``paystar call`` after failures: what was not executed, and what may have been."""

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
from tests.cli.conftest import Run
from tests.cli.helpers import settle, transfer


def test_call_refusal_explains_and_is_not_executed(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", "status", status=9)
    result = settle(run, transfer("t"))
    assert (result.status, result.out) == (1, "")
    assert "status 9" in result.err
    assert "top up the wallet" in result.err
    assert "(executed: no)" in result.err
    assert "MAY HAVE" not in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("kind", ["reset_after", "status_11", "html", "truncated"])
def test_call_ambiguous_failure_warns_with_lookup_command(kind: str, run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", kind)
    result = settle(run, *(transfer(f"t {n}".replace(" ", "'")) for n in range(5)))
    warning, error = result.err.splitlines()[-2:]
    assert result.status == 3
    assert "IT MAY HAVE BEEN EXECUTED" in warning
    assert """paystar call transfers find --track-id 't'"'"'0'""" in warning
    assert "2 more" in warning
    assert error.startswith("paystar: ")
    assert error.endswith("(executed: maybe)")
    sandbox.heal()
    assert len(json.loads(run("call", "transfers", "find", "--track-id", "t'0").out)) == len(sandbox.ledger) / 5


def test_call_interrupted_settle_warns(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(coroutine: Any) -> None:
        coroutine.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("asyncio.run", interrupted)
    result = settle(run, transfer("t"))
    assert result.status == 3
    assert "IT MAY HAVE BEEN EXECUTED" in result.err
    result = run("call", "wallet", "balance")
    assert (result.status, result.err) == (130, "paystar: interrupted\n")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("status", [3, 130])
def test_call_signal_in_flight_sets_exit_status(kind: signal.Signals, status: int, sandbox: Sandbox) -> None:
    settle_arguments = ("transfers", "settle", "--transfers", json.dumps([transfer("t")]), "--yes")
    arguments = settle_arguments if status == 3 else ("wallet", "balance")
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
    assert ("IT MAY HAVE BEEN EXECUTED" in err) is (status == 3)
    assert "Traceback" not in err


def test_call_create_lost_cannot_be_looked_up(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("gateway.create", "reset_before")
    order = ("--amount", "50000", "--order-id", "o", "--callback", "https://a.example/")
    assert "it cannot be looked up" in run("call", "gateway", "create", *order, "--yes").err


def test_call_verify_lost_is_looked_up_by_ref_num(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("gateway.verify", "reset_before")
    result = run(
        *("call", "gateway", "verify", "--ref-num", "r-1", "--amount", "50000"),
        *("--card-number", "", "--tracking-code", "", "--yes"),
    )
    assert "paystar call gateway inquiry --ref-num r-1" in result.err


def test_call_timeout_is_applied(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("wallet.balance", "latency", seconds=20)
    result = run("call", "wallet", "balance", "--timeout", "0.2")
    assert result.status == 1
    assert "no response within" in result.err


def run_in_shell(redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell with redirected streams, buffered as by default."""
    line = f"{shlex.join((sys.executable, '-m', 'paystar_async', *arguments))} {redirection}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["/bin/sh", "-c", line], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


SETTLE = ("call", "transfers", "settle", "--yes", "--transfers")
NEEDS_DEV_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")


@NEEDS_DEV_FULL
@pytest.mark.parametrize("redirection", [">/dev/full", ">/dev/full 2>/dev/full"])
def test_call_settle_output_unwritable_is_unknown_outcome(redirection: str, sandbox: Sandbox) -> None:
    completed = run_in_shell(redirection, *SETTLE, json.dumps([transfer("t")]))
    assert sandbox.ledger["t"].count == 1
    assert completed.returncode == 3, completed.stderr
    assert "Traceback" not in completed.stderr
    if "2>" not in redirection:
        assert "IT MAY HAVE BEEN EXECUTED" in completed.stderr
        assert completed.stderr.endswith("the output cannot be written: No space left on device\n")


def test_call_settle_pipe_closed_is_unknown_outcome(sandbox: Sandbox) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "paystar_async", *SETTLE, json.dumps([transfer("t")])]
    completed = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, timeout=30)
    os.close(write)
    assert sandbox.ledger["t"].count == 1
    assert completed.returncode == 3
    assert b"IT MAY HAVE BEEN EXECUTED" in completed.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_call_settle_closed_streams_succeeds(closed: str, sandbox: Sandbox) -> None:
    completed = run_in_shell(closed, *SETTLE, json.dumps([transfer("t")]))
    assert (sandbox.ledger["t"].count, completed.returncode) == (1, 0), completed.stderr
    assert "Traceback" not in completed.stderr


@NEEDS_DEV_FULL
def test_call_find_output_unwritable_fails_in_one_line(sandbox: Sandbox) -> None:
    completed = run_in_shell(">/dev/full", "call", "transfers", "find")
    assert (completed.returncode, completed.stderr) == (
        1,
        "paystar: the output cannot be written: No space left on device\n",
    )


@NEEDS_DEV_FULL
def test_call_settle_stderr_unwritable_keeps_exit_status(sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", "reset_after")
    completed = run_in_shell("2>/dev/full", *SETTLE, json.dumps([transfer("t")]))
    assert (sandbox.ledger["t"].count, completed.returncode) == (1, 3)
