"""Create the database that a client is configured with."""

import re
from os import PathLike, fspath

from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.errors.text import describe_type
from paystar_async.runtime.clock import Clock
from paystar_async.storage.database import Database
from paystar_async.values.masking import mask_address

_HINT = 'a path such as "paystar.db", or postgresql://user:password@host/name; keys may also be in redis://host:6379/0'
_MISTYPED = re.compile(
    r"^\s*(?:rediss?|unix|postgres(?:ql)?|sqlite|mysql|https?)(?::|//)"
    r"|^(?![A-Za-z]:[\\/]).*(?:(?::|//).*@)"
    r"|\b(?:password|host|dbname)\s*=",
    re.IGNORECASE | re.DOTALL,
)
"""A mistyped address: ``redis//:password@host``, ``postgres:/user:password@host``, ``host=… password=…``."""


def database(location: str | PathLike[str] | Database, clock: Clock | None = None) -> Database:
    """Return the database of a file's path, ``sqlite:///path`` or ``postgresql://…``, or the database itself.

    Raises:
        ConfigurationError: the text is not an address of a database, or its extra is not installed.
    """
    if isinstance(location, Database) and not isinstance(location, type):
        return location
    text: object = fspath(location) if isinstance(location, str | PathLike) else location
    if not isinstance(text, str):
        raise ConfigurationError(f"database must be a path or a Database, not {describe_type(location)}", hint=_HINT)
    scheme, separator, rest = text.partition("://")
    if separator and scheme in {"postgresql", "postgres"}:
        from paystar_async.storage.postgres import PostgresDatabase

        return PostgresDatabase(text)
    if separator and scheme == "sqlite":
        text = rest.removeprefix("/")
    elif separator:
        raise ConfigurationError(f"no database is named {mask_address(text)}", hint=_HINT)
    elif _MISTYPED.search(text):
        # Used as a path, the text would put a password into a file name, and into every error about that file.
        raise ConfigurationError(f"{mask_address(text)} looks like a mistyped address", hint=_HINT)
    if text in {"", ":memory:"}:
        raise ConfigurationError(
            "a database (database, keys) needs a file", hint='a path such as "paystar.db", or postgresql://…'
        )
    from paystar_async.storage.sqlite import SqliteDatabase

    try:
        return SqliteDatabase(text, clock=clock)
    except InvalidValue as error:
        got = error.got
    raise ConfigurationError(f"a database (database, keys) needs the path of a file, not {got}", hint=_HINT)
