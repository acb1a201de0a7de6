"""A sandbox on another address: reached over plain http with its own credentials, and with no others."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from paystar_async import Paystar, WalletTransfer
from paystar_async.errors import ConfigurationError, PaystarError
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.payments import Callback, Verified
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import serve
from paystar_async.transport.factory import EngineName

HOST, OTHER_HOST = "127.0.0.2", "127.0.0.3"  # not the loopback names for which plain http is always allowed
ENGINES: tuple[EngineName, ...] = ("native", "httpx", "httpx2", "aiohttp")
REAL = "real-canary"


@pytest.fixture
async def sandbox() -> Sandbox:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    return sandbox


@pytest.fixture
async def base_url(sandbox: Sandbox) -> AsyncIterator[str]:
    ports: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(serve(sandbox, host=HOST, allow_host=HOST, ready=ports.put_nowait))
    yield f"http://{HOST}:{await ports.get()}/api"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def engine() -> EngineName:
    """Return the engine of ``client``; tests override it."""
    return "auto"


@pytest.fixture
async def client(sandbox: Sandbox, base_url: str, tmp_path: Path, engine: EngineName) -> AsyncIterator[Paystar]:
    async with Paystar(
        sandbox.application,
        sandbox.gateway,
        sandbox.wallet,
        base_url=base_url,
        engine=engine,
        database=tmp_path / "paystar.db",
        max_retries=0,
    ) as client:
        yield client


@pytest.mark.parametrize("engine", ENGINES)
async def test_remote_sandbox_serves_payment_payout_and_refresh(client: Paystar, sandbox: Sandbox) -> None:
    started = await client.payments.start(amount=50_000, order_id="1", callback="https://shop.example/back")
    assert started.url.startswith(f"http://{HOST}:")
    payment = await client.payments.confirm(Callback.parse(sandbox.pay(started.url)))
    assert isinstance(payment.outcome, Verified)

    for number in range(2):
        transfer = WalletTransfer(
            amount=50_000,
            destination_number=sandbox.people[0].iban,
            destination_firstname="Ali",
            destination_lastname="Ahmadi",
            track_id=f"t-{number}",
        )
        await client.wallet.settle(transfers=[transfer])
        sandbox.advance(86_400)  # the key expires; the refreshed pair carries the mark too
    assert sandbox.stats["refreshes"]["wallet"] == 1
    assert {line.count for line in sandbox.ledger.values()} == {1}


@pytest.mark.parametrize("engine", ENGINES)
async def test_remote_sandbox_never_gets_replaced_real_key(sandbox: Sandbox, base_url: str, engine: EngineName) -> None:
    async with Paystar(wallet=sandbox.wallet, base_url=base_url, engine=engine) as client:
        await client.keys.replace("inquiry", token=REAL, refresh_token=REAL)
        for call in (client.wallet.balance, client.keys.refresh_inquiry_key):
            with pytest.raises(ConfigurationError, match="of a real account") as raised:
                await call()
            assert raised.value.executed == "no"
            assert REAL not in str(raised.value)
    assert sandbox.stats["requests"] == {}


async def test_remote_sandbox_never_gets_real_key_of_store(sandbox: Sandbox, base_url: str) -> None:
    store = MemoryKeyStore()
    async with Paystar(wallet=sandbox.wallet, base_url="https://core.paystar.ir/api", keys=store) as live:
        await live.keys.replace("wallet", token=REAL, refresh_token=REAL)
    async with Paystar(wallet=sandbox.wallet, base_url=base_url, keys=store) as client:
        with pytest.raises(ConfigurationError, match="of a real account"):
            await client.keys.refresh_wallet_key()
    assert sandbox.stats["requests"] == {}


async def test_remote_sandbox_issued_unmarked_key_is_refused(
    client: Paystar, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attacker on the network responds to a refresh with a key of their own."""

    def make_token(kind: str) -> str:
        return f"sandbox-{kind}-{'0' * 40}"

    monkeypatch.setattr(sandbox.bank.keys, "_make_token", make_token)
    await client.keys.refresh_inquiry_key()
    with pytest.raises(ConfigurationError, match="of a real account"):
        await client.wallet.balance()
    assert "wallet.balance" not in sandbox.stats["requests"]


@asynccontextmanager
async def listening(host: str, response: str) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Answer every request on a host with one response; yield the port and what was received."""
    received: list[bytes] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(response.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(respond, host, 0) as server:
        yield server.sockets[0].getsockname()[1], received


@pytest.mark.parametrize("engine", [*ENGINES, "client that follows"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_remote_sandbox_redirect_is_not_followed(sandbox: Sandbox, engine: EngineName, status: int) -> None:
    async with AsyncExitStack() as stack:
        other_port, stolen = await stack.enter_async_context(listening(OTHER_HOST, "HTTP/1.1 200 OK\r\n\r\n"))
        location = f"http://{OTHER_HOST}:{other_port}/api/wallet/balance"
        redirect = f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        port, received = await stack.enter_async_context(listening(HOST, redirect))
        http = await stack.enter_async_context(httpx.AsyncClient(follow_redirects=True, trust_env=False))
        client = Paystar(
            wallet=sandbox.wallet,
            base_url=f"http://{HOST}:{port}/api",
            engine=http if engine not in ENGINES else engine,
            max_retries=0,
        )
        await stack.enter_async_context(client)
        with pytest.raises(PaystarError):
            await client.wallet.balance()
    assert len(received) == 1
    assert stolen == []
