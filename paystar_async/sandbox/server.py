"""The sandbox as a server, for this machine alone unless it is told otherwise."""

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

from paystar_async.errors import ConfigurationError
from paystar_async.sandbox.app import put_connection
from paystar_async.sandbox.sandbox import Sandbox
from paystar_async.settings import LOOPBACK

try:
    import uvicorn
except ModuleNotFoundError:
    raise ConfigurationError("the sandbox server needs uvicorn", hint='pip install "paystar-async[sandbox]"') from None

_GRACE = 1
"""Seconds that calls under way have when the server stops; a latency fault would hold it for ever."""
_LAST_PORT = 65_535
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)


class HostGuard:
    """Keeps strangers out: a web page elsewhere can make a browser call this port, but not under this host's name.

    Args:
        app: what is guarded.
        hosts: the names it may be called by.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        if _host(scope) not in self._hosts or self._steered_from_elsewhere(scope):
            await PlainTextResponse("this host is not served here", 403)(scope, receive, send)
            return
        put_connection(scope, _TcpConnection(receive, send))
        await self._app(scope, receive, send)

    def _steered_from_elsewhere(self, scope: Scope) -> bool:
        """Whether a page of another origin reaches for the controls; to the payment page any shop may post."""
        origin = _header(scope, b"origin")
        return bool(origin) and scope["path"].startswith("/_sandbox") and urlsplit(origin).hostname not in self._hosts


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "").lower()


def _host(scope: Scope) -> str:
    """The host a request names, without its port."""
    text = _header(scope, b"host")
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


class _TcpConnection:
    """A connection of the server."""

    connected = False
    patience: float | None = None

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send

    async def drop(self) -> None:
        """Break the connection instead of answering."""
        abort(self._send)
        while (await self._receive())["type"] != "http.disconnect":
            pass


def abort(send: Send) -> None:
    """Reset the TCP connection behind an answer.

    ASGI has no word for it; uvicorn's ``send`` is a method of an object that holds the transport.
    """
    transport: object = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError("dropped by the sandbox")
    # With lingering switched off a close is a reset, not a farewell.
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
        sandbox: what is served.
        port: the port; 0 takes a free one.
        host: the address to listen at; other than loopback only together with ``allow_host``.
        allow_host: a name it may be called by, besides the names of this machine's loopback.
        ready: called with the port once connections are taken.

    Raises:
        ConfigurationError: the address cannot be listened at, or is not loopback and nothing allows it; or what is
            allowed is no host name.
    """
    listener = _listen(host, port, allow_host)
    server = _server(sandbox, allow_host)
    if ready is not None:
        ready(listener.getsockname()[1])
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


@contextlib.contextmanager
def running(sandbox: Sandbox, *, port: int = 0) -> Generator[str]:
    """Serve a sandbox on loopback from a thread of its own; gives the base URL.

    Args:
        sandbox: what is served.
        port: the port; 0 takes a free one.
    """
    listener = _listen("127.0.0.1", port, None)
    server = _server(sandbox, None)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="paystar-sandbox")
    thread.start()
    try:
        yield base_url
    finally:
        server.should_exit = True
        thread.join()


def _listen(host: str, port: int, allow_host: str | None) -> socket.socket:
    if host not in LOOPBACK and allow_host is None:
        raise ConfigurationError(
            f"the sandbox listens on loopback, not at {host}", hint="name who may call it: allow_host, or --allow-host"
        )
    if allow_host is not None and not _is_host(allow_host):
        raise ConfigurationError(
            f"{allow_host!r:.60} is no host that can be allowed", hint="a name or an address, without scheme and port"
        )
    if not 0 <= port <= _LAST_PORT:
        raise ConfigurationError(f"there is no port {port}", hint=f"one from 0 to {_LAST_PORT}")
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as problem:
        # Python adds the address to what the system says, and we have just named it.
        reason = (problem.strerror or type(problem).__name__).partition(" (while ")[0]
    else:
        # asyncio sets it only on sockets that name TCP; without it an answer waits for a delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    raise ConfigurationError(f"the sandbox cannot listen at {host} port {port}: {reason}", hint="take another port")


def _is_host(text: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return _HOST_NAME.fullmatch(text) is not None


def _server(sandbox: Sandbox, allow_host: str | None) -> uvicorn.Server:
    hosts = LOOPBACK if allow_host is None else LOOPBACK | {allow_host.lower()}
    config = uvicorn.Config(
        HostGuard(sandbox.app, hosts),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    return uvicorn.Server(config)
