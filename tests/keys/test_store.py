"""Key records and key ids are immutable values."""

import pickle

import attrs
import pytest

from paystar_async import Secret
from paystar_async.keys.store import KeyId, KeyRecord

RECORD = KeyRecord(version=3, token=Secret("key-canary"), refresh_token=Secret("refresh-canary"), expires_at=9.0)


def test_key_record_repr_hides_tokens() -> None:
    assert "canary" not in f"{RECORD!r} {RECORD}"


def test_key_record_attributes_are_immutable() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RECORD.refresh_rejected = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_key_record_pickling_raises() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(RECORD)


def test_key_id_equality_depends_on_realm_and_account() -> None:
    assert KeyId("wallet", "w") == KeyId("wallet", "w")
    assert len({KeyId("wallet", "w"), KeyId("inquiry", "w"), KeyId("wallet", "v")}) == 3
