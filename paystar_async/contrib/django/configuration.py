"""The setting ``PAYSTAR``, and one of Django's databases as the client's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.db import connections

from paystar_async.config import VARIABLES, Options
from paystar_async.errors import ConfigurationError
from paystar_async.storage.database import Database
from paystar_async.values.secret import Secret

DJANGO_DATABASE = "django:"
"""Prefix of a database that is named by its alias in ``DATABASES``: ``django:default``."""

_POSTGRES_FIELDS = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
_POSTGRES_OPTIONS = ("service", "passfile", "sslmode", "sslrootcert", "sslcert", "sslkey", "options", "connect_timeout")
"""Options of libpq that are taken over; others concern the cursors of Django alone."""


def client_options() -> Options:
    """Return the arguments of ``Paystar.from_env``: the setting ``PAYSTAR``, and Django's database if it is named.

    Raises:
        ConfigurationError: ``PAYSTAR`` is not a dict of arguments of ``Paystar``, or names a database that cannot be
            used.
    """
    value: object = getattr(settings, "PAYSTAR", {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"PAYSTAR must be a dict, not a {type(value).__name__}")
    options = dict(cast("Mapping[str, Any]", value))
    known = Options.__optional_keys__
    if unknown := [str(name) for name in options if name not in known]:
        raise ConfigurationError(
            f"PAYSTAR has unknown keys: {', '.join(unknown)}",
            hint=f"arguments of Paystar are {', '.join(sorted(known))}",
        )
    location = _database_setting(options)
    if isinstance(location, str) and location.startswith(DJANGO_DATABASE):
        options["database"] = django_database(location.removeprefix(DJANGO_DATABASE))
    elif isinstance(location, Mapping) or (isinstance(location, str) and location in connections.settings):
        # As a path, an alias would be a SQLite file of that name.
        raise ConfigurationError(
            "the database of PAYSTAR must be named by its alias, after 'django:'",
            hint='PAYSTAR = {"database": "django:default"}; write ./default for a file of that name',
        )
    return cast("Options", options)


def option(name: str) -> Any:
    """Return an argument of the client from the setting ``PAYSTAR`` or the environment; None if neither has it.

    Raises:
        ConfigurationError: the setting or the variable is wrong.
    """
    options: Mapping[str, Any] = cast("Mapping[str, Any]", client_options())
    return options[name] if name in options else VARIABLES[name]()


def shared_alias() -> str | None:
    """Return the alias of the Django database in which the client stores orders, or None; for a valid ``PAYSTAR``."""
    location = _database_setting(getattr(settings, "PAYSTAR", {}))
    if isinstance(location, str) and location.startswith(DJANGO_DATABASE):
        return location.removeprefix(DJANGO_DATABASE)
    return None


def _database_setting(options: Mapping[str, Any]) -> object:
    return options["database"] if "database" in options else VARIABLES["database"]()


def django_database(alias: str) -> Database:
    """Return one of Django's databases; the client has connections of its own to it.

    Args:
        alias: the alias in ``DATABASES``, of PostgreSQL or of a SQLite file.

    Raises:
        ConfigurationError: there is no such alias, or it is another kind of database.
    """
    if alias not in connections.settings:
        raise ConfigurationError(f"DATABASES has no {alias!r:.60}", hint='PAYSTAR = {"database": "django:default"}')
    values: Mapping[str, Any] = connections[alias].settings_dict
    vendor = connections[alias].vendor
    if vendor == "sqlite":
        from paystar_async.storage.sqlite import SqliteDatabase

        name = str(values["NAME"])
        if ":memory:" in name or "mode=memory" in name:
            raise ConfigurationError(
                f"DATABASES[{alias!r}] is in memory, where the client cannot share it",
                hint='in tests, name a file: DATABASES["default"]["TEST"] = {"NAME": "test.sqlite3"}',
            )
        if not name or name.startswith("file:"):
            raise ConfigurationError(
                f"DATABASES[{alias!r}] must name its file by a path, not by {'a URI' if name else 'nothing'}",
                hint=f'DATABASES[{alias!r}]["NAME"] = BASE_DIR / "db.sqlite3"',
            )
        return SqliteDatabase(Path(name))
    if vendor == "postgresql":
        return _postgres_database(values)
    raise ConfigurationError(
        f"DATABASES[{alias!r}] is {vendor}, which the client does not support",
        hint="use PostgreSQL or a SQLite file; another database than Django's is possible too",
    )


def _postgres_database(values: Mapping[str, Any]) -> Database:
    from paystar_async.storage.postgres import PostgresDatabase

    # First, so that a missing driver names its extra.
    from psycopg.conninfo import make_conninfo  # isort: skip

    options: Mapping[str, Any] = values.get("OPTIONS") or {}
    fields = {name: values[key] for key, name in _POSTGRES_FIELDS.items() if values.get(key)}
    fields |= {name: options[name] for name in _POSTGRES_OPTIONS if name in options}
    return PostgresDatabase(Secret(make_conninfo("", **fields)))
