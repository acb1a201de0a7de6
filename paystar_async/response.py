"""The response to a call, whatever its endpoint."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import define, field

T_co = TypeVar("T_co", covariant=True)


@define(kw_only=True)
class Response(Generic[T_co]):
    """The response to a call.

    Attributes:
        value: the response model.
        status: the envelope's status (``1`` or ``"ok"``).
        message: the envelope's message.
        http_status: the HTTP status; the envelope is parsed whatever the HTTP status.
        headers: the HTTP headers, names in lower case.
        body: the decoded body.
    """

    value: T_co
    status: int | str
    message: str
    http_status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
