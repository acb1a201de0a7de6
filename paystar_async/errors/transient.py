"""Tell failures that may pass from those that stay."""

from paystar_async.errors import (
    InvalidResponse,
    NoResponse,
    NotSent,
    PaystarError,
    ServerFault,
    StatusError,
    UpstreamError,
)


def is_transient(error: PaystarError) -> bool:
    """Whether the same question may well get an answer a moment later."""
    if isinstance(error, StatusError):
        return isinstance(error, ServerFault | UpstreamError) or _is_passing(error.http_status)
    return isinstance(error, NotSent | NoResponse | InvalidResponse)


def _is_passing(http_status: int) -> bool:
    return http_status in {408, 429} or http_status >= 500
