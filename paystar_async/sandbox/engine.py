"""The sandbox in process: an engine that needs no network, and fails as a real one does."""

from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

import anyio.lowlevel
from starlette.types import ASGIApp, Message, Scope

from paystar_async.endpoint import Endpoint
from paystar_async.errors import NotSent, Unanswered
from paystar_async.sandbox.app import put_connection
from paystar_async.sandbox.state import SandboxState
from paystar_async.table import TABLE
from paystar_async.transport.engine import Headers

_ROWS: Mapping[tuple[str, str], Endpoint] = {(row.method, f"/api{path}"): row for row in TABLE for path in row.paths}


class _Exchange:
    """One request and its answer, as the application sees them."""

    connected = True

    def __init__(self, body: bytes, patience: float) -> None:
        self.patience: float | None = patience
        self.dropped = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.answer = bytearray()
        self._body = body

    async def drop(self) -> None:
        """Break the connection instead of answering."""
        self.dropped = True

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in message["headers"]}
        else:
            self.answer += message.get("body", b"")


class SandboxEngine:
    """Brings requests to a sandbox in this process, whatever host they name.

    Args:
        world: the sandbox's state.
        app: its application.
    """

    fences = True

    def __init__(self, world: SandboxState, app: ASGIApp) -> None:
        self._world, self._app = world, app

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read its whole answer; see ``transport.engine.Engine``."""
        scope = _scope(method, url, headers)
        row = _ROWS.get((method, scope["path"].rstrip("/")))
        if timeout <= 0:
            raise NotSent("no time left to connect to the sandbox")
        if row is not None and self._world.faults.refuses(row):
            raise NotSent("the sandbox refused the connection")
        if before_send is not None:
            before_send()
        exchange = _Exchange(body or b"", timeout)
        put_connection(scope, exchange)
        # A request takes time, and so does its answer: others run meanwhile, and a cancelled call stops here.
        await anyio.lowlevel.checkpoint()
        await self._app(scope, exchange.receive, exchange.send)
        await anyio.lowlevel.checkpoint()
        if exchange.dropped:
            raise Unanswered("the connection to the sandbox broke before an answer came")
        if not exchange.status:
            # What is left of a deadline has many digits, and %.3g alone would write 1234 as 1.23e+03.
            raise Unanswered(f"no answer within {float(f'{timeout:.3g}'):g} s")
        return exchange.status, exchange.headers, bytes(exchange.answer)

    async def aclose(self) -> None:
        """Nothing is held."""


def _scope(method: str, url: str, headers: Headers) -> Scope:
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
