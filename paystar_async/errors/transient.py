"""Detection of errors that a retry may resolve."""

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
    """Return True if the same call may succeed on a retry."""
    if isinstance(error, StatusError):
        return isinstance(error, ServerFault | UpstreamError) or _is_transient_status(error.http_status)
    return isinstance(error, NotSent | NoResponse | InvalidResponse)


def _is_transient_status(http_status: int) -> bool:
    return http_status in {408, 429} or http_status >= 500
