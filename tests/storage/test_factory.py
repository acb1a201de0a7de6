"""The database factory: addresses, paths, and mistyped addresses."""

import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.storage.factory import database
from paystar_async.storage.sqlite import SqliteDatabase


@pytest.mark.parametrize(
    "text",
    ["", ":memory:", "mysql://host/name", "sqlite://", "postgresql://a:canary@[b/c", "postgresql://a:canary@b/c?x=1"],
)
def test_database_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        database(text)
    assert "canary" not in str(refusal.value)
    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    "address",
    ["redis//:CANARY@h", "postgres:/u:CANARY@h", "u:CANARY@h", "Redis://:CANARY@h", "host=h password=CANARY"],
)
def test_database_mistyped_address_is_refused(address: str) -> None:
    """Used as a path, the text would put the password into a file name."""
    with pytest.raises(ConfigurationError) as raised:
        database(address)

    assert "CANARY" not in str(raised.value)
    assert "redis://host" in raised.value.hint  # PAYSTAR_KEYS is read here too


@pytest.mark.parametrize("path", ["a@b/keys.db", "data//keys.db", "C:\\data\\a@b.db", "redis/keys.db", "host-1.db"])
def test_database_odd_path_is_a_sqlite_file(path: str) -> None:
    assert isinstance(database(path), SqliteDatabase)
