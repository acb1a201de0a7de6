"""The connection pool: reuse of idle connections, and closing."""

import asyncio
from typing import Any

import pytest

from paystar_async.errors import NoResponse, NotSent
from paystar_async.transport.native import connection as connection_module
from paystar_async.transport.native import pool as pool_module
from paystar_async.transport.native.connection import HTTP11Connection
from paystar_async.transport.native.pool import ConnectionPool, Origin
from tests.transport.conformance import keep_responding
from tests.transport.tcp import ScriptedServer, TcpPeer, run_server

MESSAGE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


async def send(pool: ConnectionPool, server: ScriptedServer, before_send: Any = None) -> int:
    """Return the HTTP status of one call."""
    response = await pool.send_request(Origin("http", "127.0.0.1", server.port), MESSAGE, 5, before_send)
    return response.status


class TestReuse:
    """Idle connections."""

    async def test_pool_opens_one_connection_per_concurrent_call(self) -> None:
        pool = ConnectionPool(8)
        async with run_server(keep_responding) as server:
            for _ in range(3):
                assert await asyncio.gather(*[send(pool, server) for _ in range(5)]) == [200] * 5
            assert len(server.peers) == 5
            await pool.aclose()

    async def test_pool_closes_surplus_idle_connections(self) -> None:
        pool = ConnectionPool(2)
        async with run_server(keep_responding) as server:
            await asyncio.gather(*[send(pool, server) for _ in range(5)])
            assert len(pool.connections) == 2
            await pool.aclose()
        assert not pool.connections or all(not connection.is_open for connection in pool.connections)

    async def test_pool_discards_expired_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pool = ConnectionPool(8)
        async with run_server(keep_responding) as server:
            await send(pool, server)
            await send(pool, server)
            monkeypatch.setattr(connection_module, "KEEPALIVE_EXPIRY_SECONDS", 0.0)
            await send(pool, server)
            assert len(server.peers) == 2
            await pool.aclose()

    async def test_pool_evicts_oldest_idle_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pool = ConnectionPool(8)
        async with run_server(keep_responding) as server:
            await asyncio.gather(*[send(pool, server) for _ in range(3)])
            for connection in pool.connections:
                connection.last_used_at -= 100
            await send(pool, server)
            assert (len(pool.connections), len(server.peers)) == (1, 4)
            await pool.aclose()

    async def test_pool_discards_connection_closed_by_server(self) -> None:
        async def respond_and_close(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond(head=b"Connection: close\r\n")

        pool = ConnectionPool(8)
        async with run_server(respond_and_close) as server:
            await send(pool, server)
            assert not pool.connections
            await pool.aclose()

    async def test_pool_keeps_origins_apart(self) -> None:
        pool = ConnectionPool(8)
        async with run_server(keep_responding) as first, run_server(keep_responding) as second:
            for server in (first, second, first):
                await send(pool, server)
            assert [len(first.requests), len(second.requests)] == [2, 1]
            await pool.aclose()

    async def test_before_send_error_keeps_connection(self) -> None:
        def refuse() -> None:
            raise KeyError("refused")

        pool = ConnectionPool(8)
        async with run_server(keep_responding) as server:
            with pytest.raises(KeyError):
                await send(pool, server, before_send=refuse)
            assert server.received == b""
            await send(pool, server)
            assert len(server.peers) == 1
            await pool.aclose()


class TestClosing:
    """Closing a pool in use."""

    async def test_aclose_fails_request_in_flight(self) -> None:
        async def stay_silent(peer: TcpPeer) -> None:
            await peer.read_request()
            received.set()
            await asyncio.sleep(60)

        pool, received = ConnectionPool(8), asyncio.Event()
        async with run_server(stay_silent) as server:
            call = asyncio.create_task(send(pool, server))
            await received.wait()
            await pool.aclose()
            with pytest.raises(NoResponse, match="closed"):
                await call

    async def test_aclose_while_connecting_sends_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connections: list[HTTP11Connection] = []

        async def connect(*args: Any) -> HTTP11Connection:
            connections.append(await connection_module.open_connection(*args))
            await pool.aclose()
            return connections[0]

        pool = ConnectionPool(8)
        monkeypatch.setattr(pool_module, "open_connection", connect)
        async with run_server(keep_responding) as server:
            with pytest.raises(NotSent, match="closed before"):
                await send(pool, server)
            await connections[0].wait_closed()
        assert server.received == b""
