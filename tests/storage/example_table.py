"""The table ``things`` of the storage tests."""

from paystar_async.storage.database import Value

SCHEMA = ("CREATE TABLE things (name TEXT PRIMARY KEY, version BIGINT NOT NULL, note TEXT, weight DOUBLE PRECISION)",)
INSERT = "INSERT INTO things (name, version, note, weight) VALUES (:name, :version, :note, :weight)"
ROW: dict[str, Value] = {"name": "a", "version": 1, "note": None, "weight": 1.5}
