"""``--json``: what each command prints has the shape that the guide ``docs/cli.md`` shows."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paystar_async.cli.json_output import timestamp
from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.cli.helpers import settle, start_orders, transfer
from tests.payouts.files import DEPOSIT, IBAN, WALLET_NAMES, row, table, wallet_row, write_csv, write_xlsx
from tests.project.guides import DOCS

GUIDE = "\n".join((DOCS / f"{name}.md").read_text("utf-8") for name in ("cli", "conform", "sandbox"))
SHAPES: dict[str, Any] = {
    command: json.loads(block)
    for headings, block in re.findall(r"^### (.+?)\n.*?^```json\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    for command in headings.split(", ")
}
"""The JSON that the guide shows, by command."""
SHAPES["call"]["status"] = None  # a number or a text
IS_TIME = re.compile(r"\d{4}-\d\d-\d\dT")

Ask = Callable[..., Any]


def check_shape(value: Any, shape: Any, path: str = "$") -> None:
    """Fail if a value has other keys or types than the guide's example; lists and flags may not be null."""
    kind, actual = type(shape).__name__, type(value).__name__
    if kind == "dict" and shape:
        if value is None:
            assert path != "$"
            return
        assert set(value) == set(shape), path
        for key, item in value.items():
            check_shape(item, shape[key], f"{path}.{key}")
    elif kind == "list" and shape:
        assert actual == kind, path
        for number, item in enumerate(value):
            check_shape(item, shape[0], f"{path}[{number}]")
    elif kind in ("str", "int"):
        assert value is None or actual == kind, path
        if value is not None and IS_TIME.match(str(shape)):
            assert datetime.fromisoformat(value).utcoffset() == timedelta(0), path
    elif shape is not None:
        assert actual == kind, path


@pytest.fixture
def bank(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox whose bank decides at once."""
    monkeypatch.setattr(sandbox.settings, "settle_seconds", 0.0)
    return sandbox


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "salaries.csv", table([row(number) for number in range(1, 4)]))


@pytest.fixture
def run_json(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return a function that runs a command with ``--json`` and returns what it printed, its shape checked."""
    monkeypatch.setenv("PAYSTAR_DATABASE", str(tmp_path / "paystar.db"))

    def run_json(*command: str, status: int = 0) -> Any:
        result = run(*command, "--json")
        assert result.status == status, result
        value = json.loads(result.out)
        name = " ".join(command[: 1 if command[0] in SHAPES else 2])
        check_shape(value, SHAPES[name])
        assert not [number for number in (DEPOSIT, IBAN) if number in result.out]
        return value

    return run_json


def test_plan_json_lists_errors_and_recorded_batch(tmp_path: Path, run_json: Ask, file: Path, bank: Sandbox) -> None:
    rows = [row(1, amount=1_000_000), row(2, amount="1.5")]
    plan = run_json("payout", "plan", str(write_xlsx(tmp_path / "a.xlsx", table(rows))), status=2)
    assert (plan["file"], plan["sheet"], plan["first_row"], plan["last_row"]) == ("a.xlsx", "Sheet", 2, 3)
    assert (plan["ok"], plan["count"], plan["amount"], plan["on_record"]) == (False, 1, 1_000_000, None)
    (error,) = plan["errors"]
    assert (error["row"], error["field"]) == (3, "amount")
    assert "whole Rial" in error["reason"]

    ledger = ("--ledger", str(tmp_path / "paystar.db"))
    assert run_json("payout", "plan", str(file), *ledger)["on_record"] is None
    recorded = run_json("payout", "run", str(file), "--yes")
    assert run_json("payout", "plan", str(file), *ledger)["on_record"] == recorded


def test_run_and_status_json_show_batch_by_state(file: Path, run_json: Ask, run: Run, bank: Sandbox) -> None:
    batch = run_json("payout", "run", str(file), "--yes")
    assert (batch["batch_id"], batch["count"], batch["amount"], batch["done"]) == ("salaries.csv", 3, 3_000_060, True)
    assert batch["states"]["success"] == {"count": 3, "amount": 3_000_060}
    assert run_json("payout", "status", str(file)) == batch
    assert run("payout", "status", "none.csv", "--json").out == ""


def test_run_json_of_wallet_names_product(tmp_path: Path, run_json: Ask, bank: Sandbox) -> None:
    file = write_csv(tmp_path / "w.csv", table([wallet_row(1)], WALLET_NAMES))
    assert run_json("payout", "run", str(file), "--yes")["product"] == "wallet"
    assert run_json("payout", "history", "w-1")["transfer"]["deposit"] is None


def test_review_and_resolve_json_show_transfers(file: Path, run_json: Ask, bank: Sandbox) -> None:
    bank.fail("transfers.settle", "reset_before", times=1)
    run_json("payout", "run", str(file), "--yes", "--chunk", "2", "--quiet-window", "0.2", status=3)
    review = run_json("payout", "review", str(file), status=3)
    for shown in review["transfers"]:
        check_shape(shown, SHAPES["payout resolve"])
    assert [shown["track_id"] for shown in review["transfers"]] == ["t-1", "t-2"]
    decided = run_json("payout", "resolve", "t-1", "--verdict", "failed", "--note", "not in the statement", "--yes")
    assert (decided["track_id"], decided["state"], decided["amount"]) == ("t-1", "failed", 1_000_010)

    history = run_json("payout", "history", "t-1")
    assert history["transfer"] == decided
    first, *_, last = history["events"]
    assert (first["before"], first["after"]) == (None, "planned")
    assert (last["before"], last["after"], last["cause"]) == ("needs_review", "failed", "resolve")


def test_list_json_shows_batches_and_holds(file: Path, run_json: Ask, bank: Sandbox) -> None:
    assert run_json("payout", "list") == {"batches": [], "holds": []}
    batch = run_json("payout", "run", str(file), "--yes")
    paused = run_json("payout", "pause", "--deposit", DEPOSIT)
    listed = run_json("payout", "list")
    assert listed["batches"] == [batch]
    assert listed["holds"] == paused["holds"]
    assert [(hold["product"], hold["paused"]) for hold in listed["holds"]] == [("bank", True)]
    assert run_json("payout", "resume", "--yes") == {"resumed": 0, "holds": []}


def test_reconcile_json_lists_differences(file: Path, run_json: Ask, run: Run, bank: Sandbox) -> None:
    run_json("payout", "run", str(file), "--yes")
    assert run_json("payout", "reconcile", str(file))["ok"] is True
    settle(run, transfer("foreign"))
    difference = run_json("payout", "reconcile", str(file), "--window", "3600", status=1)
    assert (difference["ok"], difference["compared"]) == (False, 3)
    assert [(orphan["track_id"], orphan["amount"]) for orphan in difference["orphans"]] == [("foreign", 1_050_000)]
    bank.reset()
    assert run_json("payout", "reconcile", str(file), status=1)["missing"] == ["t-1", "t-2", "t-3"]


def test_payments_json_shows_orders(run_json: Ask, run: Run, sandbox: Sandbox) -> None:
    assert run_json("payments", "list")["orders"] == []
    start_orders(sandbox, "o-1")
    order = run_json("payments", "find", "o-1")
    assert (order["state"], order["amount"]) == ("open", 50_000)
    assert (order["verified_at"], order["tracking_code"]) == (None, None)

    (payment,) = run_json("payments", "sweep")["decided"]
    assert (payment["order_id"], payment["outcome"], payment["reason"]) == ("o-1", "verified", None)
    order = run_json("payments", "find", "o-1")
    assert (order["state"], order["ref_num"]) == ("verified", payment["ref_num"])
    assert [attempt["state"] for attempt in order["payments"]] == ["verified"]
    assert "*" in order["card_number"]
    assert order["tracking_code"]
    listed = run_json("payments", "list")
    assert listed["orders"] == [order]
    assert listed["totals"]["verified"] == 1
    assert run("payments", "find", "o-9", "--json").out == ""


def test_doctor_json_lists_variables_and_checks(
    run_json: Ask, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "timeout").write_text("5")
    monkeypatch.setenv("PAYSTAR_TIMEOUT_FILE", str(tmp_path / "timeout"))
    result = run_json("doctor")
    assert result["ok"] is True
    checks = {check["name"]: check["result"] for check in result["checks"]}
    assert (checks["reachable"], checks["application"]) == ("ok", "ok")
    variables = {variable.pop("name"): variable for variable in result["variables"]}
    assert variables["PAYSTAR_TIMEOUT"] == {
        "is_set": True,
        "value": None,
        "source": "file",
        "file": str(tmp_path / "timeout"),
    }
    secret = {"is_set": True, "value": None, "source": "environment", "file": None}
    assert variables["PAYSTAR_ACCESS_PASSWORD"] == secret
    assert variables["PAYSTAR_CONCURRENCY"] == {"is_set": False, "value": None, "source": None, "file": None}
    monkeypatch.setenv("PAYSTAR_ACCESS_PASSWORD", "wrong")
    assert run_json("doctor", status=1)["ok"] is False


@pytest.mark.usefixtures("bank")
def test_json_is_all_a_process_writes_to_stdout(file: Path) -> None:
    command = [sys.executable, "-m", "paystar_async", "payout", "run", str(file), "--yes", "--json"]
    ledger = ["--ledger", str(file.with_suffix(".db"))]
    process = subprocess.run([*command, *ledger], capture_output=True, check=True, timeout=60)
    check_shape(json.loads(process.stdout), SHAPES["payout run"])
    assert b"3 transfers" in process.stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, None), (0.0, "1970-01-01T00:00:00.000+00:00"), (1.5, "1970-01-01T00:00:01.500+00:00")]
)
def test_timestamp_is_iso_8601_in_utc(seconds: float | None, text: str | None) -> None:
    assert timestamp(seconds) == text
