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

Script = Callable[["TcpPeer"], Awaitable[None]]

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

    def __init__(self, server: "ScriptedServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self._server = reader, writer, server

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return bytes from the client, or no bytes at the end of the connection."""
        data = await self.reader.read(max_bytes)
        self._server.received += data
        return data

    async def read_request(self) -> bytes:
        """Return a complete request with its body, or no bytes if the client closes the connection before."""
        text = b""
        while b"\r\n\r\n" not in text:
            data = await self.read()
            if not data:
                return b""
            text += data
        head, _, body = text.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while len(body) < (int(length[1]) if length else 0):
            data = await self.read()
            if not data:
                return b""
            body, text = body + data, text + data
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


class ScriptedServer:
    """A server, with the bytes and requests of all its connections."""

    def __init__(self, script: Script, port: int, context: ssl.SSLContext | None) -> None:
        self._script, self._context, self.port = script, context, port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{port}/api?access_password=canary"
        self.received = b""
        self.requests: list[bytes] = []
        self.peers: list[TcpPeer] = []
        # Not asyncio's server, which loses a socket that it accepts in the loop turn in which it is closed.
        self.accepted_sockets: list[socket.socket] = []
        self.tasks: list[asyncio.Task[None]] = []

    def accept(self, listening: socket.socket) -> None:
        accepted_socket, _ = listening.accept()
        self.accepted_sockets.append(accepted_socket)
        self.tasks.append(asyncio.get_running_loop().create_task(self._serve_connection(accepted_socket)))

    async def _serve_connection(self, accepted_socket: socket.socket) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with contextlib.suppress(OSError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted_socket, ssl=self._context)
            peer = TcpPeer(self, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
            self.peers.append(peer)
            try:
                await self._script(peer)
                peer.writer.close()
                await peer.writer.wait_closed()
            finally:
                transport.abort()


@contextlib.asynccontextmanager
async def run_server(script: Script, *, tls: bool = False) -> AsyncGenerator[ScriptedServer]:
    """Run a server that runs a script for each connection; unfinished scripts are cancelled at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        server = ScriptedServer(script, listening.getsockname()[1], _self_signed_context() if tls else None)
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
            for accepted_socket in server.accepted_sockets:
                accepted_socket.close()


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _self_signed_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key_and_certificate.pem")
        sections = {"PRIVATE KEY": _KEY, "CERTIFICATE": CERTIFICATE}
        path.write_text(
            "".join(f"-----BEGIN {title}-----{text}-----END {title}-----\n" for title, text in sections.items())
        )
        context.load_cert_chain(path)
    return context
