"""A scripted TCP server on loopback, which records the bytes that it received."""

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

# A self-signed certificate, created for these tests.
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
    """A connection, from the server's side."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self._server = reader, writer, server

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return bytes from the client, or no bytes at the end of the connection."""
        data = await self.reader.read(max_bytes)
        self._server.received += data
        return data

    async def read_request(self) -> bytes:
        """Return a complete request with its body, or no bytes if the client closes before its end."""
        text = b""
        while b"\r\n\r\n" not in text:
            more = await self.read()
            if not more:
                return b""
            text += more
        head, _, body = text.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while len(body) < (int(length[1]) if length else 0):
            more = await self.read()
            if not more:
                return b""
            body, text = body + more, text + more
        self._server.requests.append(text)
        return text

    async def write(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def respond(self, body: bytes = b"{}", head: bytes = b"", status: bytes = b"200 OK") -> None:
        """Write a complete response that keeps the connection open."""
        length = f"Content-Length: {len(body)}\r\n".encode()
        await self.write(b"HTTP/1.1 " + status + b"\r\n" + length + head + b"\r\n" + body)

    def reset(self) -> None:
        """Reset the connection (RST), as a crash does."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """A server, with the bytes and requests of all its connections."""

    def __init__(self, play: Play, port: int, context: ssl.SSLContext | None) -> None:
        self._play, self._context, self.port = play, context, port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{port}/api?access_password=canary"
        self.received = b""
        self.requests: list[bytes] = []
        self.peers: list[TcpPeer] = []
        # Not asyncio's own server, which forgets a socket that it accepts in the loop turn in which it is closed.
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
            peer = TcpPeer(self, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
            self.peers.append(peer)
            try:
                await self._play(peer)
                peer.writer.close()
                await peer.writer.wait_closed()
            finally:
                transport.abort()


@contextlib.asynccontextmanager
async def serving(play: Play, *, tls: bool = False) -> AsyncGenerator[Server]:
    """Run a server that plays a script with each connection; unfinished scripts are cancelled at the end."""
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
            await asyncio.sleep(0)  # the loop turn in which an aborted transport closes its socket
            for conn in server.conns:
                conn.close()


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "both.pem")
        kinds = {"PRIVATE KEY": _KEY, "CERTIFICATE": CERTIFICATE}
        path.write_text("".join(f"-----BEGIN {kind}-----{text}-----END {kind}-----\n" for kind, text in kinds.items()))
        context.load_cert_chain(path)
    return context
