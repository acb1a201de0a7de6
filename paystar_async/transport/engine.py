"""What carries bytes: anything of this shape can stand under the client."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

Headers = Sequence[tuple[str, str]]


@runtime_checkable
class Engine(Protocol):
    """Carries one request and brings one answer; keeps to ``timeout`` as a whole; never follows a redirect."""

    @property
    def fences(self) -> bool:
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
            Unanswered: it may have left, and no whole answer came.
        """
        ...

    async def aclose(self) -> None:
        """Let go of what the engine holds."""
        ...
