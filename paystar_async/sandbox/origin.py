"""Whether a request is from a page of this server, or steered from elsewhere."""

from urllib.parse import urlsplit

from starlette.requests import Request as HttpRequest


def is_own(request: HttpRequest) -> bool:
    """Whether a page of this very origin sends it, or a program: those name no origin."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
