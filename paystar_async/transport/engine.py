"""The interface of an engine, which sends requests, and the limits that all engines share."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NoReturn, Protocol, runtime_checkable

from paystar_async.errors import ConfigurationError, InvalidResponse

Headers = Sequence[tuple[str, str]]
MAX_RESPONSE_BYTES = 16 << 20
"""Bytes that a response may have; a list of 500 transfers has about 200,000."""
MAX_HEAD_BYTES = 100 << 10
"""Bytes that a status line and its headers may have, interim responses included; also the bytes of one header."""
KEEPALIVE_EXPIRY_SECONDS = 30.0
"""Seconds after which an idle connection is closed; servers close theirs after a minute or so."""
CONNECT_TIMEOUT_SECONDS = 10.0
"""Seconds for connecting, where only the library knows that there was no connection: it must time out first."""


class SendState(Enum):
    """The progress of a request: whether a part of it may have been sent."""

    UNKNOWN = "the library reported nothing: may have been sent"
    CONNECTING = "provably not sent"
    SENT = "may have been sent"


@runtime_checkable
class Engine(Protocol):
    """Sends requests: one request per call, within one ``timeout``, without following redirects."""

    @property
    def supports_before_send(self) -> bool:
        """Return True if ``before_send`` is called after connecting, right before the first byte."""
        ...

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read its whole response.

        Args:
            method: the HTTP method.
            url: the absolute URL, with its query.
            headers: names and values.
            body: the bytes to send, or None.
            timeout: seconds until the response must be complete, connecting included.
            before_send: called right before the first byte is sent; if it raises, nothing is sent.

        Returns:
            The HTTP status, the headers with names in lower case, the decoded body.

        Raises:
            NotSent: the request was provably not sent.
            NoResponse: the request may have been sent, and no complete response came.
        """
        ...

    async def aclose(self) -> None:
        """Close the engine's connections."""
        ...


def response_too_large(http_status: int | None = None) -> InvalidResponse:
    """Return the error for a response of more than ``MAX_RESPONSE_BYTES``."""
    return InvalidResponse("$", f"a response of more than {MAX_RESPONSE_BYTES >> 20} MB", http_status=http_status)


def refuse_before_send() -> NoReturn:
    """Raise ConfigurationError: the engine does not support ``before_send``."""
    raise ConfigurationError(
        "this engine cannot report when a request is sent", hint='use the default engine: engine="auto"'
    )


def require_asyncio(engine: str) -> asyncio.Task[Any] | None:
    """Return the current task; raise ConfigurationError on any event loop other than asyncio's."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        pass
    raise ConfigurationError(f"the {engine} engine works with asyncio only", hint='on trio use engine="auto"')
