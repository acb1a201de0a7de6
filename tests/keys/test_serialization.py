"""The stored form of a key: corrupt records, encryption, and errors without secrets."""

import json
import math
import pickle
import sqlite3
import traceback
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve

from paystar_async.errors import ForeignRecord, SchemaMismatch, StorageCorrupt, StorageError, WrongStorageKey
from paystar_async.keys.store import KeyId, KeyStore
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret
from tests.keys.backends import KEY, NEW_KEY, OLD_KEY, PAIR, SharedBackend, SqliteBackend, all_operations


def payload(**changes: object) -> str:
    inner = json.dumps({"token": "t", "refresh_token": "r", "issued_at": None, "expires_at": 1})
    return json.dumps({"format": 1, "realm": KEY.realm, "account": KEY.account, "open": inner} | changes)


def inner(**changes: object) -> str:
    fields = {"token": "t", "refresh_token": "r", "issued_at": None, "expires_at": 1}
    return payload(open=json.dumps(fields | changes))


CORRUPT_FIELDS: list[tuple[str, str | float | None, type[StorageError], str]] = [
    ("payload", "", StorageCorrupt, "payload"),
    ("payload", "}{", StorageCorrupt, "payload"),
    ("payload", "[]", StorageCorrupt, "payload"),
    ("payload", "[" * 100_000, StorageCorrupt, "payload"),
    ("payload", payload(open="]["), StorageCorrupt, "payload.open"),
    ("payload", payload(open=None), StorageCorrupt, "payload.sealed"),
    ("payload", payload(open="{}"), StorageCorrupt, "token"),
    ("payload", inner(token=1), StorageCorrupt, "token"),
    ("payload", inner(token=""), StorageCorrupt, "token"),
    ("payload", inner(token="line\r\nX: break"), StorageCorrupt, "token"),
    ("payload", inner(token="کلید"), StorageCorrupt, "token"),
    ("payload", inner(refresh_token=[]), StorageCorrupt, "refresh_token"),
    ("payload", inner(refresh_token=" "), StorageCorrupt, "refresh_token"),
    ("payload", inner(refresh_token="a\nb"), StorageCorrupt, "refresh_token"),
    ("payload", inner(refresh_token="a\0b"), StorageCorrupt, "refresh_token"),
    ("payload", inner(refresh_token="\ud800"), StorageCorrupt, "refresh_token"),
    ("payload", inner(issued_at=True), StorageCorrupt, "issued_at"),
    ("payload", inner(issued_at=math.nan), StorageCorrupt, "issued_at"),
    ("payload", inner(issued_at=math.inf), StorageCorrupt, "issued_at"),
    ("payload", inner(issued_at=-1e12), StorageCorrupt, "issued_at"),
    ("payload", inner(expires_at=10**400), StorageCorrupt, "expires_at"),
    ("payload", inner(expires_at=1e12), StorageCorrupt, "expires_at"),
    ("payload", inner(suspect=1), StorageCorrupt, "suspect"),
    ("payload", inner(order="1"), StorageCorrupt, "order"),
    ("payload", payload(format=None), StorageCorrupt, "payload.format"),
    ("payload", payload(format=True), StorageCorrupt, "payload.format"),
    ("payload", payload(format=2), SchemaMismatch, ""),
    ("payload", payload(account="another"), ForeignRecord, ""),
    ("payload", payload(realm="wallet"), ForeignRecord, ""),
    ("payload", payload(open=None, sealed="00000000.AAAA"), WrongStorageKey, ""),
    ("refresh_rejected", 7, StorageCorrupt, "refresh_rejected"),
    ("lease_expires_at", math.inf, StorageCorrupt, "lease_expires_at"),
    ("version", 0, StorageCorrupt, "version"),
    ("version", 2**53, StorageCorrupt, "version"),  # Redis could not count on
]


@pytest.mark.parametrize(("field", "value", "error_class", "named"), CORRUPT_FIELDS)
async def test_operations_on_corrupt_record_raise_and_keep_record(
    shared_backend: SharedBackend, field: str, value: str | float | None, error_class: type[StorageError], named: str
) -> None:
    store = shared_backend.store()
    await store.commit(KEY, 0, "me", PAIR)
    shared_backend.corrupt(KEY, field, value)
    before = shared_backend.raw_record(KEY)
    for operation in (*all_operations(store, 1), store.commit(KEY, 0, "me", PAIR)):
        with pytest.raises(StorageError, match="application key of race ") as raised:
            await operation
        assert type(raised.value) is error_class
        assert f"no valid {named} " in str(raised.value) or not named
        assert raised.value.hint
    assert shared_backend.raw_record(KEY) == before


async def test_storage_error_traceback_shows_no_token(shared_backend: SharedBackend) -> None:
    """Neither the text of the error nor a traceback that shows local variables contains the token."""
    store = shared_backend.store()
    canary = Secret(uuid.uuid4().hex)
    await store.commit(KEY, 0, "me", evolve(PAIR, token=canary))
    text = json.dumps({"token": canary.reveal(), "refresh_token": 1})
    for damaged in (
        payload(open=text),
        payload(open=text, format=0),
        canary.reveal(),
        payload(open=text, account="x"),
        payload(opem=text, open=None),
        inner(refresh_tokem=canary.reveal(), refresh_token=0),
    ):
        shared_backend.corrupt(KEY, "payload", damaged)
        hidden_text = Secret(damaged)
        del damaged
        error = await load_error(store, hidden_text)
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert canary.reveal() not in "".join(frames.format())
        unpickled = pickle.loads(pickle.dumps(error))
        assert (type(unpickled), str(unpickled), unpickled.hint) == (type(error), str(error), error.hint)
    del text


async def test_sqlite_payload_of_bytes_is_not_shown(tmp_path: Path) -> None:
    backend, canary = SqliteBackend(tmp_path / "keys.db"), uuid.uuid4().hex
    store = backend.store()
    await store.commit(KEY, 0, "me", PAIR)
    with closing(sqlite3.connect(backend.name)) as connection, connection:
        connection.execute("UPDATE paystar_keys SET payload = ?", (inner(token=canary).encode(),))
    error = await load_error(store, Secret(""))
    await backend.aclose()
    assert "no valid payload " in str(error)
    assert canary not in "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


async def load_error(store: KeyStore, _: Secret) -> StorageError:
    """Return the error of ``load``; the second argument is a local variable that tracebacks show."""
    try:
        await store.load(KEY)
    except StorageError as error:
        return error
    raise AssertionError


async def test_commit_with_crypto_stores_no_plain_token(shared_backend: SharedBackend) -> None:
    canary = uuid.uuid4().hex
    encrypted_store = shared_backend.store(Crypto([OLD_KEY]))
    await encrypted_store.commit(KEY, 0, "me", evolve(PAIR, token=Secret(canary), refresh_token=Secret(canary)))
    assert canary not in str(shared_backend.raw_record(KEY))
    assert await encrypted_store.mark_rejected(KEY, 1) is not None
    assert canary not in str(shared_backend.raw_record(KEY))


async def test_operations_with_wrong_storage_key_raise(shared_backend: SharedBackend) -> None:
    await shared_backend.store(Crypto([OLD_KEY])).commit(KEY, 0, "me", PAIR)
    before = shared_backend.raw_record(KEY)
    for wrong_store in (shared_backend.store(), shared_backend.store(Crypto([NEW_KEY]))):
        for operation in all_operations(wrong_store, 1):
            with pytest.raises(WrongStorageKey) as raised:
                await operation
            assert "Crypto" in raised.value.hint
            assert "application key of race" in str(raised.value)
    assert shared_backend.raw_record(KEY) == before


async def test_storage_key_rotation_encrypts_changed_records(shared_backend: SharedBackend) -> None:
    await shared_backend.store().commit(KEY, 0, "me", PAIR)
    old_store = shared_backend.store(Crypto([OLD_KEY]))
    assert await old_store.load(KEY) == evolve(PAIR, version=1)  # a plain record, encrypted by the next change
    await old_store.commit(KEY, 1, "me", PAIR)
    rotating_store = shared_backend.store(Crypto([NEW_KEY, OLD_KEY]))
    assert await rotating_store.load(KEY) == evolve(PAIR, version=2)
    with pytest.raises(WrongStorageKey):
        await shared_backend.store(Crypto([NEW_KEY])).load(KEY)
    await rotating_store.commit(KEY, 2, "me", PAIR)
    assert await shared_backend.store(Crypto([NEW_KEY])).load(KEY) == evolve(PAIR, version=3)
    with pytest.raises(WrongStorageKey):
        await old_store.load(KEY)


async def test_load_encrypted_record_of_other_account_raises(shared_backend: SharedBackend) -> None:
    store = shared_backend.store(Crypto([NEW_KEY]))
    other_key = KeyId("application", "other")
    await store.commit(KEY, 0, "me", PAIR)
    await store.commit(other_key, 0, "me", PAIR)
    other_payload = json.loads(str(shared_backend.raw_record(other_key)["payload"]))
    shared_backend.corrupt(KEY, "payload", json.dumps(other_payload | {"account": KEY.account}))
    with pytest.raises(WrongStorageKey, match="cannot be decrypted"):
        await store.load(KEY)
