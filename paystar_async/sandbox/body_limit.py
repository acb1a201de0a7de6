"""A bound on the bodies of requests, for a sandbox that others on the network may reach."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paystar_async.sandbox.responses import json_reply

MAX_CONTROL_BYTES = 1 << 20
"""Bytes of a control's body."""
MAX_CALL_BYTES = 4 << 20
"""Bytes of a call's body; one of 10,000 transfers has 3 MB."""


class _TooLarge(Exception):
    """A body is larger than its bound. No ValueError: handlers take those for a body that cannot be read."""


class BodyLimit:
    """ASGI middleware that answers 413 to a request whose body is too large, without keeping the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; count what is read of its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_CONTROL_BYTES if scope["path"].startswith("/_sandbox") else MAX_CALL_BYTES
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _TooLarge
            return message

        try:
            await self._app(scope, counted, send)
        except _TooLarge:
            reply = json_reply({"error": f"a body of more than {limit} bytes"}, http=413)
            headers = [(b"content-type", reply.media.encode()), (b"content-length", b"%d" % len(reply.body))]
            await send({"type": "http.response.start", "status": reply.http, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})
