"""The last calls and their answers, shown with secrets and personal values masked."""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, cast

from attrs import define, field

from paystar_async.endpoint import Endpoint
from paystar_async.models.base import fields_of
from paystar_async.sandbox.authentication import Raw
from paystar_async.sandbox.faults import Plan
from paystar_async.sandbox.responses import Reply
from paystar_async.table import TABLE
from paystar_async.values.kind import Kind
from paystar_async.values.mask import described, scrub

LENGTH = 50
HIDDEN = "••••••••"
_SECRETS = frozenset(
    {"access_password", "password", "sign", "api_key", "refresh_token", "inquiry_key", "refresh_inquiry_key", "token"}
)
_PERSONAL = frozenset({"first_name", "last_name", "hashed_card_number", "mail"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,39}")
_PLAIN = frozenset({"application_id", "wallet_hashid", "hashid", "api_key_expire_date", "inquiry_key_expire_date"})


def _kinds() -> Iterator[tuple[str, Kind]]:
    for row in TABLE:
        for model in (row.request, *(one.item for one in fields_of(row.request) if one.item)):
            yield from ((one.name, one.kind) for one in fields_of(model) if one.kind and not one.item)


_KINDS: Mapping[str, Kind] = dict(_kinds())


@define(eq=False)
class LoggedRequest:
    """A call and what it was answered.

    Attributes:
        number: which it is since the sandbox began.
        at: seconds since 1970, by the sandbox's clock.
        row: the call.
        raw: its fields as they arrived; in clear, so look at ``fields``.
        went_wrong: the kinds of fault it met.
        reply: the answer; None while there is none, and where none was sent.
    """

    number: int
    at: float
    row: Endpoint
    raw: Raw = field(repr=False)
    went_wrong: tuple[str, ...] = ()
    reply: Reply | None = field(default=None, repr=False)

    def meets(self, plan: Plan) -> None:
        """Take down what goes wrong with it."""
        self.went_wrong = tuple(str(fault.kind) for fault in (plan.latency, plan.style, plan.fault) if fault)

    @property
    def fields(self) -> object:
        """What was sent, masked."""
        return masked(self.raw, sent=True)

    @property
    def answer(self) -> object:
        """What was answered, masked; what is no JSON is only described where it may hold part of an answer."""
        if self.reply is None:
            return None
        text = self.reply.body.decode(errors="replace")
        if self.reply.media != "application/json":
            return text
        try:
            return masked(json.loads(text))
        except ValueError:
            return f"{described(text)}, broken off"

    @property
    def status(self) -> object:
        """The envelope's status; None where there is none to read."""
        answer = self.answer
        return cast("Mapping[str, object]", answer).get("status") if isinstance(answer, dict) else None


class RequestLog:
    """Keeps the last calls."""

    def __init__(self) -> None:
        self._kept: deque[LoggedRequest] = deque(maxlen=LENGTH)
        self._numbers = count(1)

    def begin(self, at: float, row: Endpoint, raw: Raw) -> LoggedRequest:
        """A call has come."""
        exchange = LoggedRequest(next(self._numbers), at, row, raw)
        self._kept.append(exchange)
        return exchange

    def newest(self) -> Iterator[LoggedRequest]:
        """The calls that are kept, newest first."""
        return reversed(self._kept)


def masked(value: object, name: str = "", *, sent: bool = False) -> Any:
    """A value as it may be shown, field by field.

    Args:
        value: of a request or an answer.
        name: the field it is the value of.
        sent: whether it was sent: what the sandbox has no name for may be anything then, a secret too.
    """
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {_shown(key): masked(one, key, sent=sent) for key, one in fields.items()}
    if isinstance(value, list):
        return [masked(one, name, sent=sent) for one in cast("list[object]", value)]
    if value is None or value == "" or isinstance(value, bool):
        return value
    if name in _SECRETS:
        return HIDDEN
    kind = _KINDS.get(name)
    if kind is not None:
        shown = kind.mask(value)
        return value if shown == repr(value) else shown
    if name in _PLAIN:
        return value
    if sent or name in _PERSONAL:
        return described(value)
    return scrub(value) if isinstance(value, str) else value


def _shown(name: str) -> str:
    """A field's name, if it looks like one: a body that was read as a form makes a whole request a name."""
    return name if _NAME.fullmatch(name) else "…"
