"""A client over each engine: what a user sees of the choice."""

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
def served() -> Iterator[tuple[Sandbox, str]]:
    """A sandbox on a loopback port, and where."""
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        yield sandbox, base_url


def client(served: tuple[Sandbox, str], engine: Any, **options: Any) -> Paystar:
    sandbox, base_url = served
    return Paystar(application=sandbox.application, base_url=base_url, engine=engine, **options)


@each_engine
def test_a_client_serves_one_loop_after_the_other(served: tuple[Sandbox, str], engine: str) -> None:
    paystar = client(served, engine)

    async def call() -> str:
        async with paystar:
            return (await paystar.inquiry.iban(iban="IR570790000000850774361353")).iban or ""

    assert asyncio.run(call()) == asyncio.run(call()) == "IR570790000000850774361353"


@each_engine
async def test_a_transfer_whose_answer_is_lost_is_sent_once(served: tuple[Sandbox, str], engine: str) -> None:
    sandbox, _ = served
    sandbox.fail("transfers.settle", "reset_after", times=1)

    async with client(served, engine) as paystar:
        with pytest.raises(NoResponse) as caught:
            await paystar.transfers.settle(transfers=[transfer(f"lost-{engine}")])
        found = await paystar.transfers.find(track_id=f"lost-{engine}")

    assert caught.value.executed == "maybe"
    assert [one.track_id for one in found] == [f"lost-{engine}"]
    assert sandbox.ledger[f"lost-{engine}"].count == 1


async def test_a_session_that_is_handed_in_is_open_when_the_client_is_closed(served: tuple[Sandbox, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with client(served, session) as paystar:
            await paystar.inquiry.iban(iban="IR570790000000850774361353")
        assert not session.closed


async def test_payouts_refuse_an_engine_that_cannot_fence_before_anything_is_planned(
    served: tuple[Sandbox, str], tmp_path: Path
) -> None:
    sandbox, _ = served

    async with (
        aiohttp.ClientSession() as session,
        client(served, session, database=tmp_path / "paystar.db") as paystar,
    ):
        with pytest.raises(ConfigurationError, match="auto"):
            await paystar.payouts.submit([transfer("unfenced")], batch_id="b-1")

    assert "unfenced" not in sandbox.ledger
