"""Escape text for PostgreSQL databases whose encoding lacks letters: LATIN1, or WIN1256 without the Persian ye.

Such a database stores Python's ``unicode_escape`` of a text, which is ASCII. Equal texts have equal escapes, so that
comparisons in statements still work.
"""

from contextlib import suppress

from paystar_async.storage.database import Row

_WIDE = {"UTF8", "UTF-8", "UNICODE", "SQL_ASCII", None}
"""Encodings that store UTF-8 unchanged; None: a server, such as a pooler, that does not name its encoding."""
_ESCAPE = "unicode_escape"

PlainParameters = dict[str, str | int | float | None]


def is_narrow(server_encoding: str | None) -> bool:
    """Return True if a database in this encoding lacks letters."""
    return server_encoding not in _WIDE


def narrow_parameters(parameters: PlainParameters) -> PlainParameters:
    """Return the parameters with texts in ASCII; rows in JSON, whose texts are escaped before, are left unchanged."""
    return {
        name: value.encode(_ESCAPE).decode("ascii") if type(value) is str else value
        for name, value in parameters.items()
    }


def widen_row(row: Row) -> Row:
    """Return a row with its texts decoded."""
    return {name: _text(value) if isinstance(value, str) else value for name, value in row.items()}


def _text(value: str) -> str:
    with suppress(UnicodeError, Warning):  # written by another program: return it unchanged
        return value.encode("ascii").decode(_ESCAPE)
    return value
