"""One connection: opening, writing, and reuse."""

# pyright: reportPrivateUsage=false

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from paystar_async.transport.native import connection as module
from paystar_async.transport.native.connection import WRITE_BYTES, HTTP11Connection, open_connection
from tests.transport.tcp import TcpPeer, free_port, serving

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def message(size: int) -> bytes:
    return HEAD % size + b"x" * size


async def keep_answering(peer: TcpPeer) -> None:
    while await peer.read_request():
        await peer.respond()


async def refuse_at_once(peer: TcpPeer) -> None:
    await peer.read(1)
    await peer.respond(b"no", status=b"413 Content Too Large")
    await peer.read(1)
    await asyncio.sleep(60)


def deadline() -> float:
    return asyncio.get_running_loop().time() + 20


async def closed(connection: HTTP11Connection) -> None:
    connection.close()
    await connection.wait_closed()


class TestSending:
    """Writing a request."""

    async def test_write_long_message_waits_for_the_peer(self) -> None:
        async with serving(keep_answering) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            waiting: list[int] = []
            write = connection._transport.write

            def counting(data: bytes) -> None:
                write(data)
                waiting.append(connection._transport.get_write_buffer_size())

            connection._transport = _Spied(connection._transport, counting)
            answer = await connection.send_request(message(40 * WRITE_BYTES), deadline())
            await closed(connection)

        assert answer.status == 200
        assert len(server.requests[0]) > 40 * WRITE_BYTES
        assert max(waiting) <= 2 * WRITE_BYTES

    @pytest.mark.parametrize("size", [WRITE_BYTES - 500, 100 * WRITE_BYTES])
    async def test_early_response_to_long_message_closes_connection(self, size: int) -> None:
        async with serving(refuse_at_once) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            answer = await connection.send_request(message(size), deadline())
            unwritten = size > WRITE_BYTES
            assert (answer.status, connection.is_open) == (413, not unwritten)
            await closed(connection)

    async def test_cancelled_write_closes_connection(self) -> None:
        async def deaf(peer: TcpPeer) -> None:
            await asyncio.sleep(60)

        async with serving(deaf) as server:
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


class _Spied:
    """A transport whose writes are watched."""

    def __init__(self, inner: Any, write: Callable[[bytes], None]) -> None:
        self._inner, self.write = inner, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class TestDeadline:
    """The timer that all requests of a connection share."""

    async def test_earlier_deadline_of_later_request_is_kept(self) -> None:
        async def once(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond()
            await asyncio.sleep(60)

        async with serving(once) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline())
            loop = asyncio.get_running_loop()
            started = loop.time()
            with pytest.raises(TimeoutError):
                await connection.send_request(message(2), started + 0.01)
            assert loop.time() - started < 5
            await connection.wait_closed()

    async def test_timer_of_earlier_request_fails_no_later_one(self) -> None:
        async def answer_in_turn(peer: TcpPeer) -> None:
            for answered in (first, second):
                await peer.read_request()
                await answered.wait()
                await peer.respond()
            await peer.read()

        first, second = asyncio.Event(), asyncio.Event()
        first.set()
        async with serving(answer_in_turn) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline() - 10)
            task = asyncio.create_task(connection.send_request(message(2), deadline()))
            await asyncio.sleep(0)
            timer = connection._timer
            connection._check_deadline()
            assert connection._timer is not timer
            second.set()
            assert (await task).status == 200
            await closed(connection)
            assert connection._timer is not None
            assert connection._timer.cancelled()


class TestReusable:
    """Whether another request may be sent."""

    async def test_unsolicited_bytes_close_connection(self) -> None:
        async def talkative(peer: TcpPeer) -> None:
            await peer.read_request()
            await peer.respond()
            await more.wait()
            await peer.respond(b"forged")
            await peer.read()

        more = asyncio.Event()
        async with serving(talkative) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline())
            assert connection.is_reusable()
            more.set()
            await connection.wait_closed()
            assert not connection.is_reusable()

    async def test_end_unseen_by_the_loop_is_not_reusable(self) -> None:
        async with serving(keep_answering) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            await connection.send_request(message(2), deadline())
            assert connection.is_reusable()
            server.conns[0].shutdown(2)  # the loop gets no turn to notice
            assert not connection.is_reusable()
            await closed(connection)

    async def test_end_without_poll_is_not_reusable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("select.poll")
        async with serving(keep_answering) as server:
            connection = await open_connection("127.0.0.1", server.port, None)
            assert connection.is_reusable()
            server.conns[0].shutdown(2)
            assert not connection.is_reusable()
            await closed(connection)


def addresses(*hosts: str, port: int) -> Callable[..., Any]:
    """Return a stand-in for ``loop.getaddrinfo``."""

    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

    return getaddrinfo


class TestOpenConnection:
    """One host with several addresses."""

    async def test_refusing_address_gives_way_to_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        async with serving(keep_answering) as server:
            monkeypatch.setattr(loop, "getaddrinfo", addresses("127.0.0.9", "127.0.0.1", port=server.port))
            connection = await open_connection("paystar.example", server.port, None)
            assert (await connection.send_request(message(2), deadline())).status == 200
            await closed(connection)

    async def test_silent_address_gives_way_to_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "HAPPY_EYEBALLS_SECONDS", 0.01)
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            if address[0] == "127.0.0.9":
                await asyncio.sleep(60)
            await connect(sock, address)

        async with serving(keep_answering) as server:
            monkeypatch.setattr(loop, "sock_connect", sock_connect)
            monkeypatch.setattr(loop, "getaddrinfo", addresses("127.0.0.9", "127.0.0.1", port=server.port))
            connection = await open_connection("paystar.example", server.port, None)
            assert connection.is_open
            await closed(connection)

    async def test_host_without_reachable_address_is_refused(self) -> None:
        with pytest.raises(ConnectionRefusedError):
            await open_connection("127.0.0.1", free_port(), None)

    @pytest.mark.parametrize("turns", range(8))
    async def test_cancelled_connect_leaves_no_socket(self, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cancel at every turn of the loop: neither a socket nor a task is left."""
        sockets: list[socket.socket] = []

        class Counted(socket.socket):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                sockets.append(self)

        loop, tasks = asyncio.get_running_loop(), asyncio.all_tasks()
        async with serving(keep_answering) as server:
            monkeypatch.setattr(module, "HAPPY_EYEBALLS_SECONDS", 0.0)
            monkeypatch.setattr(loop, "getaddrinfo", addresses("127.0.0.1", "127.0.0.2", port=server.port))
            with monkeypatch.context() as patched:
                patched.setattr("aiohappyeyeballs.impl.socket.socket", Counted)
                task = asyncio.create_task(open_connection("paystar.example", server.port, None))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                await closed(task.result())
            for _ in range(3):
                await asyncio.sleep(0)
            assert all(sock.fileno() == -1 for sock in sockets)
        assert asyncio.all_tasks() <= tasks
