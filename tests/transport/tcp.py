"""A TCP server on loopback that misbehaves as it is told, and keeps what it heard."""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

Play = Callable[["TcpPeer"], Awaitable[None]]

# Signed by nobody anyone trusts; made for these tests.
CERTIFICATE = """
MIIBmzCCAUGgAwIBAgIUX2JHASID3uR2RSC+UpJz/+AxptQwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjEz
MTQyOFoYDzIxMjYxMDI5MTMxNDI4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQUo88KqG18z66i
rKzn4Qiptg1q22Cg0dVxMqYGKqL3Qivl3LRJR368YV/KJSorDhk13cUJm/5wmk+RopMyQvQlo28wbTAdBgNVHQ4EFgQU0IKMHhU5nQUQxRRO
pWWbMxxK9V0wHwYDVR0jBBgwFoAU0IKMHhU5nQUQxRROpWWbMxxK9V0wDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SH
BH8AAAEwCgYIKoZIzj0EAwIDSAAwRQIgQQo8mUEb9Iqgp4Y3MHfN3V5GmeAmCYar6a3JQKqHrvwCIQC8gpB2WpCFSvBFwEeV9DsmVrpUJTCE
zBSeGOKAO4IIFg==
"""
_KEY = """
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgONXq8s7mh9JAMgaxPNBVW4oI6DIGMdOQ3y4HLf68DQ2hRANCAAQUo88KqG18
z66irKzn4Qiptg1q22Cg0dVxMqYGKqL3Qivl3LRJR368YV/KJSorDhk13cUJm/5wmk+RopMyQvQl
"""


class TcpPeer:
    """One connection, from the server's side."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self._server = reader, writer, server

    async def hear(self, most: int = 65536) -> bytes:
        """Some bytes of what the other side says, or none when it is over."""
        heard = await self.reader.read(most)
        self._server.heard += heard
        return heard

    async def request(self) -> bytes:
        """A whole request, its body included; nothing when the other side hangs up before."""
        text = b""
        while b"\r\n\r\n" not in text:
            more = await self.hear()
            if not more:
                return b""
            text += more
        head, _, body = text.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while len(body) < (int(length[1]) if length else 0):
            more = await self.hear()
            if not more:
                return b""
            body, text = body + more, text + more
        self._server.requests.append(text)
        return text

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self, body: bytes = b"{}", head: bytes = b"", status: bytes = b"200 OK") -> None:
        """A whole answer that keeps the connection open."""
        length = f"Content-Length: {len(body)}\r\n".encode()
        await self.say(b"HTTP/1.1 " + status + b"\r\n" + length + head + b"\r\n" + body)

    def reset(self) -> None:
        """End it with RST, as a crash does."""
        given: socket.socket = self.writer.get_extra_info("socket")
        given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """What the server heard, from all connections together."""

    def __init__(self, play: Play, port: int, context: ssl.SSLContext | None) -> None:
        self._play, self._context, self.port = play, context, port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{port}/api?access_password=canary"
        self.heard = b""
        self.requests: list[bytes] = []
        self.talks: list[TcpPeer] = []
        # Kept by hand: asyncio's own server forgets a socket it accepts in the turn in which it is closed.
        self.conns: list[socket.socket] = []
        self.tasks: list[asyncio.Task[None]] = []

    def accept(self, listening: socket.socket) -> None:
        conn, _ = listening.accept()
        self.conns.append(conn)
        self.tasks.append(asyncio.get_running_loop().create_task(self._meet(conn)))

    async def _meet(self, conn: socket.socket) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with contextlib.suppress(OSError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, conn, ssl=self._context)
            talk = TcpPeer(self, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
            self.talks.append(talk)
            try:
                await self._play(talk)
                talk.writer.close()
                await talk.writer.wait_closed()
            finally:
                transport.abort()


@contextlib.asynccontextmanager
async def serving(play: Play, *, tls: bool = False) -> AsyncGenerator[Server]:
    """A server that plays so with each connection; what is still under way at the end is cut off."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        server = Server(play, listening.getsockname()[1], _untrusted() if tls else None)
        loop = asyncio.get_running_loop()
        loop.add_reader(listening, server.accept, listening)
        try:
            yield server
        finally:
            loop.remove_reader(listening)
            for task in server.tasks:
                task.cancel()
            await asyncio.gather(*server.tasks, return_exceptions=True)
            await asyncio.sleep(0)  # the turn in which a transport that was aborted lets go of its socket
            for conn in server.conns:
                conn.close()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "both.pem")
        kinds = {"PRIVATE KEY": _KEY, "CERTIFICATE": CERTIFICATE}
        path.write_text("".join(f"-----BEGIN {kind}-----{text}-----END {kind}-----\n" for kind, text in kinds.items()))
        context.load_cert_chain(path)
    return context
