"""``paystar payout list|history|pause|resume|resolve``: what they change, and that they ask first."""

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from paystar_async.payouts.dispatcher import LocalDispatcher
from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.cli.helpers import Terminal
from tests.payouts.files import DEPOSIT, IBAN, row, table, write_csv

Operate = Callable[..., Any]
PAID_ONCE = {f"t-{number}": 1 for number in range(1, 6)}


@pytest.fixture
def bank(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox whose bank decides at once and executes a repeated transfer again."""
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "salaries.csv", table([row(number) for number in range(1, 6)]))


@pytest.fixture
def operate(run: Run, tmp_path: Path) -> Operate:
    """Return a function that runs a ``payout`` command on one ledger."""

    def operate(*arguments: str) -> Any:
        return run("payout", *arguments, "--ledger", str(tmp_path / "payouts.db"))

    return operate


@pytest.fixture
def in_review(file: Path, operate: Operate, bank: Sandbox) -> None:
    """Leave two of five transfers, t-1 and t-2, for manual review."""
    bank.fail("transfers.settle", "reset_before", times=1)
    assert operate("run", str(file), "--yes", "--chunk", "2", "--quiet-window", "0.2").status == 3


def counts(sandbox: Sandbox) -> dict[str, int]:
    return {track_id: entry.count for track_id, entry in sandbox.ledger.items()}


@pytest.mark.parametrize("deposit", [(), ("--deposit", DEPOSIT)])
def test_pause_stops_a_run_until_resume(
    deposit: tuple[str, ...], file: Path, operate: Operate, bank: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = operate("pause", *deposit)
    assert (paused.status, "paused: by paystar payout pause" in paused.out) == (0, True)
    for _ in range(2):  # the second run continues a recorded batch, and does not lift the pause
        result = operate("run", str(file), "--yes")
        assert (result.status, "sending is paused; paystar payout resume continues it" in result.err) == (3, True)
        assert not bank.ledger
    assert "paused: by paystar payout pause" in operate("list").out

    refused = operate("resume", *deposit)
    assert (refused.status, "it needs confirmation" in refused.err) == (2, True)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    refused = operate("resume", *deposit)
    assert (refused.status, "nothing was resumed" in refused.err) == (2, True)
    assert "paused" in operate("list").out

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    resumed = operate("resume", *deposit)
    assert (resumed.status, resumed.out) == (0, "nothing is held back now\n")
    assert not bank.ledger  # the command itself sends nothing
    assert operate("run", str(file), "--yes").status == 0
    assert counts(bank) == PAID_ONCE


def test_resume_after_top_up_plans_unsent_transfers(file: Path, operate: Operate, bank: Sandbox) -> None:
    bank.fail("transfers.settle", "funds", times=1)
    assert operate("run", str(file), "--yes", "--quiet-window", "1").status == 3
    assert "insufficient funds: " in operate("list").out
    resumed = operate("resume", "--yes")
    assert (resumed.status, "planned again, after money ran out: 5" in resumed.out) == (0, True)
    assert not bank.ledger


def test_list_shows_newest_batches_first(tmp_path: Path, operate: Operate, bank: Sandbox) -> None:
    assert operate("list").out == "no batch is on record\n"
    for number in range(1, 4):
        file = write_csv(tmp_path / f"{number}.csv", table([row(number)]))
        assert operate("run", str(file), "--yes").status == 0
    lines = operate("list", "--limit", "2").out.splitlines()
    assert [line.split()[0] for line in lines if ".csv" in line] == ["3.csv", "2.csv"]
    assert re.search(r"3\.csv +\d{4}-\d\d-\d\d \d\d:\d\d +1 +1,000,030 +1 success", "\n".join(lines))


@pytest.mark.usefixtures("in_review")
def test_history_shows_each_change_masked(operate: Operate) -> None:
    result = operate("history", "t-1")
    assert result.status == 0
    assert result.out.splitlines()[0].startswith("t-1: needs_review, 1,000,010 Rial = 100,001 Toman, *")
    changes = re.findall(r"^ *\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(\S.*?)  ", result.out, re.MULTILINE)
    assert (changes[0], changes[1], changes[-1]) == ("planned", "planned → sending", "not_accepted → needs_review")
    assert not [number for number in (DEPOSIT, IBAN) if number in result.out]


def test_history_unknown_transfer_is_status_2(operate: Operate, sandbox: Sandbox) -> None:
    result = operate("history", "t-9")
    assert (result.status, "expected a transfer on record, got 't-9'" in result.err) == (2, True)


@pytest.mark.usefixtures("in_review")
@pytest.mark.parametrize("verdict", ["success", "failed", "resend"])
def test_resolve_asks_before_it_decides(verdict: str, operate: Operate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    refused = operate("resolve", "t-1", "--verdict", verdict)
    assert (refused.status, "nothing was decided" in refused.err) == (2, True)
    assert "1,000,010 Rial = 100,001 Toman" in refused.err
    assert ("paid twice" in refused.err) == (verdict == "resend")
    assert operate("history", "t-1").out.startswith("t-1: needs_review")
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert operate("resolve", "t-1", "--verdict", verdict).status == 0
    assert operate("history", "t-1").out.startswith(f"t-1: {'planned' if verdict == 'resend' else verdict}")


@pytest.mark.usefixtures("in_review")
@pytest.mark.parametrize("command", [("resume",), ("resolve", "t-1", "--verdict", "resend")])
def test_command_starts_no_dispatcher(
    command: tuple[str, ...], operate: Operate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dispatcher would send what fits into the time until the command ends."""
    started: list[LocalDispatcher] = []

    def start(dispatcher: LocalDispatcher) -> None:
        started.append(dispatcher)

    monkeypatch.setattr(LocalDispatcher, "start", start)
    assert operate(*command, "--yes").status == 0
    assert started == []


@pytest.mark.usefixtures("in_review")
def test_resolve_resend_is_sent_by_the_next_run(file: Path, operate: Operate, bank: Sandbox) -> None:
    for track_id in ("t-1", "t-2"):
        assert operate("resolve", track_id, "--verdict", "resend", "--yes").status == 0
    assert "t-1" not in bank.ledger
    assert operate("run", str(file), "--yes").status == 0
    assert counts(bank) == PAID_ONCE


@pytest.mark.usefixtures("in_review")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("t-1",), "missing value for --verdict"),
        (("t-1", "--verdict", "maybe"), "expected one of success, failed, resend, got 'maybe'"),
        (("t-9", "--verdict", "failed"), "expected a transfer on record, got 't-9'"),
        (("t-3", "--verdict", "failed"), "expected a transfer that needs review, got 't-3', which is success"),
        (("t-1", "--verdict", "failed", "--product", "card"), "expected one of bank, wallet, got 'card'"),
        (("t-1", "--verdict", "failed", "--product", "wallet"), "expected a transfer on record, got 't-1'"),
    ],
)
def test_resolve_invalid_decision_is_status_2(arguments: tuple[str, ...], message: str, operate: Operate) -> None:
    result = operate("resolve", *arguments)
    assert (result.status, message in result.err) == (2, True), result.err


def test_run_rate_and_resend_are_the_policy(file: Path, operate: Operate, bank: Sandbox, tmp_path: Path) -> None:
    assert operate("run", str(file), "--yes", "--rate", "50.5", "--resend").status == 0
    with closing(sqlite3.connect(tmp_path / "payouts.db")) as connection:
        ((policy,),) = connection.execute("SELECT policy FROM paystar_payout_batches")
    stored = json.loads(policy)
    assert (stored["rate"], stored["resend"], stored["chunk"]) == (50.5, True, 20)


def test_run_resend_sends_again_what_the_bank_lacks(file: Path, operate: Operate, bank: Sandbox) -> None:
    bank.fail("transfers.settle", "reset_before", times=1)
    assert operate("run", str(file), "--yes", "--quiet-window", "0.2", "--resend").status == 0
    assert counts(bank) == PAID_ONCE


def test_run_rate_of_zero_is_refused(file: Path, operate: Operate) -> None:
    result = operate("run", str(file), "--rate", "0")
    assert (result.status, "calls a second, above 0" in result.err) == (2, True)
