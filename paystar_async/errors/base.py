"""Every error, and what is known once it is raised.

A caller branches on one question: could this call have had an effect? ``executed`` answers it –
``"no"`` (safe to do again) or ``"maybe"`` (ask before doing it again). The class default below is the
answer for a call that moves something; a call that only reads is always ``"no"``. The payout classifier
reads this same table.
"""

import copyreg
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

from paystar_async.errors.text import visible

Executed = Literal["no", "maybe"]

_ROWS_TOLD = 5
MAX_FIELDS_SHOWN = 5
"""Refused fields that an error's text names; ``fields`` holds more of them."""


class PaystarError(Exception):
    """Base of everything this package raises. Its texts hold no control characters, wherever they came from.

    Attributes:
        executed: could the call have had an effect: ``"no"`` or ``"maybe"``.
        hint: what to do next.
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
        # The default would call __init__ with args alone and lose every keyword.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ConfigurationError(PaystarError):
    """An account, a setting or an extra is missing or wrong; nothing was sent."""


class InvalidValue(PaystarError, ValueError):
    """A value was refused before a byte left.

    Attributes:
        field: the field's name, with its place in a list (``transfers[3].amount``).
        expected: the shape it must have.
        got: what came, masked.
    """

    def __init__(self, field: str, *, expected: str, got: str, hint: str | None = None) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}", hint=hint)
        self.field, self.expected, self.got = visible(field), expected, visible(got)

    def at(self, place: str) -> "InvalidValue":
        """The same refusal, named from further out (``amount`` at ``transfers[3]``)."""
        return InvalidValue(f"{place}.{self.field}", expected=self.expected, got=self.got, hint=self.hint or None)


class UnknownOrder(InvalidValue):
    """A callback names an order that is not stored here; answer the browser with 400. Nothing was asked."""


class OrderConflict(InvalidValue):
    """This order_id is stored with another amount; nothing was sent."""


class OrderPaid(OrderConflict):
    """This order is paid: a payment of it was verified. Nothing was sent."""


class RowError(NamedTuple):
    """What is wrong with one row of a batch.

    Attributes:
        row: its number: the spreadsheet's own, the header being 1; in an iterable the first item is 1.
        field: the field's name, or nothing where it is the row as a whole.
        reason: what was expected and what came, masked.
        place: the cell in the words of its file: ``cell B7 (amount)``, ``row 7, amount``; nothing for an iterable.
    """

    row: int
    field: str
    reason: str
    place: str = ""

    def __str__(self) -> str:
        place = self.place or f"row {self.row}{f', {self.field}' if self.field else ''}"
        return f"{place}: {self.reason}"


class InvalidRows(InvalidValue):
    """Rows of a batch were refused; nothing of it was sent.

    Attributes:
        rows: all that is wrong, in order.
    """

    hint = "correct them and submit all of it again"

    def __init__(self, rows: Sequence[RowError]) -> None:
        told = "; ".join(str(one) for one in rows[:_ROWS_TOLD])
        more = f"; and {len(rows) - _ROWS_TOLD} more" if len(rows) > _ROWS_TOLD else ""
        super().__init__("transfers", expected="rows that are all in order", got=told + more)
        self.rows = tuple(rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rows,)


class NotSent(PaystarError):
    """The request provably never left this machine: no connection, no free slot, no time left."""

    hint = "nothing happened; it is safe to call again"


class NoResponse(PaystarError):
    """The request may have arrived, and no answer came back."""

    executed: Executed = "maybe"
    hint = "ask before repeating: find by track_id, or inquiry by ref_num"


class InvalidResponse(PaystarError):
    """An answer came that cannot be read; what it answers may have happened.

    Attributes:
        path: where in the answer, as a JSON path (``$.data.is_matched``).
        http_status: the HTTP status it came with, if any.
        retry_after: seconds the server asked to wait, if it did.
    """

    executed: Executed = "maybe"
    hint = "ask before repeating: find by track_id, or inquiry by ref_num"

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
        super().__init__(f"unreadable answer at {path}: {reason}{where}", executed=executed)
        self.path, self.http_status, self.retry_after = visible(path), http_status, retry_after


class TrackIdConflict(PaystarError):
    """This track_id is on record with other contents; nothing was sent."""

    hint = "use a new track_id for a new transfer, or the first one's exact contents"


class StorageError(PaystarError):
    """A key store, ledger or order store cannot be used or cannot be trusted; nothing was overwritten."""


class StorageUnavailable(StorageError):
    """The store cannot be reached or cannot write: it is down, locked, full, or not permitted."""

    hint = "see that the store is up, has room and lets this process write; then call again"


class StorageCorrupt(StorageError):
    """What the store holds cannot be read: a file that is no database, or a record that makes no sense."""

    hint = "restore it from a backup, or move it away and start anew; nothing in it was touched"


class SchemaMismatch(StorageError):
    """The store was laid out by a newer version of this package, or by something else."""

    hint = "upgrade paystar-async on this host, or name another store"


class ForeignRecord(StorageError):
    """A record that belongs to another account lies where this account's should be."""

    hint = "a record was copied or restored into the wrong place; delete it there, or name another store"


class WrongStorageKey(StorageError):
    """A record is encrypted, and none of the given keys opens it."""

    hint = "give the key it was encrypted with, too: Crypto([newest, ..., oldest])"


class StatusError(PaystarError):
    """Paystar answered with a status that is not success; one that is not in the table is of this class itself.

    Attributes:
        status: the status as it came, an int or a word; the HTTP status where the body holds none.
        message: Paystar's own message, masked.
        fields: what it says of single fields, field → messages.
        endpoint: the row that was called (``transfers.settle``).
        http_status: the HTTP status it came with.
        retry_after: seconds the server asked to wait, if it did.
    """

    executed: Executed = "maybe"
    hint = "a status this version does not know; ask before repeating"

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
        super().__init__(
            f"{where}{message or type(self).__name__}{details} (status {status}, HTTP {http_status})",
            executed=executed,
        )
