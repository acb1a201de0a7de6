"""The HTTP/1.1 connection: opening, writing, deadlines and reuse."""

# pyright: reportPrivateUsage=false

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any

import pytest

from paystar_async.transport.native import connection as connection_module
from paystar_async.transport.native.connection import WRITE_BYTES, HTTP11Connection, open_connection
from tests.transport.conformance import keep_responding
from tests.transport.tcp import TcpPeer, free_port, run_server

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def message(size: int) -> bytes:
    return HEAD % size + b"x" * size


async def refuse_at_once(peer: TcpPeer) -> None:
    await peer.read(1)
    await peer.respond(b"no", status=b"413 Content Too Large")
    await peer.read(1)
    await asyncio.sleep(60)


def deadline() -> float:
    return asyncio.get_running_loop().time() + 20


async def close(connection: HTTP11Connection) -> None:
    connection.close()
    await connection.wait_closed()


class TestSending:
    """Writing a request."""

    async def test_send_request_long_message_waits_for_peer(self) -> None:
        async with run_server(keep_responding) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            buffer_sizes: list[int] = []
            write = connection._transport.write

            def record_buffer_size(data: bytes) -> None:
                write(data)
                buffer_sizes.append(connection._transport.get_write_buffer_size())

            connection._transport = _TransportWithWrite(connection._transport, record_buffer_size)
            response = await connection.send_request(message(40 * WRITE_BYTES), deadline())
            await close(connection)

        assert response.status == 200
        assert len(server.requests[0]) > 40 * WRITE_BYTES
        assert max(buffer_sizes) <= 2 * WRITE_BYTES

    @pytest.mark.parametrize("size", [WRITE_BYTES - 500, 100 * WRITE_BYTES])
    async def test_send_request_early_response_closes_connection(self, size: int) -> None:
        async with run_server(refuse_at_once) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            response = await connection.send_request(message(size), deadline())
            has_unwritten = size > WRITE_BYTES
            assert (response.status, connection.is_open) == (413, not has_unwritten)
            await close(connection)

    async def test_send_request_broken_connection_ends_writing(self) -> None:
        """Asyncio logs a warning for each further piece."""
        async with run_server(keep_responding) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            writes: list[int] = []

            def break_connection(data: bytes) -> None:
                writes.append(len(data))
                connection._transport.abort()

            connection._transport = _TransportWithWrite(connection._transport, break_connection)
            with pytest.raises(ConnectionResetError):
                await connection.send_request(message(40 * WRITE_BYTES), deadline())
            await close(connection)

        assert len(writes) == 1

    async def test_send_request_cancelled_write_closes_connection(self) -> None:
        async def never_read(peer: TcpPeer) -> None:
            await asyncio.sleep(60)

        async with run_server(never_read) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            task = asyncio.create_task(connection.send_request(message(100 * WRITE_BYTES), deadline()))
            for _ in range(5):
                await asyncio.sleep(0)
            assert connection._is_paused
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not connection.is_open
            await connection.wait_closed()


class _TransportWithWrite:
    """A transport with another ``write`` method."""

    def __init__(self, inner: Any, write: Callable[[bytes], None]) -> None:
        self._inner, self.write = inner, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class TestDeadline:
    """The timer that all requests of a connection share."""

    async def test_deadline_earlier_than_previous_is_enforced(self) -> None:
        async def respond_once(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond()
            await asyncio.sleep(60)

        async with run_server(respond_once) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline())
            loop = asyncio.get_running_loop()
            started = loop.time()
            with pytest.raises(TimeoutError):
                await connection.send_request(message(2), started + 0.01)
            assert loop.time() - started < 5
            await connection.wait_closed()

    async def test_deadline_timer_of_ended_request_is_harmless(self) -> None:
        async def respond_in_turn(peer: TcpPeer) -> None:
            for may_respond in (first, second):
                await peer.read_request()
                await may_respond.wait()
                await peer.respond()
            await peer.read()

        first, second = asyncio.Event(), asyncio.Event()
        first.set()
        async with run_server(respond_in_turn) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline() - 10)
            task = asyncio.create_task(connection.send_request(message(2), deadline()))
            await asyncio.sleep(0)
            timer = connection._timer
            connection._check_deadline()
            assert connection._timer is not timer
            second.set()
            assert (await task).status == 200
            await close(connection)
            assert connection._timer is not None
            assert connection._timer.cancelled()


class TestReusable:
    """Connections on which another request may or may not be sent."""

    async def test_is_reusable_unsolicited_bytes_close_connection(self) -> None:
        async def respond_twice(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond()
            await more.wait()
            await peer.respond(b"forged")
            await peer.read()

        more = asyncio.Event()
        async with run_server(respond_twice) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline())
            assert connection.is_reusable()
            more.set()
            await connection.wait_closed()
            assert not connection.is_reusable()

    async def test_is_reusable_unread_end_is_false(self) -> None:
        async with run_server(keep_responding) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline())
            assert connection.is_reusable()
            server.accepted_sockets[0].shutdown(2)  # the loop gets no turn to read the end
            assert not connection.is_reusable()
            await close(connection)

    async def test_is_reusable_end_without_poll_is_false(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(select, "poll", raising=False)  # none on Windows
        async with run_server(keep_responding) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            assert connection.is_reusable()
            server.accepted_sockets[0].shutdown(2)
            assert not connection.is_reusable()
            await close(connection)


def addresses(*hosts: str, port: int) -> Callable[..., Any]:
    """Return a stand-in for ``loop.getaddrinfo``."""

    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

    return getaddrinfo


class TestOpenConnection:
    """One host with several addresses."""

    async def test_open_connection_refusing_address_tries_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        async with run_server(keep_responding) as server:
            monkeypatch.setattr(loop, "getaddrinfo", addresses("127.0.0.9", "127.0.0.1", port=server.port))
            connection = await open_connection("paystar.example", server.port, None)
            assert (await connection.send_request(message(2), deadline())).status == 200
            await close(connection)

    async def test_open_connection_silent_address_tries_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_module, "HAPPY_EYEBALLS_SECONDS", 0.01)
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            if address[0] == "127.0.0.9":
                await asyncio.sleep(60)
            await connect(sock, address)

        async with run_server(keep_responding) as server:
            monkeypatch.setattr(loop, "sock_connect", sock_connect)
            monkeypatch.setattr(loop, "getaddrinfo", addresses("127.0.0.9", "127.0.0.1", port=server.port))
            connection = await open_connection("paystar.example", server.port, None)
            assert connection.is_open
            await close(connection)

    async def test_open_connection_no_reachable_address_raises(self) -> None:
        with pytest.raises(ConnectionRefusedError):
            await open_connection("127.0.0.1", free_port(), None)

    @pytest.mark.parametrize("turns", range(8))
    async def test_open_connection_cancelled_leaves_no_socket(
        self, turns: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Cancel at every turn of the loop: neither a socket nor a task is left."""
        sockets: list[socket.socket] = []

        class CountedSocket(socket.socket):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                sockets.append(self)

        loop, tasks = asyncio.get_running_loop(), asyncio.all_tasks()
        async with run_server(keep_responding) as server:
            monkeypatch.setattr(connection_module, "HAPPY_EYEBALLS_SECONDS", 0.0)
            monkeypatch.setattr(loop, "getaddrinfo", addresses("127.0.0.1", "127.0.0.2", port=server.port))
            with monkeypatch.context() as patched:
                patched.setattr("aiohappyeyeballs.impl.socket.socket", CountedSocket)
                task = asyncio.create_task(open_connection("paystar.example", server.port, None))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                await close(task.result())
            for _ in range(3):
                await asyncio.sleep(0)
            assert all(sock.fileno() == -1 for sock in sockets)
        assert asyncio.all_tasks() <= tasks
