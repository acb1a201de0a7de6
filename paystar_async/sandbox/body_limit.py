"""A limit on the size of request bodies, for a sandbox that other machines may reach."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paystar_async.sandbox.responses import json_response

MAX_CONTROL_BYTES = 1 << 20
"""Bytes of a control request's body."""
MAX_CALL_BYTES = 4 << 20
"""Bytes of an API call's body; a call of 10,000 transfers has 3 MB."""


class _BodyTooLarge(Exception):
    """A body over its limit. Not a ValueError: handlers take a ValueError for a body that cannot be parsed."""


class BodyLimitMiddleware:
    """ASGI middleware that responds with 413 to a request whose body is too large, without storing the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count the bytes read of its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_CONTROL_BYTES if scope["path"].startswith("/_sandbox") else MAX_CALL_BYTES
        size = 0

        async def counting_receive() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _BodyTooLarge
            return message

        try:
            await self._app(scope, counting_receive, send)
        except _BodyTooLarge:
            response = json_response({"error": f"a body of more than {limit} bytes"}, http_status=413)
            headers = [(b"content-type", response.media_type.encode()), (b"content-length", b"%d" % len(response.body))]
            await send({"type": "http.response.start", "status": response.http_status, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})
