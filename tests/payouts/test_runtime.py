"""Test the runtime: a client that cannot pay out names the missing setting."""

from typing import Any

import pytest

from paystar_async import Paystar
from paystar_async.errors import (
    ConfigurationError,
    InvalidValue,
)
from paystar_async.sandbox import Sandbox
from tests.payouts.sandbox_clients import Client, transfers, wallet_transfer


@pytest.mark.parametrize("method", ["submit", "batch", "batches", "recover", "pause", "resume", "review", "reconcile"])
async def test_payouts_without_database_names_setting(method: str, sandbox: Sandbox) -> None:
    async with Paystar(sandbox.application, engine=sandbox.engine()) as paystar:
        calls: dict[str, Any] = {
            "submit": lambda: paystar.payouts.submit(transfers(1), batch_id="b"),
            "batch": lambda: paystar.payouts.batch("b"),
            "reconcile": lambda: paystar.payouts.reconcile(60),
        }
        with pytest.raises(ConfigurationError, match="PAYSTAR_DATABASE"):
            await calls.get(method, lambda: getattr(paystar.payouts, method)())()
        assert (await paystar.payouts.plan(transfers(2))).total == 2_010  # which needs none


async def test_submit_without_account_names_setting(client: Client) -> None:
    async with client(application=None) as paystar:
        with pytest.raises(ConfigurationError, match="PAYSTAR_APPLICATION_ID"):
            await paystar.payouts.submit(transfers(1), batch_id="b")
    async with client(wallet=None) as paystar:
        with pytest.raises(ConfigurationError, match="PAYSTAR_WALLET_HASHID"):
            await paystar.payouts.submit([wallet_transfer()], batch_id="b")


async def test_submit_engine_without_before_send_records_nothing(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sandbox.engine()
    monkeypatch.setattr(type(engine), "supports_before_send", False)
    async with client(engine=engine) as paystar:
        with pytest.raises(ConfigurationError, match="first byte"):
            await paystar.payouts.submit(transfers(1), batch_id="b")
        with pytest.raises(InvalidValue):
            await paystar.payouts.batch("b")
