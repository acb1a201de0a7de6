"""Errors of every class, for the tests of errors and of retries."""

from paystar_async.errors import (
    BY_STATUS,
    ConfigurationError,
    InvalidResponse,
    InvalidValue,
    MissingExtra,
    NoResponse,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
    status_class,
)

TRANSIENT: list[PaystarError] = [
    NoResponse("no response within 5 s"),
    InvalidResponse("$", "an HTML page", http_status=502),
    InvalidResponse("$.data.is_matched", "expected true or false", retry_after=3.0),
    status_class(0)(0),
    status_class(11)(11),
    *[status_class(8)(8, http_status=http) for http in (408, 429, 500, 502, 503, 504)],
]
"""Errors after which a call that changes nothing may be repeated."""

NOT_TRANSIENT: list[PaystarError] = [
    PaystarError("a fault", executed="maybe", hint="check the status"),
    ConfigurationError("no account", hint="pass an account"),
    MissingExtra("Redis", "redis"),
    InvalidValue("transfers[3].amount", expected="whole Rial", got="1.5", hint="pass an int"),
    TrackIdConflict("track_id t is on record"),
    StorageError("the database is locked"),
    StatusError(99, "پیام", endpoint="transfers.settle", fields={"amount": ["too low"]}, http_status=400),
    *[kind(status, "x") for status, kind in BY_STATUS.items() if status not in (0, 11)],
]


def error_id(error: PaystarError) -> str:
    return f"{type(error).__name__}-{getattr(error, 'http_status', '')}"
