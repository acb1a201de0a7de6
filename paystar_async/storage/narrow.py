"""Texts in a database whose encoding has not all letters, such as LATIN1 or WIN1256, which has no Persian ye.

There each text is kept in Python's ``unicode_escape``: ASCII, and the same text for the same text, so that statements
that compare texts hold as they are.
"""

from contextlib import suppress

from paystar_async.storage.database import Row

_WIDE = {"UTF8", "UTF-8", "UNICODE", "SQL_ASCII", None}
"""Encodings of a server that keep what comes as UTF-8 as it is; one that does not name its own, a pooler say, too."""
_ESCAPE = "unicode_escape"

Bare = dict[str, str | int | float | None]


def is_narrow(server_encoding: str | None) -> bool:
    """Return True if a database in this encoding lacks letters."""
    return server_encoding not in _WIDE


def narrowed(parameters: Bare) -> Bare:
    """Return parameters as such a database can keep them; rows in JSON, whose texts were narrowed, as they are."""
    return {
        name: value.encode(_ESCAPE).decode("ascii") if type(value) is str else value
        for name, value in parameters.items()
    }


def widened(row: Row) -> Row:
    """Return a row of such a database with its texts as they were given."""
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


def _text(value: str) -> str:
    with suppress(UnicodeError, Warning):  # of somebody else's making, then: as it is
        return value.encode("ascii").decode(_ESCAPE)
    return value
