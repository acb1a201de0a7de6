"""From what a client is given to a database."""

import re
from os import PathLike, fspath

from paystar_async.errors import ConfigurationError
from paystar_async.runtime.clock import Clock
from paystar_async.storage.database import Database
from paystar_async.values.masking import mask_address

_MISTYPED = re.compile(
    r"^\s*(?:rediss?|unix|postgres(?:ql)?|sqlite|mysql|https?)(?::|//)"
    r"|^(?![A-Za-z]:[\\/]).*(?:(?::|//).*@)"
    r"|\b(?:password|host|dbname)\s*=",
    re.IGNORECASE | re.DOTALL,
)
"""An address with a slip in it: ``redis//:password@host``, ``postgres:/user:password@host``, ``host=… password=…``."""


def database(given: str | PathLike[str] | Database, clock: Clock | None = None) -> Database:
    """The database meant: a file's path, ``sqlite:///path``, ``postgresql://…``, or one that is handed in.

    Raises:
        ConfigurationError: the text names none, or its extra is not installed.
    """
    if isinstance(given, Database):
        return given
    if not isinstance(given, str | PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"a {type(given).__name__} is no database", hint='a path such as "paystar.db", or postgresql://…'
        )
    text = fspath(given)
    scheme, found, rest = text.partition("://")
    if found and scheme in {"postgresql", "postgres"}:
        from paystar_async.storage.postgres import PostgresDatabase

        return PostgresDatabase(text)
    if found and scheme == "sqlite":
        text = rest.removeprefix("/")
    elif found:
        raise ConfigurationError(
            f"no database is named {mask_address(text)}", hint='a path such as "paystar.db", or postgresql://…'
        )
    elif _MISTYPED.search(text):
        # As a path it would put a password into the name of a file, and into every error about that file.
        raise ConfigurationError(
            f"{mask_address(text)} looks like an address, and is not written as one",
            hint='a path such as "paystar.db", or postgresql://user:password@host/name',
        )
    if text in {"", ":memory:"}:
        raise ConfigurationError("a database needs a file", hint='a path such as "paystar.db", or postgresql://…')
    from paystar_async.storage.sqlite import SqliteDatabase

    return SqliteDatabase(text, clock=clock)
