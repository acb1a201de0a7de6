"""``paystar payout``: a file is paid once, and exit statuses and messages match the result."""

import csv
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.cli.helpers import Terminal, settle, transfer
from tests.payouts.files import DEPOSIT, IBAN, WALLET_NAMES, row, table, wallet_row, write_csv, write_xlsx

Pay = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of five salaries."""
    return write_csv(tmp_path / "حقوق.csv", table([row(number) for number in range(1, 6)]))


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "payouts.db")


@pytest.fixture
def instant_bank(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox whose bank decides at once and executes a repeated transfer again."""
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


def counts(sandbox: Sandbox) -> dict[str, int]:
    return {track_id: entry.count for track_id, entry in sandbox.ledger.items()}


PAID_ONCE = {f"t-{number}": 1 for number in range(1, 6)}


@pytest.fixture
def pay(run: Run, ledger: str) -> Pay:
    def pay(file: Path, *options: str) -> Any:
        return run("payout", "run", str(file), "--ledger", ledger, "--yes", *options)

    return pay


def test_plan_shows_count_and_total(file: Path, run: Run) -> None:
    result = run("payout", "plan", str(file))
    assert (result.status, result.err) == (0, "")
    assert result.out == ("حقوق.csv, rows 2 to 6\n5 transfers from deposit accounts: 5,000,150 Rial = 500,015 Toman\n")


def test_plan_reports_every_invalid_row(tmp_path: Path, run: Run) -> None:
    rows = [row(1), row(2, amount="1.5"), row(3, destination_account=IBAN[:-1] + "9", track_id="t-1")]
    result = run("payout", "plan", str(write_csv(tmp_path / "a.csv", table(rows))))
    assert result.status == 2
    assert result.out.splitlines()[0].startswith("row 3, amount: expected whole Rial")
    assert result.out.splitlines()[1].startswith("row 4, destination_account: expected an IBAN whose check digits fit")
    assert "2 rows invalid, 1 valid" in result.out


def test_plan_with_ledger_shows_recorded_batch(
    file: Path, run: Run, ledger: str, pay: Pay, instant_bank: Sandbox
) -> None:
    assert "is not on record" in run("payout", "plan", str(file), "--ledger", ledger).err
    pay(file)
    assert "5 of 5 are decided, 5 succeeded" in run("payout", "plan", str(file), "--ledger", ledger).err
    assert len(instant_bank.ledger) == 5


def test_run_all_succeeded_is_status_0(file: Path, pay: Pay, instant_bank: Sandbox) -> None:
    result = pay(file, "--chunk", "2", "--concurrency", "2", "--quiet-window", "1")
    assert result.status == 0, result
    assert result.err == ("حقوق.csv, rows 2 to 6\n5 transfers from deposit accounts: 5,000,150 Rial = 500,015 Toman\n")
    assert re.search(r"success +5 +5,000,150 +paid", result.out)
    assert counts(instant_bank) == PAID_ONCE
    assert {entry.amount for entry in instant_bank.ledger.values()} == {
        1_000_000 + 10 * number for number in range(1, 6)
    }


def test_run_pays_workbook(tmp_path: Path, pay: Pay, instant_bank: Sandbox) -> None:
    rows = [row(number, amount=1_000_000 + 10 * number) for number in range(1, 6)]
    assert pay(write_xlsx(tmp_path / "a.xlsx", table(rows))).status == 0
    assert counts(instant_bank) == PAID_ONCE


def test_run_sheet_chooses_among_sheets_with_transfers(
    tmp_path: Path, run: Run, pay: Pay, instant_bank: Sandbox
) -> None:
    file = write_xlsx(tmp_path / "a.xlsx", table([row(9)]))
    workbook = openpyxl.load_workbook(file)
    salaries = workbook.create_sheet("حقوق")
    for cells in table([row(number) for number in range(1, 6)]):
        salaries.append(list(cells))
    workbook.save(file)

    assert pay(file).status == 2
    assert "حقوق" in run("payout", "plan", str(file), "--sheet", "حقوق").out
    assert pay(file, "--sheet", "حقوق").status == 0
    assert counts(instant_bank) == PAID_ONCE


def test_run_wallet_columns_pay_from_wallet(tmp_path: Path, pay: Pay, instant_bank: Sandbox) -> None:
    file = write_csv(tmp_path / "a.csv", table([wallet_row(1), wallet_row(2)], WALLET_NAMES))
    result = pay(file)
    assert (result.status, "from the wallet" in result.err) == (0, True), result
    assert counts(instant_bank) == {"w-1": 1, "w-2": 1}


def test_run_again_pays_nothing_twice(file: Path, pay: Pay, instant_bank: Sandbox) -> None:
    pay(file)
    result = pay(file)
    assert result.status == 0
    assert "5 of 5 are decided" in result.err
    assert counts(instant_bank) == PAID_ONCE


def test_run_renamed_file_pays_nothing_twice(file: Path, pay: Pay, instant_bank: Sandbox, tmp_path: Path) -> None:
    pay(file)
    assert pay(file.rename(tmp_path / "other.csv")).status == 0
    assert counts(instant_bank) == PAID_ONCE


def test_run_changed_file_is_refused(file: Path, pay: Pay, instant_bank: Sandbox) -> None:
    instant_bank.fail("transfers.settle", "funds")
    assert pay(file, "--quiet-window", "1").status == 3
    instant_bank.heal()
    same_totals = [row(number) for number in range(1, 5)] + [row(5, destination_lastname="رضایی")]
    for rows in (same_totals, [row(number) for number in range(1, 7)], [row(1)]):
        write_csv(file, table(rows))
        result = pay(file)
        assert result.status == 2
        assert "expected the 5 transfers of 5,000,150 Rial submitted under this name on 20" in result.err
        assert "nothing of it was sent; restore the file" in result.err
        assert not instant_bank.ledger


def test_run_batch_option_accepts_other_rows(file: Path, pay: Pay, instant_bank: Sandbox) -> None:
    pay(file)
    write_csv(file, table([row(6)]))
    assert pay(file, "--batch", "december").status == 0
    assert counts(instant_bank) == PAID_ONCE | {"t-6": 1}


def test_run_track_id_with_other_contents_is_refused(
    file: Path, pay: Pay, instant_bank: Sandbox, tmp_path: Path
) -> None:
    pay(file)
    result = pay(write_csv(tmp_path / "b.csv", table([row(9), row(1, amount="7")])))
    assert result.status in (1, 2)
    assert "on record with other contents: 't-1'" in result.err
    assert counts(instant_bank) == PAID_ONCE


def test_run_failed_rows_are_status_1(tmp_path: Path, pay: Pay, instant_bank: Sandbox) -> None:
    result = pay(write_csv(tmp_path / "a.csv", table([row(1), row(2, amount="10999")])))
    assert result.status == 1
    assert re.search(r"failed +1 +10,999 +no money moved", result.out)


def test_run_insufficient_funds_waits_and_continues(file: Path, pay: Pay, instant_bank: Sandbox) -> None:
    instant_bank.fail("transfers.settle", "funds", times=1)
    result = pay(file, "--quiet-window", "1")  # a refused call of several is checked a tenth of it later
    assert result.status == 3
    assert re.search(r"paused_funds +5", result.out)
    assert "5 transfers not sent for insufficient funds: top up 5,000,150 Rial = 500,015 Toman, then run" in result.err
    assert not instant_bank.ledger
    assert pay(file).status == 0
    assert counts(instant_bank) == PAID_ONCE


def test_run_refused_account_waits_and_continues(file: Path, pay: Pay, instant_bank: Sandbox) -> None:
    instant_bank.fail("transfers.settle", "ip", times=1)
    result = pay(file, "--quiet-window", "1")
    assert result.status == 3, result
    assert "paystar: payouts_suspended: bank " in result.err  # printed above the progress bar
    assert "paystar payout run" in result.err
    assert pay(file).status == 0
    assert counts(instant_bank) == PAID_ONCE


def test_review_resolves_transfers_not_found_at_bank(
    file: Path, pay: Pay, run: Run, instant_bank: Sandbox, ledger: str
) -> None:
    instant_bank.fail("transfers.settle", "reset_before", times=1)
    result = pay(file, "--chunk", "2", "--quiet-window", "0.2")
    assert result.status == 3, result
    assert "manual review needed for 2 transfers: paystar payout review" in result.err
    assert len(instant_bank.ledger) == 3

    review = ("payout", "review", str(file), "--ledger", ledger)
    result = run(*review)
    assert result.status == 3
    assert re.search(r"t-1 +1,000,010 +IR\*+0001 ", result.out)
    assert IBAN not in result.out
    assert "--verdict success" in result.out

    resolve = ("payout", "resolve", "--ledger", ledger, "--note", "not in the statement")
    for options in (("t-1", "--verdict", "failed"), ("t-2", "--verdict", "resend")):
        refused = run(*resolve, *options)
        assert (refused.status, "it needs confirmation" in refused.err) == (2, True)
        assert run(*resolve, *options, "--yes").status == 0
    assert "nothing needs review" in run(*review).out
    assert "t-2" not in instant_bank.ledger
    assert pay(file).status == 1  # t-1 failed
    assert counts(instant_bank) == {"t-2": 1, "t-3": 1, "t-4": 1, "t-5": 1}


def test_status_shows_report_and_exports_csv(
    file: Path, pay: Pay, run: Run, instant_bank: Sandbox, ledger: str, tmp_path: Path
) -> None:
    pay(file)
    result = run("payout", "status", str(file), "--ledger", ledger, "--export", str(tmp_path / "out.csv"))
    assert result.status == 0
    assert re.search(r"success +5", result.out)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8-sig"))))
    assert [(record["number"], record["track_id"], record["state"]) for record in rows] == [
        (str(number), f"t-{number}", "success") for number in range(1, 6)
    ]
    assert DEPOSIT not in str(rows)
    assert IBAN not in str(rows)
    assert all(record["ref_code"] for record in rows)
    result = run("payout", "status", str(file), "--ledger", ledger, "--export", str(tmp_path / "none" / "out.csv"))
    assert result.status == 2


def test_reconcile_reports_foreign_and_missing_payments(
    file: Path, pay: Pay, run: Run, instant_bank: Sandbox, ledger: str
) -> None:
    pay(file)
    reconcile = ("payout", "reconcile", str(file), "--ledger", ledger)
    result = run(*reconcile)
    assert (result.status, result.out) == (0, "5 compared, 0 updated from the bank's list\nledger and bank agree\n")
    settle(run, transfer("foreign"))
    result = run(*reconcile, "--window", "3600")
    assert result.status == 1
    assert "only the bank has foreign: success, 1050000 Rial" in result.out
    instant_bank.reset()
    result = run(*reconcile)
    assert result.status == 1
    assert "sent, but not on the bank's list: t-1" in result.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty file"),
        ("amount,deposit\n1,2\n", "destination_account is missing"),
        ("amout,deposit\n1,2\n", "did you mean amount?"),
    ],
)
def test_run_invalid_file_sends_nothing(
    content: str, message: str, tmp_path: Path, pay: Pay, instant_bank: Sandbox
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    result = pay(file)
    assert result.status == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not instant_bank.ledger
    assert not instant_bank.stats["requests"]


def test_run_one_invalid_row_sends_nothing(tmp_path: Path, pay: Pay, instant_bank: Sandbox) -> None:
    rows = [row(number) for number in range(1, 40)] + [row(40, amount="x")]
    result = pay(write_csv(tmp_path / "a.csv", table(rows)))
    assert result.status == 2
    assert "row 41, amount" in result.err
    assert not instant_bank.ledger


@pytest.mark.parametrize(
    "arguments",
    [
        ("payout",),
        ("payout", "pay", "a.csv"),
        ("payout", "run"),
        ("payout", "run", "a.csv", "--chunk", "0"),
        ("payout", "run", "a.csv", "--quiet-window", "soon"),
        ("payout", "run", "a.csv"),
        ("payout", "status", "a.csv"),
    ],
)
def test_payout_usage_error_is_status_2(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert result.status == (0 if arguments == ("payout",) else 2)


def test_run_without_ledger_names_the_option(file: Path, run: Run) -> None:
    assert "--ledger payouts.db, or PAYSTAR_DATABASE" in run("payout", "run", str(file)).err


def test_run_and_status_read_ledger_from_environment(
    file: Path, run: Run, instant_bank: Sandbox, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYSTAR_DATABASE", ledger)
    assert run("payout", "run", str(file), "--yes").status == 0
    assert run("payout", "status", str(file)).status == 0
    assert counts(instant_bank) == PAID_ONCE


def test_status_unknown_batch_is_status_2(run: Run, ledger: str) -> None:
    result = run("payout", "status", "none.csv", "--ledger", ledger)
    assert (result.status, "expected a batch on record, got 'none.csv'" in result.err) == (2, True)


def test_run_without_credentials_names_the_variable(file: Path, pay: Pay) -> None:
    result = pay(file)
    assert result.status == 2
    assert "PAYSTAR_APPLICATION_ID" in result.err


@pytest.mark.parametrize(("reply", "status", "paid"), [("y\n", 0, 5), ("n\n", 2, 0), ("\n", 2, 0), ("", 2, 0)])
def test_run_at_terminal_asks_for_confirmation(
    reply: str,
    status: int,
    paid: int,
    file: Path,
    run: Run,
    instant_bank: Sandbox,
    ledger: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(reply))
    result = run("payout", "run", str(file), "--ledger", ledger)
    assert (result.status, len(instant_bank.ledger)) == (status, paid)
    assert "Pay 5 transfers, 5,000,150 Rial = 500,015 Toman? [y/N]" in result.err


def test_run_without_terminal_or_yes_sends_nothing(
    file: Path, run: Run, instant_bank: Sandbox, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    result = run("payout", "run", str(file), "--ledger", ledger)
    assert (result.status, "use --yes to go ahead" in result.err) == (2, True)
    assert not instant_bank.ledger
