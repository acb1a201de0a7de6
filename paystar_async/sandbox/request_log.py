"""The request log: the last calls and their responses, with secrets and personal values masked."""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, cast

from attrs import define, field

from paystar_async.endpoint import Endpoint
from paystar_async.models.base import fields_of
from paystar_async.sandbox.authentication import RawFields
from paystar_async.sandbox.faults import FaultPlan
from paystar_async.sandbox.responses import SandboxResponse
from paystar_async.table import TABLE
from paystar_async.values.field_type import FieldType
from paystar_async.values.masking import describe_value, mask_text

MAX_LOGGED_REQUESTS = 50
MASK = "••••••••"
_SECRETS = frozenset(
    {"access_password", "password", "sign", "api_key", "refresh_token", "inquiry_key", "refresh_inquiry_key", "token"}
)
_PERSONAL = frozenset({"first_name", "last_name", "hashed_card_number", "mail"})
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,39}")
_PLAIN = frozenset({"application_id", "wallet_hashid", "hashid", "api_key_expire_date", "inquiry_key_expire_date"})


def _iterate_field_types() -> Iterator[tuple[str, FieldType]]:
    for endpoint in TABLE:
        items = (model_field.item for model_field in fields_of(endpoint.request) if model_field.item)
        for model in (endpoint.request, *items):
            for model_field in fields_of(model):
                if model_field.field_type and not model_field.item:
                    yield model_field.name, model_field.field_type


_FIELD_TYPES: Mapping[str, FieldType] = dict(_iterate_field_types())


@define(eq=False)
class LoggedRequest:
    """A call and its response.

    Attributes:
        number: number of the request since the sandbox started, from 1.
        received_at: seconds since 1970, by the sandbox's clock.
        endpoint: the called endpoint.
        raw: the fields as received, not masked; ``masked_fields`` is for display.
        fault_kinds: the kinds of the call's faults.
        response: the response; None until it is sent, and if none is sent.
    """

    number: int
    received_at: float
    endpoint: Endpoint
    raw: RawFields = field(repr=False)
    fault_kinds: tuple[str, ...] = ()
    response: SandboxResponse | None = field(default=None, repr=False)

    def record_faults(self, plan: FaultPlan) -> None:
        """Record the kinds of the call's faults."""
        self.fault_kinds = tuple(str(fault.kind) for fault in (plan.latency, plan.http_status, plan.failure) if fault)

    @property
    def masked_fields(self) -> object:
        """The request's fields, masked."""
        return mask_value(self.raw, is_request=True)

    @property
    def masked_response(self) -> object:
        """The response's content, masked; truncated JSON is only described, for it may contain a secret."""
        if self.response is None:
            return None
        text = self.response.body.decode(errors="replace")
        if self.response.media_type != "application/json":
            return text
        try:
            return mask_value(json.loads(text))
        except ValueError:
            return f"{describe_value(text)}, truncated"

    @property
    def status(self) -> object:
        """The envelope's status, or None for a response without an envelope."""
        content = self.masked_response
        return cast("Mapping[str, object]", content).get("status") if isinstance(content, dict) else None


class RequestLog:
    """The last ``MAX_LOGGED_REQUESTS`` calls."""

    def __init__(self) -> None:
        self._requests: deque[LoggedRequest] = deque(maxlen=MAX_LOGGED_REQUESTS)
        self._sequence = count(1)

    def add(self, received_at: float, endpoint: Endpoint, raw: RawFields) -> LoggedRequest:
        """Log a request and return its log entry."""
        logged = LoggedRequest(next(self._sequence), received_at, endpoint, raw)
        self._requests.append(logged)
        return logged

    def newest(self) -> Iterator[LoggedRequest]:
        """Return an iterator over the logged calls, newest first."""
        return reversed(self._requests)


def mask_value(value: object, name: str = "", *, is_request: bool = False) -> Any:
    """Return a value for display, masked field by field.

    Args:
        value: a value of a request or a response.
        name: name of the value's field.
        is_request: True for a request: a field with an unknown name may then contain a secret.
    """
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {_display_name(key): mask_value(item, key, is_request=is_request) for key, item in fields.items()}
    if isinstance(value, list):
        return [mask_value(item, name, is_request=is_request) for item in cast("list[object]", value)]
    if value is None or value == "" or isinstance(value, bool):
        return value
    if name in _SECRETS:
        return MASK
    field_type = _FIELD_TYPES.get(name)
    if field_type is not None:
        masked = field_type.mask(value)
        return value if masked == repr(value) else masked
    if name in _PLAIN:
        return value
    if is_request or name in _PERSONAL:
        return describe_value(value)
    return mask_text(value) if isinstance(value, str) else value


def _display_name(name: str) -> str:
    """Return a field's name, or … for any other text: JSON parsed as a form makes the whole body a field name."""
    return name if _FIELD_NAME.fullmatch(name) else "…"
