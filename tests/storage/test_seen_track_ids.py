"""The set that finds repeated track_ids in a batch."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import StorageUnavailable
from paystar_async.storage.seen_track_ids import SeenTrackIds


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3)))
def test_add_repeated_track_id_returns_first_number(track_ids: list[str]) -> None:
    seen_ids, numbers = SeenTrackIds(), dict[str, int]()
    for number, track_id in enumerate(track_ids):
        assert seen_ids.add(track_id, number) == numbers.get(track_id)
        numbers.setdefault(track_id, number)
    seen_ids.close()


def test_add_full_disk_is_storage_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDatabase:
        def execute(self, sql: str, *_: object) -> None:
            if sql.startswith("INSERT"):
                raise sqlite3.OperationalError("database or disk is full")

    def connect(*_: object, **__: object) -> FullDatabase:
        return FullDatabase()

    monkeypatch.setattr(sqlite3, "connect", connect)

    with pytest.raises(StorageUnavailable, match="disk is full"):
        SeenTrackIds().add("t-1", 1)
