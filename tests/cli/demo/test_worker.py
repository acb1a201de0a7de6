"""The demo's worker resolves waiting transfers, and exits with the demo."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

from paystar_async import Policy
from paystar_async.cli.demo import worker
from paystar_async.cli.demo.batch import write_csv
from paystar_async.payouts import decisions
from paystar_async.sandbox import Sandbox
from tests.cli.demo.helpers import SAMPLE


@pytest.fixture
def settings(served: tuple[Sandbox, str], sandbox: Sandbox, tmp_path: Path) -> dict[str, Any]:
    write_csv(tmp_path / "batch.csv", [SAMPLE])
    credentials = asdict(sandbox.application)
    return {
        "application": {
            name: getattr(value, "reveal", lambda value=value: value)() for name, value in credentials.items()
        },
        "base_url": served[1],
        "ledger": str(tmp_path / "ledger.db"),
        "keys": str(tmp_path / "keys.db"),
        "concurrency": 4,
        "file": str(tmp_path / "batch.csv"),
    }


async def test_work_resends_transfer_not_found_at_bank(
    settings: dict[str, Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decisions, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(worker, "POLICY", Policy(chunk=5, quiet_window=0.05, resend=True))
    sandbox.fail("transfers.settle", "reset_before", times=1)

    await worker.work(settings)

    assert sandbox.ledger[SAMPLE.track_id].count == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["done"]


async def test_work_resumes_account_without_funds(
    settings: dict[str, Any], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLICY", Policy(chunk=5, quiet_window=0.05, resend=True))
    sandbox.fail("transfers.settle", "funds", times=3)  # three rounds without a change

    await worker.work(settings)

    assert sandbox.ledger[SAMPLE.track_id].count == 1


def test_worker_exits_when_stdin_closes(tmp_path: Path) -> None:
    write_csv(tmp_path / "batch.csv", [SAMPLE])
    settings = {
        "application": {"id": "app", "access_password": "canary", "api_key": "canary-key"},
        "base_url": "http://127.0.0.1:9/api",  # no server: the worker would run for ever
        "ledger": str(tmp_path / "ledger.db"),
        "keys": str(tmp_path / "keys.db"),
        "concurrency": 4,
        "file": str(tmp_path / "batch.csv"),
    }
    command = [sys.executable, "-m", "paystar_async.cli.demo.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(settings).encode() + b"\n")
        worker.stdin.close()
        try:
            assert worker.wait(timeout=30) == 1
        finally:
            worker.kill()
