"""The sandbox's engine: sends requests to a sandbox in this process, and fails as a network engine does."""

from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

import anyio.lowlevel
from starlette.types import ASGIApp, Message, Scope

from paystar_async.endpoint import Endpoint
from paystar_async.errors import NoResponse, NotSent
from paystar_async.sandbox.app import set_connection
from paystar_async.sandbox.state import SandboxState
from paystar_async.table import TABLE
from paystar_async.transport.engine import Headers

_ENDPOINTS: Mapping[tuple[str, str], Endpoint] = {
    (endpoint.method, f"/api{path}"): endpoint for endpoint in TABLE for path in endpoint.paths
}


class _InProcessConnection:
    """The connection of one request and the response received on it."""

    is_connected = True

    def __init__(self, request_body: bytes, client_timeout: float) -> None:
        self.client_timeout: float | None = client_timeout
        self.is_dropped = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self._request_body = request_body

    async def drop(self) -> None:
        """Break the connection instead of responding."""
        self.is_dropped = True

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._request_body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in message["headers"]}
        else:
            self.body += message.get("body", b"")


class SandboxEngine:
    """An engine that sends every request to a sandbox in this process, whatever host its URL names.

    Args:
        state: the sandbox's state.
        app: the sandbox's ASGI application.
    """

    supports_before_send = True

    def __init__(self, state: SandboxState, app: ASGIApp) -> None:
        self._state, self._app = state, app

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and return the whole response; see ``transport.engine.Engine``."""
        scope = _make_scope(method, url, headers)
        endpoint = _ENDPOINTS.get((method, scope["path"].rstrip("/")))
        if timeout <= 0:
            raise NotSent("no time left to connect to the sandbox")
        if endpoint is not None and self._state.faults.refuses_connection(endpoint):
            raise NotSent("the sandbox refused the connection")
        if before_send is not None:
            before_send()
        connection = _InProcessConnection(body or b"", timeout)
        set_connection(scope, connection)
        # A network request yields before and after: other tasks run, and a cancelled call stops here.
        await anyio.lowlevel.checkpoint()
        await self._app(scope, connection.receive, connection.send)
        await anyio.lowlevel.checkpoint()
        if connection.is_dropped:
            raise NoResponse("the connection to the sandbox broke before a response")
        if not connection.status:
            # A remaining deadline has many digits, and %.3g alone would write 1234 as 1.23e+03.
            raise NoResponse(f"no response within {float(f'{timeout:.3g}'):g} s")
        return connection.status, connection.headers, bytes(connection.body)

    async def aclose(self) -> None:
        """Do nothing: the engine holds no resources."""


def _make_scope(method: str, url: str, headers: Headers) -> Scope:
    parts = urlsplit(url)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers],
        "client": ("127.0.0.1", 0),
        "server": (parts.hostname, parts.port),
    }
