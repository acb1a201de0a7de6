"""The bank, a process on its own host: prints a message when it serves, then serves until it is killed."""

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
from tests.soak.processes import print_message

_SETTLE = f"/api{BY_ID['transfers.settle'].path}"


class PaymentLog:
    """ASGI middleware that records time and host of each payment request; ``GET /_sandbox/payments`` lists them.

    The time is that of the monotonic clock of the machine, which all processes share.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._payments: list[tuple[float, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a payment request, and pass every request on."""
        if scope["path"] == "/_sandbox/payments":
            return await JSONResponse(self._payments)(scope, receive, send)
        if scope["path"] == _SETTLE:
            self._payments.append((time.monotonic(), scope["client"][0]))
        return await self._app(scope, receive, send)


class LoggedSandbox(Sandbox):
    """A sandbox that records the payment requests of each host."""

    @cached_property
    def app(self) -> ASGIApp:
        """Return the ASGI application, with the log of payments."""
        return PaymentLog(super().app)


def main(settings: dict[str, Any]) -> None:
    """Serve a sandbox at the host's address."""
    sandbox = LoggedSandbox()
    address, port = settings["address"], settings["port"]
    asyncio.run(serve(sandbox, host=address, port=port, allow_host=address, ready=lambda _: print_message("ready")))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
