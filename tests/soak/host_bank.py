"""The bank as a process on a host of its own: says when it serves, then serves until it is killed."""

import asyncio
import json
import sys
import time
from functools import cached_property
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import serve
from paystar_async.table import BY_ID
from tests.soak.play import say

_SETTLE = f"/api{BY_ID['transfers.settle'].path}"


class PaymentLog:
    """ASGI middleware that notes when each host asked for a payment; ``GET /_sandbox/payments`` shows it.

    The time is the machine's monotonic one, which all processes share.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._payments: list[tuple[float, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note a request to pay and pass every request on."""
        if scope["path"] == "/_sandbox/payments":
            return await JSONResponse(self._payments)(scope, receive, send)
        if scope["path"] == _SETTLE:
            self._payments.append((time.monotonic(), scope["client"][0]))
        return await self._app(scope, receive, send)


class LoggedSandbox(Sandbox):
    """A sandbox that remembers which host asked for payments."""

    @cached_property
    def app(self) -> ASGIApp:
        """The application that is served."""
        return PaymentLog(super().app)


def main(settings: dict[str, Any]) -> None:
    """Serve a sandbox at the host's address."""
    sandbox = LoggedSandbox()
    address, port = settings["address"], settings["port"]
    asyncio.run(serve(sandbox, host=address, port=port, allow_host=address, ready=lambda _: say("ready")))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
