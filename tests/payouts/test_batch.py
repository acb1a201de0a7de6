"""Test batches: outcomes, waiting and export."""

import asyncio
import csv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from paystar_async.errors import (
    InvalidValue,
    NotSent,
)
from paystar_async.outcomes import Failed, Succeeded
from paystar_async.payouts.models import TransferState
from paystar_async.sandbox import Sandbox
from tests.payouts.files import DEPOSIT, IBAN
from tests.payouts.sandbox_clients import QUICK, Client, transfer, transfers


async def test_outcomes_yields_each_transfer_once(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(7), batch_id="b", policy=QUICK)
        assert (batch.id, batch.count, batch.amount, batch.product) == ("b", 7, 7_210, "bank")
        assert (batch.policy, repr(batch)) == (QUICK, "Batch('b', 7 transfers, 7,210 Rial)")
        outcomes = [outcome async for outcome in batch.outcomes()]
    assert {type(outcome) for outcome in outcomes} == {Succeeded}
    assert sorted(outcome.track_id for outcome in outcomes) == [f"t-{number}" for number in range(7)]
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_outcomes_rejected_transfer_fails_alone(client: Client) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit([transfer(1), transfer(2, amount=10_999), transfer(3)], batch_id="b")
        outcomes = {outcome.track_id: outcome async for outcome in batch.outcomes()}
        report = await batch.report()
    assert isinstance(outcomes["t-2"], Failed)
    assert (report.succeeded.count, report.failed.count, report.done) == (2, 1, True)
    assert str(report) == "b: 1 failed (10,999 Rial), 2 success (2,040 Rial)"


async def test_outcomes_leaving_loop_keeps_paying(client: Client) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(20), batch_id="b", policy=QUICK)
        async for _ in batch.outcomes():
            break
        assert (await batch.wait()).succeeded.count == 20


async def test_wait_timeout_returns_report(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="b")
        report = await batch.wait(timeout=0.3)
        assert (report.done, report.under_way.count, report.total.amount) == (False, 2, 2_010)
        with pytest.raises(InvalidValue, match="timeout"):
            await batch.wait(timeout=0)


async def test_wait_closed_client_raises_not_sent(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    paystar = client()
    batch = await paystar.payouts.submit(transfers(2), batch_id="b")
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(batch.wait()),
        asyncio.create_task(collect(batch.outcomes())),
    ]
    await asyncio.sleep(0)
    await paystar.aclose()
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, NotSent)
        assert "payouts.recover()" in str(ended)
    sandbox.settings.settle_seconds = 0.0  # for transfers that were not sent yet
    sandbox.advance(7200)
    async with paystar:
        assert (await (await paystar.payouts.batch("b")).wait()).succeeded.count == 2


async def collect(outcomes: AsyncIterator[Any]) -> list[Any]:
    return [outcome async for outcome in outcomes]


def test_outcomes_on_trio_yields_all(client: Client, sandbox: Sandbox) -> None:
    async def run() -> int:
        async with client() as paystar:
            batch = await paystar.payouts.submit(transfers(5), batch_id="b", policy=QUICK)
            return len([outcome async for outcome in batch.outcomes()])

    assert anyio.run(run, backend="trio") == 5
    assert {line.count for line in sandbox.ledger.values()} == {1}


async def test_export_escapes_formulas_and_masks_accounts(client: Client, tmp_path: Path) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit([transfer(1, track_id="=1+1"), transfer(2)], batch_id="b")
        await batch.wait()
        await batch.export(tmp_path / "out.csv")
        assert [record.track_id async for record in batch.transfers(TransferState.SUCCESS)] == ["=1+1", "t-2"]
        assert [record.track_id async for record in batch.transfers(TransferState.FAILED)] == []
    text = (tmp_path / "out.csv").read_text("utf-8-sig")
    [first, second] = csv.DictReader(text.splitlines())
    assert (first["track_id"], first["amount"], first["state"]) == ("'=1+1", "1010", "success")
    assert (second["number"], second["deposit"], second["destination"][-4:]) == ("2", "*********6789", "0001")
    assert DEPOSIT not in text
    assert IBAN not in text
