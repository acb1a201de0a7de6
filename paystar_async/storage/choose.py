"""From what a client is given to a database."""

from os import PathLike, fspath

from paystar_async.clock import Clock
from paystar_async.errors import ConfigurationError
from paystar_async.storage.database import Database


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
            f"no database is named {scheme}://", hint='a path such as "paystar.db", or postgresql://…'
        )
    if text in {"", ":memory:"}:
        raise ConfigurationError("a database needs a file", hint='a path such as "paystar.db", or postgresql://…')
    from paystar_async.storage.sqlite import SqliteDatabase

    return SqliteDatabase(text, clock=clock)
