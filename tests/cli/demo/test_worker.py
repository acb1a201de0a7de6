"""The demo's worker does what a person would, so that a demo ends with nothing left open."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

from paystar_async import Policy
from paystar_async.cli.demo import worker
from paystar_async.cli.demo.batch import write
from paystar_async.payouts import decide
from paystar_async.sandbox import Sandbox
from tests.cli.test_demo_process import SAMPLE


@pytest.fixture
def settings(served: tuple[Sandbox, str], sandbox: Sandbox, tmp_path: Path) -> dict[str, Any]:
    write(tmp_path / "batch.csv", [SAMPLE])
    account = asdict(sandbox.application)
    return {
        "application": {name: getattr(value, "reveal", lambda value=value: value)() for name, value in account.items()},
        "base_url": served[1],
        "ledger": str(tmp_path / "ledger.db"),
        "keys": str(tmp_path / "keys.db"),
        "concurrency": 4,
        "file": str(tmp_path / "batch.csv"),
    }


async def test_what_was_never_found_is_looked_for_and_sent_again(
    settings: dict[str, Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decide, "MOST_ATTEMPTS", 1)
    monkeypatch.setattr(worker, "POLICY", Policy(chunk=5, quiet_window=0.05, resend=True))
    sandbox.fail("transfers.settle", "reset_before", times=1)

    await worker.work(settings)

    assert sandbox.ledger[SAMPLE.track_id].count == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["done"]


async def test_an_account_that_lacks_money_is_topped_up(
    settings: dict[str, Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLICY", Policy(chunk=5, quiet_window=0.05, resend=True))
    sandbox.fail("transfers.settle", "funds", times=3)  # three times running, nothing new in between

    await worker.work(settings)

    assert sandbox.ledger[SAMPLE.track_id].count == 1
