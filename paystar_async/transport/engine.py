"""The interface of an engine, which sends requests, and the limits that all engines share."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Protocol, runtime_checkable

from paystar_async.errors import ConfigurationError, InvalidResponse

Headers = Sequence[tuple[str, str]]
MAX_RESPONSE_BYTES = 16 << 20
"""A list of 500 transfers has about 200,000."""
IDLE_SECONDS = 30.0
"""How long an idle connection is kept; servers close theirs after a minute or so."""
CONNECT_SECONDS = 10.0
"""How long connecting may take where only the library can tell that there was no connection: it must give up first."""


@runtime_checkable
class Engine(Protocol):
    """Sends one request and returns its response; keeps to ``timeout`` as a whole; never follows a redirect."""

    @property
    def supports_before_send(self) -> bool:
        """Whether ``before_send`` is called after connecting, right before the first byte."""
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
        """Send a request and read its whole answer.

        Args:
            method: the HTTP method.
            url: the absolute URL, with its query.
            headers: names and values.
            body: the bytes to send, or None.
            timeout: seconds until the answer must be there, connecting included.
            before_send: called right before the first byte leaves; what it raises keeps it from leaving.

        Returns:
            The HTTP status, the headers with names in lower case, the decoded body.

        Raises:
            NotSent: the request provably never left.
            NoResponse: it may have left, and no whole answer came.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what the engine holds."""
        ...


def response_too_large(http_status: int | None = None) -> InvalidResponse:
    """Return the error for a response of more than ``MAX_RESPONSE_BYTES``."""
    return InvalidResponse("$", f"an answer of more than {MAX_RESPONSE_BYTES >> 20} MB", http_status=http_status)


def refuse_before_send() -> NoReturn:
    """Refuse a call that must not be sent too late; raises ConfigurationError."""
    raise ConfigurationError(
        "this engine cannot report when a request is sent", hint='use the default engine: engine="auto"'
    )


def require_asyncio(engine: str) -> asyncio.Task[Any] | None:
    """Return the current task; raises ConfigurationError on any other loop than asyncio's."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        pass
    raise ConfigurationError(f"the {engine} engine works on asyncio alone", hint='on trio use engine="auto"')
