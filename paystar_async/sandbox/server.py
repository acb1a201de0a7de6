"""The sandbox as an HTTP server; it listens on loopback unless a host is allowed explicitly."""

import asyncio
import contextlib
import ipaddress
import re
import socket
import struct
import threading
from collections.abc import Callable, Generator
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from paystar_async.config import LOOPBACK
from paystar_async.errors import ConfigurationError, MissingExtra
from paystar_async.sandbox.app import set_connection
from paystar_async.sandbox.sandbox import Sandbox

try:
    import uvicorn
except ImportError:
    raise MissingExtra("the sandbox server", "sandbox") from None

_SHUTDOWN_TIMEOUT_SECONDS = 1
"""Time for running calls when the server stops; a latency fault could hold the server for ever."""
_MAX_PORT = 65_535
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)


class HostGuard:
    """ASGI middleware that refuses requests for other hosts, against DNS rebinding by web pages.

    Args:
        app: the guarded application.
        hosts: the allowed host names.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it with 403."""
        if scope["type"] != "http":
            return
        if _request_host(scope) not in self._hosts or self._is_cross_origin_control(scope):
            await PlainTextResponse("this host is not served here", 403)(scope, receive, send)
            return
        set_connection(scope, _TcpConnection(receive, send))
        await self._app(scope, receive, send)

    def _is_cross_origin_control(self, scope: Scope) -> bool:
        """Return True if a page of another origin calls a control; any shop may post to the payment page."""
        origin = _header(scope, b"origin")
        return bool(origin) and scope["path"].startswith("/_sandbox") and urlsplit(origin).hostname not in self._hosts


def _header(scope: Scope, header: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == header), "").lower()


def _request_host(scope: Scope) -> str:
    """Return the host of a request without its port."""
    host = _header(scope, b"host")
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


class _TcpConnection:
    """A TCP connection of the server."""

    is_connected = False
    client_timeout: float | None = None

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send

    async def drop(self) -> None:
        """Break the connection instead of responding."""
        reset_connection(self._send)
        while (await self._receive())["type"] != "http.disconnect":
            pass


def reset_connection(send: Send) -> None:
    """Reset the TCP connection of a request.

    ASGI has no message for this; uvicorn's ``send`` is a method of an object that has the transport.
    """
    transport: object = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError("dropped by the sandbox")
    # With a linger time of 0, closing the socket sends a reset (RST) and not a FIN.
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def serve(
    sandbox: Sandbox,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    allow_host: str | None = None,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve a sandbox until cancelled or interrupted.

    Args:
        sandbox: the sandbox to serve.
        port: the port; 0 selects a free port.
        host: the address to listen on; an address other than loopback requires ``allow_host``.
        allow_host: a host name that requests may use besides the names of loopback.
        ready: called with the port once connections are accepted.

    Raises:
        ConfigurationError: the address cannot be listened on, or is not loopback and ``allow_host`` is missing; or
            ``allow_host`` is not a valid host name.
    """
    listener = _listen(host, port, allow_host)
    server = _make_server(sandbox.app, allow_host)
    if ready is not None:
        ready(listener.getsockname()[1])
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await asyncio.wait([serving])  # raises nothing: a second Ctrl-C ends the server with a KeyboardInterrupt


class SwitchableApp:
    """ASGI application of an address that serves one sandbox after another.

    Attributes:
        sandbox: the sandbox that receives the requests; None: requests are refused.
    """

    def __init__(self) -> None:
        self.sandbox: Sandbox | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the sandbox, or refuse it with 503."""
        app = self.sandbox.app if self.sandbox else PlainTextResponse("no test uses this sandbox now", 503)
        await app(scope, receive, send)


@contextlib.contextmanager
def running(
    sandbox: Sandbox | SwitchableApp, *, port: int = 0, host: str = "127.0.0.1", allow_host: str | None = None
) -> Generator[str]:
    """Serve a sandbox from another thread, and yield the base URL.

    Args:
        sandbox: the sandbox to serve.
        port: the port; 0 selects a free port.
        host: the address to listen on; an address other than loopback requires ``allow_host``.
        allow_host: a host name that requests may use besides the names of loopback.

    Raises:
        ConfigurationError: see ``serve``.
    """
    listener = _listen(host, port, allow_host)
    server = _make_server(sandbox.app if isinstance(sandbox, Sandbox) else sandbox, allow_host)
    base_url = make_base_url(listener.getsockname()[1], allow_host)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="paystar-sandbox")
    thread.start()
    try:
        yield base_url
    finally:
        server.should_exit = True
        thread.join()


def make_base_url(port: int, allow_host: str | None) -> str:
    """Return the base URL of clients: the allowed host, or loopback, and the port."""
    host = "127.0.0.1" if allow_host is None else f"[{allow_host}]" if ":" in allow_host else allow_host
    return f"http://{host}:{port}/api"


def _listen(host: str, port: int, allow_host: str | None) -> socket.socket:
    if host not in LOOPBACK and allow_host is None:
        raise ConfigurationError(
            f"the sandbox listens on loopback, not on {host}",
            hint="name the host that requests may use: allow_host, or --allow-host",
        )
    if allow_host is not None and not _is_valid_host(allow_host):
        raise ConfigurationError(
            f"{allow_host!r:.60} is not a valid host name", hint="a name or an address, without scheme and port"
        )
    if not 0 <= port <= _MAX_PORT:
        raise ConfigurationError(f"{port} is not a valid port", hint=f"a port from 0 to {_MAX_PORT}")
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        # Python adds the address to the system's message, and the error below names the address already.
        reason = (error.strerror or type(error).__name__).partition(" (while ")[0]
    else:
        # asyncio sets this only on sockets that name TCP; without it a response waits for a delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    raise ConfigurationError(f"the sandbox cannot listen on {host} port {port}: {reason}", hint="use another port")


def _is_valid_host(text: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return _HOST_NAME.fullmatch(text) is not None


def _make_server(app: ASGIApp, allow_host: str | None) -> uvicorn.Server:
    hosts = LOOPBACK if allow_host is None else LOOPBACK | {allow_host.lower()}
    config = uvicorn.Config(
        HostGuard(app, hosts),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_SECONDS,
    )
    return uvicorn.Server(config)
