"""A set of track_ids on disk, which finds repeated track_ids in batches of any length."""

import sqlite3

from paystar_async.errors import StorageUnavailable

_SETUP = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "CREATE TABLE seen (track_id TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID",
    "BEGIN",
)


class SeenTrackIds:
    """A set of track_ids in a temporary file, which SQLite deletes at ``close``; memory does not grow."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in _SETUP:
            self._database.execute(statement)

    def add(self, track_id: str, number: int) -> int | None:
        """Add a track_id and return None; return the first number of a track_id that was added before.

        Args:
            track_id: the track_id as it is sent.
            number: its position in the batch, such as a row number.

        Raises:
            StorageUnavailable: the temporary file cannot be read or written.
        """
        try:
            if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (track_id, number)).rowcount:
                return None
            (first,) = self._database.execute("SELECT number FROM seen WHERE track_id = ?", (track_id,)).fetchone()
        except sqlite3.Error as error:
            raise StorageUnavailable(
                f"checking for repeated track_ids: {error}", hint="the directory for temporary files needs room"
            ) from None
        return int(first)

    def close(self) -> None:
        """Delete the file."""
        self._database.close()
