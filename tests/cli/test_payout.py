"""``paystar payout``: a file is paid once, and each exit status means what it says."""

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
from tests.cli.calls import settle, transfer
from tests.cli.conftest import Run
from tests.payouts.files import DEPOSIT, IBAN, WALLET_NAMES, row, table, wallet_row, write_csv, write_xlsx

Pay = Callable[..., Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Five salaries."""
    return write_csv(tmp_path / "حقوق.csv", table([row(number) for number in range(1, 6)]))


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "payouts.db")


@pytest.fixture
def quick(sandbox: Sandbox) -> Sandbox:
    """A sandbox whose bank decides at once, and which forgives no repetition."""
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


def counts(sandbox: Sandbox) -> dict[str, int]:
    return {track_id: line.count for track_id, line in sandbox.ledger.items()}


PAID_ONCE = {f"t-{number}": 1 for number in range(1, 6)}


@pytest.fixture
def pay(run: Run, ledger: str) -> Pay:
    def pay(file: Path, *more: str) -> Any:
        return run("payout", "run", str(file), "--ledger", ledger, "--yes", *more)

    return pay


def test_a_plan_says_count_and_total_in_both_units(file: Path, run: Run) -> None:
    ran = run("payout", "plan", str(file))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == ("حقوق.csv, rows 2 to 6\n5 transfers from deposit accounts: 5,000,150 Rial = 500,015 Toman\n")


def test_a_plan_names_every_bad_row(tmp_path: Path, run: Run) -> None:
    rows = [row(1), row(2, amount="1.5"), row(3, destination_account=IBAN[:-1] + "9", track_id="t-1")]
    ran = run("payout", "plan", str(write_csv(tmp_path / "a.csv", table(rows))))
    assert ran.status == 2
    assert ran.out.splitlines()[0].startswith("row 3, amount: expected whole Rial")
    assert ran.out.splitlines()[1].startswith("row 4, destination_account: expected an IBAN whose check digits fit")
    assert "2 rows are not in order, 1 are" in ran.out


def test_a_plan_says_what_is_on_record(file: Path, run: Run, ledger: str, pay: Pay, quick: Sandbox) -> None:
    assert "is not on record" in run("payout", "plan", str(file), "--ledger", ledger).err
    pay(file)
    assert "5 of 5 are decided, 5 have arrived" in run("payout", "plan", str(file), "--ledger", ledger).err
    assert len(quick.ledger) == 5


def test_every_row_that_succeeds_is_status_0(file: Path, pay: Pay, quick: Sandbox) -> None:
    ran = pay(file, "--chunk", "2", "--concurrency", "2", "--quiet-window", "1")
    assert ran.status == 0, ran
    assert ran.err == ("حقوق.csv, rows 2 to 6\n5 transfers from deposit accounts: 5,000,150 Rial = 500,015 Toman\n")
    assert re.search(r"success +5 +5,000,150 +arrived", ran.out)
    assert counts(quick) == PAID_ONCE
    assert {line.amount for line in quick.ledger.values()} == {1_000_000 + 10 * number for number in range(1, 6)}


def test_a_workbook_is_paid_too(tmp_path: Path, pay: Pay, quick: Sandbox) -> None:
    rows = [row(number, amount=1_000_000 + 10 * number) for number in range(1, 6)]
    assert pay(write_xlsx(tmp_path / "a.xlsx", table(rows))).status == 0
    assert counts(quick) == PAID_ONCE


def test_run_sheet_chooses_among_sheets_with_transfers(tmp_path: Path, run: Run, pay: Pay, quick: Sandbox) -> None:
    file = write_xlsx(tmp_path / "a.xlsx", table([row(9)]))
    book = openpyxl.load_workbook(file)
    salaries = book.create_sheet("حقوق")
    for cells in table([row(number) for number in range(1, 6)]):
        salaries.append(list(cells))
    book.save(file)

    assert pay(file).status == 2
    assert "حقوق" in run("payout", "plan", str(file), "--sheet", "حقوق").out
    assert pay(file, "--sheet", "حقوق").status == 0
    assert counts(quick) == PAID_ONCE


def test_the_wallet_pays_where_the_columns_are_its_own(tmp_path: Path, pay: Pay, quick: Sandbox) -> None:
    file = write_csv(tmp_path / "a.csv", table([wallet_row(1), wallet_row(2)], WALLET_NAMES))
    ran = pay(file)
    assert (ran.status, "from the wallet" in ran.err) == (0, True), ran
    assert counts(quick) == {"w-1": 1, "w-2": 1}


def test_run_again_it_pays_nothing_again(file: Path, pay: Pay, quick: Sandbox) -> None:
    pay(file)
    ran = pay(file)
    assert ran.status == 0
    assert "5 of 5 are decided" in ran.err
    assert counts(quick) == PAID_ONCE


def test_under_another_name_the_same_rows_are_the_same_transfers(
    file: Path, pay: Pay, quick: Sandbox, tmp_path: Path
) -> None:
    pay(file)
    assert pay(file.rename(tmp_path / "other.csv")).status == 0
    assert counts(quick) == PAID_ONCE


def test_a_file_that_was_changed_meanwhile_is_refused_and_nothing_is_sent(file: Path, pay: Pay, quick: Sandbox) -> None:
    quick.fail("transfers.settle", "funds")
    assert pay(file, "--quiet-window", "1").status == 3
    quick.heal()
    same_sums = [row(number) for number in range(1, 5)] + [row(5, destination_lastname="رضایی")]
    for rows in (same_sums, [row(number) for number in range(1, 7)], [row(1)]):
        write_csv(file, table(rows))
        ran = pay(file)
        assert ran.status == 2
        assert "expected the 5 transfers of 5,000,150 Rial submitted under this name on 20" in ran.err
        assert "nothing of it was sent; put the file back as it was" in ran.err
        assert not quick.ledger


def test_other_rows_may_have_a_name_of_their_own(file: Path, pay: Pay, quick: Sandbox) -> None:
    pay(file)
    write_csv(file, table([row(6)]))
    assert pay(file, "--batch", "december").status == 0
    assert counts(quick) == PAID_ONCE | {"t-6": 1}


def test_a_track_id_with_other_contents_is_refused(file: Path, pay: Pay, quick: Sandbox, tmp_path: Path) -> None:
    pay(file)
    ran = pay(write_csv(tmp_path / "b.csv", table([row(9), row(1, amount="7")])))
    assert ran.status in (1, 2)
    assert "on record with other contents: 't-1'" in ran.err
    assert counts(quick) == PAID_ONCE


def test_rows_that_failed_are_status_1(tmp_path: Path, pay: Pay, quick: Sandbox) -> None:
    ran = pay(write_csv(tmp_path / "a.csv", table([row(1), row(2, amount="10999")])))
    assert ran.status == 1
    assert re.search(r"failed +1 +10,999 +no money moved", ran.out)


def test_without_money_it_is_status_3_and_goes_on_after_a_top_up(file: Path, pay: Pay, quick: Sandbox) -> None:
    quick.fail("transfers.settle", "funds", times=1)
    ran = pay(file, "--quiet-window", "1")  # a refused call of several is looked up a tenth of it later
    assert ran.status == 3
    assert re.search(r"paused_funds +5", ran.out)
    assert "5 transfers not sent for lack of money: top up 5,000,150 Rial = 500,015 Toman, then run it again" in ran.err
    assert not quick.ledger
    assert pay(file).status == 0
    assert counts(quick) == PAID_ONCE


def test_an_account_that_is_refused_is_status_3_and_goes_on_when_mended(file: Path, pay: Pay, quick: Sandbox) -> None:
    quick.fail("transfers.settle", "ip", times=1)
    ran = pay(file, "--quiet-window", "1")
    assert ran.status == 3, ran
    assert "paystar: payouts_halted: bank " in ran.err  # above the bar, as all that is said
    assert "paystar payout run" in ran.err
    assert pay(file).status == 0
    assert counts(quick) == PAID_ONCE


def test_what_the_bank_does_not_know_waits_for_review_and_is_resolved(
    file: Path, pay: Pay, run: Run, quick: Sandbox, ledger: str
) -> None:
    quick.fail("transfers.settle", "reset_before", times=1)
    ran = pay(file, "--chunk", "2", "--quiet-window", "0.2")
    assert ran.status == 3, ran
    assert "2 transfers to look at: paystar payout review" in ran.err
    assert len(quick.ledger) == 3

    review = ("payout", "review", str(file), "--ledger", ledger)
    ran = run(*review)
    assert ran.status == 3
    assert re.search(r"t-1 +1,000,010 +IR\*+0001 ", ran.out)
    assert IBAN not in ran.out
    assert "--verdict success" in ran.out

    assert run(*review, "--track-id", "t-1", "--verdict", "failed", "--note", "not in the statement").status == 3
    refused = run(*review, "--track-id", "t-2", "--verdict", "resend")
    assert (refused.status, "there is nobody to ask" in refused.err) == (2, True)
    assert run(*review, "--track-id", "t-2", "--verdict", "resend", "--yes").status == 0
    assert "nothing needs review" in run(*review).out
    assert "t-2" not in quick.ledger
    assert pay(file).status == 1  # t-1 has failed
    assert counts(quick) == {"t-2": 1, "t-3": 1, "t-4": 1, "t-5": 1}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--track-id", "t-1"), "--track-id and --verdict go together"),
        (("--track-id", "t-1", "--verdict", "maybe"), "expected one of success, failed, resend, got 'maybe'"),
        (("--track-id", "t-9", "--verdict", "failed"), "expected a transfer on record, got 't-9'"),
        (
            ("--track-id", "t-1", "--verdict", "failed"),
            "expected a transfer that needs review, got 't-1', which is success",
        ),
    ],
)
def test_a_decision_that_makes_no_sense_is_status_2(
    more: tuple[str, ...], says: str, file: Path, pay: Pay, run: Run, quick: Sandbox, ledger: str
) -> None:
    pay(file)
    ran = run("payout", "review", str(file), "--ledger", ledger, *more)
    assert ran.status == 2
    assert says in ran.err


def test_status_tells_where_it_stands_and_writes_it_to_a_file(
    file: Path, pay: Pay, run: Run, quick: Sandbox, ledger: str, tmp_path: Path
) -> None:
    pay(file)
    ran = run("payout", "status", str(file), "--ledger", ledger, "--export", str(tmp_path / "out.csv"))
    assert ran.status == 0
    assert re.search(r"success +5", ran.out)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8-sig"))))
    assert [(one["number"], one["track_id"], one["state"]) for one in lines] == [
        (str(number), f"t-{number}", "success") for number in range(1, 6)
    ]
    assert DEPOSIT not in str(lines)
    assert IBAN not in str(lines)
    assert all(one["ref_code"] for one in lines)
    ran = run("payout", "status", str(file), "--ledger", ledger, "--export", str(tmp_path / "none" / "out.csv"))
    assert ran.status == 2


def test_reconcile_agrees_and_finds_what_somebody_else_paid(
    file: Path, pay: Pay, run: Run, quick: Sandbox, ledger: str
) -> None:
    pay(file)
    reconcile = ("payout", "reconcile", str(file), "--ledger", ledger)
    ran = run(*reconcile)
    assert (ran.status, ran.out) == (0, "5 compared, 0 of them decided by the bank since\nboth say the same\n")
    settle(run, transfer("theirs"))
    ran = run(*reconcile, "--window", "3600")
    assert ran.status == 1
    assert "only the bank has theirs: success, 1050000 Rial" in ran.out
    quick.reset()
    ran = run(*reconcile)
    assert ran.status == 1
    assert "sent, and not on the bank's list: t-1" in ran.out


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "an empty file"),
        ("amount,deposit\n1,2\n", "destination_account is missing"),
        ("amout,deposit\n1,2\n", "did you mean amount?"),
    ],
)
def test_a_file_that_is_none_is_status_2_and_nothing_is_sent(
    content: str, says: str, tmp_path: Path, pay: Pay, quick: Sandbox
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    ran = pay(file)
    assert ran.status == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert not quick.ledger
    assert not quick.stats["requests"]


def test_one_bad_row_keeps_all_from_being_sent(tmp_path: Path, pay: Pay, quick: Sandbox) -> None:
    rows = [row(number) for number in range(1, 40)] + [row(40, amount="x")]
    ran = pay(write_csv(tmp_path / "a.csv", table(rows)))
    assert ran.status == 2
    assert "row 41, amount" in ran.err
    assert not quick.ledger


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
def test_wrong_use_is_status_2(arguments: tuple[str, ...], run: Run) -> None:
    ran = run(*arguments)
    assert ran.status == (0 if arguments == ("payout",) else 2)


def test_without_a_ledger_it_says_how_to_name_one(file: Path, run: Run) -> None:
    assert "--ledger payouts.db, or PAYSTAR_DATABASE" in run("payout", "run", str(file)).err


def test_the_environment_names_the_ledger(
    file: Path, run: Run, quick: Sandbox, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYSTAR_DATABASE", ledger)
    assert run("payout", "run", str(file), "--yes").status == 0
    assert run("payout", "status", str(file)).status == 0
    assert counts(quick) == PAID_ONCE


def test_a_batch_nobody_submitted_is_status_2(run: Run, ledger: str) -> None:
    ran = run("payout", "status", "none.csv", "--ledger", ledger)
    assert (ran.status, "expected a batch on record, got 'none.csv'" in ran.err) == (2, True)


def test_without_an_account_it_says_which_is_missing(file: Path, pay: Pay) -> None:
    ran = pay(file)
    assert ran.status == 2
    assert "PAYSTAR_APPLICATION_ID" in ran.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "status", "paid"), [("y\n", 0, 5), ("n\n", 2, 0), ("\n", 2, 0), ("", 2, 0)])
def test_at_a_terminal_it_asks_first(
    answer: str,
    status: int,
    paid: int,
    file: Path,
    run: Run,
    quick: Sandbox,
    ledger: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ran = run("payout", "run", str(file), "--ledger", ledger)
    assert (ran.status, len(quick.ledger)) == (status, paid)
    assert "Pay 5 transfers, 5,000,150 Rial = 500,015 Toman? [y/N]" in ran.err


def test_without_anybody_to_ask_nothing_is_sent(
    file: Path, run: Run, quick: Sandbox, ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ran = run("payout", "run", str(file), "--ledger", ledger)
    assert (ran.status, "--yes goes ahead without asking" in ran.err) == (2, True)
    assert not quick.ledger
