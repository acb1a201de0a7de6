"""The sandbox as a server, over TCP connections."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.sandbox.server import running, serve
from tests.sandbox.raw_client import RawClient, envelope


@pytest.fixture(scope="module")
def running_sandbox() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        yield sandbox, base_url


@pytest.fixture
def sandbox(running_sandbox: tuple[Sandbox, str]) -> Sandbox:
    running_sandbox[0].reset()
    return running_sandbox[0]


@pytest.fixture
def base_url(running_sandbox: tuple[Sandbox, str]) -> str:
    return running_sandbox[1]


@pytest.fixture
async def raw_client(sandbox: Sandbox, base_url: str) -> AsyncIterator[RawClient]:
    raw_client = RawClient(sandbox)
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as raw_client.http:
        yield raw_client


async def test_running_serves_the_same_sandbox(raw_client: RawClient, sandbox: Sandbox) -> None:
    await raw_client.settle(raw_client.transfer("t"))
    assert sandbox.ledger["t"].count == 1
    created = await raw_client.create_payment()
    response = await raw_client.http.post("/pardakht/payment/", data={"token": created["token"], "choice": "pay"})
    assert response.status_code == 303
    assert "server" not in response.headers
    callback = dict(httpx.URL(response.headers["location"]).params)
    assert (await raw_client.verify(callback))["status"] == 1


@pytest.mark.parametrize("kind", [FaultKind.REFUSED, FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER])
async def test_reset_fault_is_a_tcp_reset(raw_client: RawClient, sandbox: Sandbox, kind: FaultKind) -> None:
    await raw_client.data("wallet.balance")
    sandbox.fail("transfers.settle", kind, times=1)
    with pytest.raises(httpx.ReadError):  # a closed connection raises RemoteProtocolError
        await raw_client.settle(raw_client.transfer("t"))
    assert bool(sandbox.ledger) is (kind is FaultKind.RESET_AFTER)
    await raw_client.settle(raw_client.transfer("t"))
    assert sandbox.ledger["t"].count == 1


async def test_latency_over_client_timeout_executes_call(raw_client: RawClient, sandbox: Sandbox) -> None:
    sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=0.3)
    raw_client.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        await raw_client.settle(raw_client.transfer("t"))
    assert not sandbox.ledger
    await asyncio.sleep(0.4)
    assert sandbox.ledger["t"].count == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:99"])
async def test_host_guard_accepts_loopback_names(raw_client: RawClient, host: str) -> None:
    response = await raw_client.http.get("/../_sandbox/stats", headers={"host": host})
    assert response.status_code == 200


@pytest.mark.parametrize("host", ["shop.example", "127.0.0.1.shop.example", "localhost.shop.example:80", "[::2]", ""])
async def test_host_guard_refuses_other_hosts(raw_client: RawClient, sandbox: Sandbox, host: str) -> None:
    for path in ("/../_sandbox/accounts", "/pardakht/payment?token=x"):
        response = await raw_client.http.get(path, headers={"host": host})
        assert response.status_code == 403
        assert sandbox.application.id not in response.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example:80"])
async def test_host_guard_cross_origin_may_only_post_payment_page(
    raw_client: RawClient, sandbox: Sandbox, origin: str
) -> None:
    control = await raw_client.http.post("/../_sandbox/reset", headers={"origin": origin, "content-type": "text/plain"})
    payment = await raw_client.http.post("/pardakht/payment", headers={"origin": origin}, data={"token": "x"})

    assert control.status_code == 403
    assert payment.status_code != 403


async def test_host_guard_accepts_own_origin(raw_client: RawClient) -> None:
    response = await raw_client.http.get("/../_sandbox/stats", headers={"origin": "http://localhost:8000"})
    assert response.status_code == 200


async def test_serve_allow_host_is_served(sandbox: Sandbox) -> None:
    ports: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(serve(sandbox, host="0.0.0.0", allow_host="Shop.example", ready=ports.put_nowait))
    port = await ports.get()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        responses = [
            await http.get("/_sandbox/stats", headers={"host": host})
            for host in (f"shop.example:{port}", "other.example", "localhost")
        ]
    assert [response.status_code for response in responses] == [200, 403, 200]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_serve_other_address_without_allow_host_raises(sandbox: Sandbox, host: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_host"):
        await serve(sandbox, host=host)


async def test_running_port_in_use_raises_with_port(sandbox: Sandbox, base_url: str) -> None:
    port = httpx.URL(base_url).port
    assert port
    with pytest.raises(ConfigurationError, match=str(port)), running(sandbox, port=port):
        pass


@pytest.mark.parametrize("port", [-1, 65_536])
async def test_serve_invalid_port_raises(sandbox: Sandbox, port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{port} is not a valid port"):
        await serve(sandbox, port=port)


@pytest.mark.parametrize("host", ["box", "Box-1.example", "192.0.2.1", "2001:db8::1"])
async def test_serve_accepts_names_and_addresses_as_allow_host(sandbox: Sandbox, host: str) -> None:
    ports: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(serve(sandbox, allow_host=host, ready=ports.put_nowait))
    assert await asyncio.wait_for(ports.get(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_running_stops_during_slow_call(sandbox: Sandbox) -> None:
    sandbox.fail(kind=FaultKind.LATENCY, seconds=600)
    with running(sandbox) as base_url, pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{base_url}/pardakht/create", json={}, timeout=0.1, trust_env=False)


async def test_payment_page_is_not_cached_and_not_counted(raw_client: RawClient) -> None:
    response = await raw_client.http.get("/pardakht/payment", params={"token": "none"})
    assert response.headers["cache-control"] == "no-store"
    assert envelope(await raw_client.http.get("/../_sandbox/stats"))["requests"] == {}


class _InterruptedServer:
    """A server that a second Ctrl-C ends: the signals are raised again inside its task."""

    should_exit = False

    async def serve(self, sockets: list[socket.socket]) -> None:
        sockets[0].close()
        raise KeyboardInterrupt


def test_serve_interrupted_twice_logs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make_server(*_: object) -> _InterruptedServer:
        return _InterruptedServer()

    monkeypatch.setattr("paystar_async.sandbox.server._make_server", make_server)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(serve(Sandbox()))
    gc.collect()  # asyncio logs an exception that nobody retrieved when its task is collected
    assert not caplog.records
