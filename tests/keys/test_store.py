import pickle

import attrs
import pytest

from paystar_async import Secret
from paystar_async.keys.store import KeyId, KeyRecord

RECORD = KeyRecord(version=3, token=Secret("key-canary"), refresh_token=Secret("refresh-canary"), expires_at=9.0)


def test_key_record_repr_hides_tokens() -> None:
    assert "canary" not in f"{RECORD!r} {RECORD}"


def test_a_record_is_not_changed_in_place() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        RECORD.refresh_rejected = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_record_does_not_slip_into_a_pickle() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(RECORD)


def test_a_key_is_whose_it_is() -> None:
    assert KeyId("wallet", "w") == KeyId("wallet", "w")
    assert len({KeyId("wallet", "w"), KeyId("inquiry", "w"), KeyId("wallet", "v")}) == 3
