"""A client over each engine, against the sandbox."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from paystar_async import Paystar
from paystar_async.errors import ConfigurationError, NoResponse
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running
from tests.support import transfer

each_engine = pytest.mark.parametrize("engine", ["auto", "native", "httpx", "httpx2", "aiohttp"])


@pytest.fixture(scope="module")
def sandbox_server() -> Iterator[tuple[Sandbox, str]]:
    """Return a sandbox on a loopback port, and its base URL."""
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        yield sandbox, base_url


def client(sandbox_server: tuple[Sandbox, str], engine: Any, **options: Any) -> Paystar:
    sandbox, base_url = sandbox_server
    return Paystar(application=sandbox.application, base_url=base_url, engine=engine, **options)


@each_engine
def test_client_works_in_successive_loops(sandbox_server: tuple[Sandbox, str], engine: str) -> None:
    paystar = client(sandbox_server, engine)

    async def call() -> str:
        async with paystar:
            return (await paystar.inquiry.iban(iban="IR570790000000850774361353")).iban or ""

    assert asyncio.run(call()) == asyncio.run(call()) == "IR570790000000850774361353"


@each_engine
async def test_settle_lost_response_is_sent_once(sandbox_server: tuple[Sandbox, str], engine: str) -> None:
    sandbox, _ = sandbox_server
    sandbox.fail("transfers.settle", "reset_after", times=1)

    async with client(sandbox_server, engine) as paystar:
        with pytest.raises(NoResponse) as caught:
            await paystar.transfers.settle(transfers=[transfer(f"lost-{engine}")])
        settlements = await paystar.transfers.find(track_id=f"lost-{engine}")

    assert caught.value.executed == "maybe"
    assert [settlement.track_id for settlement in settlements] == [f"lost-{engine}"]
    assert sandbox.ledger[f"lost-{engine}"].count == 1


async def test_aclose_leaves_handed_in_session_open(sandbox_server: tuple[Sandbox, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with client(sandbox_server, session) as paystar:
            await paystar.inquiry.iban(iban="IR570790000000850774361353")
        assert not session.closed


async def test_submit_refuses_engine_without_before_send(sandbox_server: tuple[Sandbox, str], tmp_path: Path) -> None:
    sandbox, _ = sandbox_server

    async with (
        aiohttp.ClientSession() as session,
        client(sandbox_server, session, database=tmp_path / "paystar.db") as paystar,
    ):
        with pytest.raises(ConfigurationError, match="auto"):
            await paystar.payouts.submit([transfer("unfenced")], batch_id="b-1")

    assert "unfenced" not in sandbox.ledger
