"""``paystar payments``: stored orders are shown, and a sweep verifies what was paid."""

import re
from pathlib import Path

import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.cli.helpers import start_orders


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sandbox: Sandbox) -> None:
    monkeypatch.setenv("PAYSTAR_DATABASE", str(tmp_path / "paystar.db"))


def test_find_shows_order_and_payments(run: Run, sandbox: Sandbox) -> None:
    start_orders(sandbox, "o-1")
    result = run("payments", "find", "o-1")
    assert result.status == 0
    assert result.out.splitlines()[0] == "o-1: open, 50,000 Rial = 5,000 Toman"
    assert run("payments", "sweep").status == 0
    result = run("payments", "find", "o-1")
    assert re.match(r"o-1: verified, 50,000 Rial = 5,000 Toman, verified \S+ \S+ UTC, receipt \d+\n", result.out)
    assert re.search(r"\S+ +\d{4}-\d\d-\d\d \d\d:\d\d +verified", result.out)
    assert "handlers have not been notified yet" in result.err


@pytest.mark.parametrize("order_id", ["o-9", "\x1b[2J", "6037991234567893"])
def test_find_unknown_order_is_status_2(order_id: str, run: Run) -> None:
    result = run("payments", "find", order_id)
    assert (result.status, result.out) == (2, "")
    assert "expected" in result.err
    assert "6037991234567893" not in result.err
    assert "\x1b" not in result.err


def test_list_shows_newest_first_and_totals(run: Run, sandbox: Sandbox) -> None:
    assert run("payments", "list").out == "on record: no orders\n"
    start_orders(sandbox, "o-1", "o-2", "o-3")
    result = run("payments", "list", "--limit", "2")
    assert re.findall(r"^ *(o-\d) +\d{4}-\S+ \S+ +50,000 +open", result.out, re.MULTILINE) == ["o-3", "o-2"]
    assert result.out.splitlines()[-1] == "on record: 3 open"
    assert run("payments", "list", "--state", "verified").out == "on record: 3 open\n"


def test_sweep_verifies_paid_and_keeps_unpaid_open(run: Run, sandbox: Sandbox) -> None:
    start_orders(sandbox, "o-1")
    start_orders(sandbox, "o-2", paid=False)
    result = run("payments", "sweep")
    assert (result.status, result.out) == (0, "o-1: Verified, 50,000 Rial = 5,000 Toman\n1 Verified\n")
    assert run("payments", "sweep").out == "nothing was decided\n"
    assert run("payments", "list").out.splitlines()[-1] == "on record: 1 open, 1 verified"


def test_list_without_database_names_the_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYSTAR_DATABASE")
    result = run("payments", "list")
    assert (result.status, "--database paystar.db, or PAYSTAR_DATABASE" in result.err) == (2, True)


@pytest.mark.parametrize("options", [("--state", "paid"), ("--limit", "0"), ("--limit", "many")])
def test_list_invalid_option_is_status_2(options: tuple[str, ...], run: Run) -> None:
    result = run("payments", "list", *options)
    assert (result.status, result.err.count("\n")) == (2, 1)
