"""The sandbox as a server, over real connections."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.sandbox.server import running, serve
from tests.sandbox.merchant import Merchant, envelope


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        yield sandbox, base_url


@pytest.fixture
def sandbox(served: tuple[Sandbox, str]) -> Sandbox:
    served[0].reset()
    return served[0]


@pytest.fixture
def base_url(served: tuple[Sandbox, str]) -> str:
    return served[1]


@pytest.fixture
async def merchant(sandbox: Sandbox, base_url: str) -> AsyncIterator[Merchant]:
    merchant = Merchant(sandbox)
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as merchant.http:
        yield merchant


async def test_it_is_the_same_sandbox_over_a_connection(merchant: Merchant, sandbox: Sandbox) -> None:
    await merchant.settle(merchant.transfer("t"))
    assert sandbox.ledger["t"].count == 1
    created = await merchant.created()
    answer = await merchant.http.post("/pardakht/payment/", data={"token": created["token"], "choice": "pay"})
    assert answer.status_code == 303
    assert "server" not in answer.headers
    callback = dict(httpx.URL(answer.headers["location"]).params)
    assert (await merchant.verify(callback))["status"] == 1


@pytest.mark.parametrize("kind", [FaultKind.REFUSED, FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER])
async def test_a_reset_is_a_tcp_reset(merchant: Merchant, sandbox: Sandbox, kind: FaultKind) -> None:
    await merchant.data("wallet.balance")
    sandbox.fail("transfers.settle", kind, times=1)
    with pytest.raises(httpx.ReadError):  # a connection that is merely closed is a RemoteProtocolError
        await merchant.settle(merchant.transfer("t"))
    assert bool(sandbox.ledger) is (kind is FaultKind.RESET_AFTER)
    await merchant.settle(merchant.transfer("t"))
    assert sandbox.ledger["t"].count == 1


async def test_an_answer_that_comes_late_times_out_and_the_call_is_carried_out(
    merchant: Merchant, sandbox: Sandbox
) -> None:
    sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=0.3)
    merchant.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        await merchant.settle(merchant.transfer("t"))
    assert not sandbox.ledger
    await asyncio.sleep(0.4)
    assert sandbox.ledger["t"].count == 1


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:99"])
async def test_loopback_may_be_called_by_all_its_names(merchant: Merchant, host: str) -> None:
    answer = await merchant.http.get("/../_sandbox/stats", headers={"host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize("host", ["shop.example", "127.0.0.1.shop.example", "localhost.shop.example:80", "[::2]", ""])
async def test_another_hosts_name_is_refused(merchant: Merchant, sandbox: Sandbox, host: str) -> None:
    for path in ("/../_sandbox/accounts", "/pardakht/payment?token=x"):
        answer = await merchant.http.get(path, headers={"host": host})
        assert answer.status_code == 403
        assert sandbox.application.id not in answer.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example:80"])
async def test_a_page_elsewhere_steers_nothing_and_a_shop_may_post_to_the_payment_page(
    merchant: Merchant, sandbox: Sandbox, origin: str
) -> None:
    steered = await merchant.http.post("/../_sandbox/reset", headers={"origin": origin, "content-type": "text/plain"})
    paid = await merchant.http.post("/pardakht/payment", headers={"origin": origin}, data={"token": "x"})

    assert steered.status_code == 403
    assert paid.status_code != 403


async def test_a_page_of_the_sandbox_itself_steers_it(merchant: Merchant) -> None:
    answer = await merchant.http.get("/../_sandbox/stats", headers={"origin": "http://localhost:8000"})
    assert answer.status_code == 200


async def test_a_host_that_is_allowed_is_served(sandbox: Sandbox) -> None:
    ports: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(serve(sandbox, host="0.0.0.0", allow_host="Shop.example", ready=ports.put_nowait))
    port = await ports.get()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        answers = [
            await http.get("/_sandbox/stats", headers={"host": host})
            for host in (f"shop.example:{port}", "other.example", "localhost")
        ]
    assert [answer.status_code for answer in answers] == [200, 403, 200]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
async def test_it_listens_on_loopback_unless_a_host_is_allowed(sandbox: Sandbox, host: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_host"):
        await serve(sandbox, host=host)


async def test_a_port_in_use_is_an_error_that_says_so(sandbox: Sandbox, base_url: str) -> None:
    port = httpx.URL(base_url).port
    assert port
    with pytest.raises(ConfigurationError, match=str(port)), running(sandbox, port=port):
        pass


@pytest.mark.parametrize("port", [-1, 65_536])
async def test_a_port_that_is_none(sandbox: Sandbox, port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"no port {port}"):
        await serve(sandbox, port=port)


@pytest.mark.parametrize("host", ["box", "Box-1.example", "192.0.2.1", "2001:db8::1"])
async def test_hosts_that_can_be_allowed(sandbox: Sandbox, host: str) -> None:
    ports: asyncio.Queue[int] = asyncio.Queue()
    task = asyncio.create_task(serve(sandbox, allow_host=host, ready=ports.put_nowait))
    assert await asyncio.wait_for(ports.get(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_it_stops_while_a_call_is_under_way(sandbox: Sandbox) -> None:
    sandbox.fail(kind=FaultKind.LATENCY, seconds=600)
    with running(sandbox) as base_url, pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{base_url}/pardakht/create", json={}, timeout=0.1, trust_env=False)


async def test_pages_are_for_people_who_leave(merchant: Merchant) -> None:
    answer = await merchant.http.get("/pardakht/payment", params={"token": "none"})
    assert answer.headers["cache-control"] == "no-store"
    assert envelope(await merchant.http.get("/../_sandbox/stats"))["requests"] == {}
