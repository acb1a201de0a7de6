"""Base classes of errors.

``executed`` states whether the call may have had an effect: ``"no"`` (safe to repeat) or ``"maybe"`` (check the status
before repeating). The class defaults apply to calls that move money; a call that only reads is always ``"no"``. The
payout classifier uses the same defaults.
"""

import copyreg
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal, NamedTuple

from paystar_async.errors.text import visible

Executed = Literal["no", "maybe"]

_MAX_ROWS_SHOWN = 5
MAX_FIELDS_SHOWN = 5
"""The largest number of rejected fields in the text of an error; ``fields`` contains all of them."""


class PaystarError(Exception):
    """The base class of all errors of this package; the texts contain no control characters.

    Attributes:
        executed: whether the call may have had an effect: ``"no"`` or ``"maybe"``.
        hint: the recommended next step.
    """

    executed: Executed = "no"
    hint: str = ""

    def __init__(self, message: str, *, executed: Executed | None = None, hint: str | None = None) -> None:
        super().__init__(visible(message))
        if executed is not None:
            self.executed = executed
        if hint is not None:
            self.hint = visible(hint)

    def __str__(self) -> str:
        return " – ".join(part for part in (str(self.args[0]), self.hint) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call __init__ with args alone and lose the keyword arguments.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ConfigurationError(PaystarError):
    """Credentials, a setting or an extra is missing or wrong; nothing was sent."""


class MissingExtra(ConfigurationError, ModuleNotFoundError):
    """An extra of the package is not installed; the hint is the command that installs it. Nothing was sent.

    Args:
        feature: what needs the extra.
        extra: the name of the extra.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the {extra} extra", hint=f"pip install 'paystar-async[{extra}]'")


class InvalidValue(PaystarError, ValueError):
    """A value is not valid; nothing was sent.

    Attributes:
        field: the field's name, with its place in a list (``transfers[3].amount``).
        expected: the valid form.
        got: the value, masked.
    """

    def __init__(self, field: str, *, expected: str, got: str, hint: str | None = None) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}", hint=hint)
        self.field, self.expected, self.got = visible(field), expected, visible(got)

    def at(self, place: str) -> "InvalidValue":
        """Return the error with the field's name prefixed by ``place`` (``amount`` at ``transfers[3]``)."""
        return InvalidValue(f"{place}.{self.field}", expected=self.expected, got=self.got, hint=self.hint or None)


class UnknownOrder(InvalidValue):
    """A callback names an order that is not stored; respond to the browser with 400. Nothing was sent."""


class OrderConflict(InvalidValue):
    """The order_id is stored with another amount; nothing was sent."""


class OrderPaid(OrderConflict):
    """The order is already paid by a verified payment; nothing was sent."""


class RowError(NamedTuple):
    """An error in a row of a batch.

    Attributes:
        row: the row number: in a spreadsheet the header is row 1, in an iterable the first item is row 1.
        field: the field's name, or an empty text for an error of the whole row.
        reason: the expected and the actual value, masked.
        place: the cell as its file names it: ``cell B7 (amount)``, ``row 7, amount``; empty for an iterable.
    """

    row: int
    field: str
    reason: str
    place: str = ""

    def __str__(self) -> str:
        place = self.place or f"row {self.row}{f', {self.field}' if self.field else ''}"
        return f"{place}: {self.reason}"


class InvalidRows(InvalidValue):
    """Rows of a batch are not valid; nothing of the batch was sent.

    Attributes:
        rows: the errors, in order.
    """

    hint = "correct the rows and submit the whole batch again"

    def __init__(self, rows: Sequence[RowError]) -> None:
        shown = "; ".join(str(row) for row in rows[:_MAX_ROWS_SHOWN])
        more = f"; and {len(rows) - _MAX_ROWS_SHOWN} more" if len(rows) > _MAX_ROWS_SHOWN else ""
        super().__init__("transfers", expected="valid rows", got=shown + more)
        self.rows = tuple(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows,)


class NotSent(PaystarError):
    """The request was provably not sent: no connection, no free slot, or no time left."""

    hint = "nothing happened; repeating the call is safe"


class NoResponse(PaystarError):
    """The request may have been sent, and no response arrived."""

    executed: Executed = "maybe"
    hint = "check the status before repeating: find by track_id, or inquiry by ref_num"


class InvalidResponse(PaystarError):
    """The response cannot be parsed; the call may have been executed.

    Attributes:
        path: the JSON path in the response (``$.data.is_matched``).
        http_status: the HTTP status of the response, or None.
        retry_after: seconds to wait before a retry as requested by the server, or None.
    """

    executed: Executed = "maybe"
    hint = "check the status before repeating: find by track_id, or inquiry by ref_num"

    def __init__(
        self,
        path: str,
        reason: str,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
        executed: Executed | None = None,
    ) -> None:
        where = f" (HTTP {http_status})" if http_status is not None else ""
        super().__init__(f"invalid response at {path}: {reason}{where}", executed=executed)
        self.path, self.http_status, self.retry_after = visible(path), http_status, retry_after


class TrackIdConflict(PaystarError):
    """The track_id is stored for a transfer with other contents; nothing was sent."""

    hint = "use a new track_id for a new transfer, or the exact contents of the stored transfer"


class StorageError(PaystarError):
    """A key store, ledger or order store is unusable or corrupt; nothing was overwritten."""


class StorageUnavailable(StorageError):
    """The store is unreachable or not writable: down, locked, full, or without permission."""

    hint = "check that the store is running, has space and is writable for this process; then call again"


class StorageCorrupt(StorageError):
    """The store's content cannot be parsed: the file is not a database, or a record is not valid."""

    hint = "restore the store from a backup, or move it away and start with an empty store; nothing was changed"


class SchemaMismatch(StorageError):
    """The schema of the store belongs to a newer version of this package or to another program."""

    hint = "upgrade paystar-async on this host, or configure another store"


class ForeignRecord(StorageError):
    """The stored record belongs to another account."""

    hint = "a record was copied or restored to the wrong place; delete that record, or configure another store"


class WrongStorageKey(StorageError):
    """None of the configured keys decrypts a record."""

    hint = "add the key that encrypted the record: Crypto([newest, ..., oldest])"


class StatusError(PaystarError):
    """A response with an error status; an unknown status raises this class itself.

    Attributes:
        status: the status of the response, an int or a word; the HTTP status if the body has no status.
        message: Paystar's message, masked.
        fields: Paystar's messages by field.
        endpoint: the id of the endpoint (``transfers.settle``).
        http_status: the HTTP status of the response.
        retry_after: seconds to wait before a retry as requested by the server, or None.
    """

    executed: Executed = "maybe"
    hint = "a status unknown to this version; check the status of the call before repeating"
    credential_fields: ClassVar[Mapping[str, str]] = {}
    """The setting behind each field that no caller passes: the hint names it when Paystar rejects that field."""

    def __init__(
        self,
        status: int | str,
        message: str = "",
        *,
        endpoint: str = "",
        fields: Mapping[str, Sequence[str]] | None = None,
        http_status: int = 200,
        retry_after: float | None = None,
        executed: Executed | None = None,
    ) -> None:
        self.status = visible(status) if isinstance(status, str) else status
        self.message, self.endpoint = visible(message), endpoint
        self.fields: dict[str, list[str]] = {
            visible(name): list(map(visible, texts)) for name, texts in (fields or {}).items()
        }
        self.http_status, self.retry_after = http_status, retry_after
        shown = islice(self.fields.items(), MAX_FIELDS_SHOWN)
        details = "".join(f"; {name}: {', '.join(texts)}" for name, texts in shown)
        if len(self.fields) > MAX_FIELDS_SHOWN:
            details += f"; and {len(self.fields) - MAX_FIELDS_SHOWN} more fields"
        where = f"{endpoint}: " if endpoint else ""
        settings = [setting for name, setting in self.credential_fields.items() if name in self.fields]
        super().__init__(
            f"{where}{message or type(self).__name__}{details} (status {status}, HTTP {http_status})",
            executed=executed,
            hint=f"check {', '.join(settings)}" if settings else None,
        )
