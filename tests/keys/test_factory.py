"""The key store for each location that a client can be configured with."""

import sys
from pathlib import Path

import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.redis import RedisKeyStore
from paystar_async.runtime.clock import ManualClock


def test_make_key_store_selects_store_by_location(tmp_path: Path) -> None:
    clock = ManualClock()
    own_store = MemoryKeyStore(clock)
    assert make_key_store(own_store, clock) is own_store
    assert isinstance(make_key_store(None, clock), MemoryKeyStore)
    for path in (tmp_path / "keys.db", str(tmp_path / "keys.db"), f"sqlite:///{tmp_path}/keys.db"):
        assert isinstance(make_key_store(path, clock), DatabaseKeyStore)
    for url in ("redis://localhost/0", "rediss://:secret@host:1/0", "unix:///run/redis.sock"):
        assert isinstance(make_key_store(url, clock), RedisKeyStore)
    for url in ("postgresql://host/name", "postgres://user:secret@host/name"):
        assert isinstance(make_key_store(url, clock), DatabaseKeyStore)
    assert not list(tmp_path.iterdir())  # a store opens nothing before its first use


@pytest.mark.parametrize(
    "location", ["", ":memory:", "mysql://h/n", "redis://canary:canary", "rediss://u:canary@h:no/0"]
)
def test_make_key_store_invalid_location_raises(location: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make_key_store(location, ManualClock())
    assert "canary" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    ("module", "location", "extra"),
    [
        ("redis.asyncio", "unix://x", "redis"),
        ("psycopg", "postgresql://h", "postgres"),
    ],
)
def test_make_key_store_without_extra_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, location: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError) as raised:
        make_key_store(location, ManualClock())
    assert f"paystar-async[{extra}]" in raised.value.hint
