"""How a shared store holds a key: what its changes compare stands open beside one text, which may be sealed."""

import json
import math
from collections.abc import Mapping
from typing import TypeGuard, cast

from attrs import frozen

from paystar_async.errors import ForeignRecord, SchemaMismatch, StorageCorrupt, WrongStorageKey
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret

FORMAT = 1

_SECRET_FIELDS = ("open", "token", "refresh_token")


@frozen(kw_only=True)
class StoredKey:
    """A record as it lies in a store.

    Attributes:
        version: counts the changes.
        owner: who is renewing it.
        until: when that one counts as dead, by the store's clock.
        lost: whether the refresh token was refused for good.
        body: the rest, as text.
    """

    version: int
    owner: str | None
    until: float | None
    refresh_rejected: bool
    body: Secret


def stored(key: KeyId, fields: Mapping[str, object]) -> StoredKey:
    """What a store holds, its types checked; raises StorageCorrupt."""
    version, owner, until = fields["version"], fields["owner"], fields["until"]
    lost, body = fields["lost"], fields["body"]
    if (
        isinstance(version, int)
        and version > 0
        and isinstance(owner, str | None)
        and _is_moment(until)
        and lost in (0, 1)
        and isinstance(body, Secret)
    ):
        return StoredKey(version=version, owner=owner, until=until, refresh_rejected=bool(lost), body=body)
    raise _corrupt(key)


def to_text(key: KeyId, record: KeyRecord, crypto: Crypto | None) -> Secret:
    """The part of a record that is stored as one text, sealed where there is a key for it."""
    inner = Secret(
        json.dumps(
            {
                "token": record.token.reveal() if record.token is not None else None,
                "refresh_token": record.refresh_token.reveal() if record.refresh_token is not None else None,
                "issued_at": record.issued_at,
                "expires_at": record.expires_at,
                "suspect": record.suspect,
            }
        )
    )
    # The owner's name is stored within, so that a record that was copied to another's place is not used there.
    outer = {"format": FORMAT, "realm": key.realm, "account": key.account}
    if crypto is not None:
        return Secret(json.dumps(outer | {"sealed": crypto.seal(inner, key.realm, key.account)}))
    return Secret(json.dumps(outer | {"open": inner.reveal()}))


def to_record(key: KeyId, held: StoredKey, crypto: Crypto | None) -> KeyRecord:
    """The record.

    Raises:
        StorageCorrupt: it cannot be read.
        SchemaMismatch: a newer version wrote it.
        ForeignRecord: it is another account's.
        WrongStorageKey: it is sealed, and no key opens it.
    """
    outer = _object(held.body)
    if outer is None or type(outer.get("format")) is not int:
        raise _corrupt(key)
    if outer["format"] != FORMAT:
        raise SchemaMismatch(f"the {key.realm} key of {key.account} was stored by another version of this package")
    if (outer.get("realm"), outer.get("account")) != (key.realm, key.account):
        raise ForeignRecord(f"what is stored as the {key.realm} key of {key.account} is another account's")
    inner = _object(_inner(key, outer, crypto)) or {}
    token, refresh_token = inner.get("token", 0), inner.get("refresh_token", 0)
    issued_at, expires_at = inner.get("issued_at", ""), inner.get("expires_at", "")
    suspect = inner.get("suspect", False)
    if (
        isinstance(token, Secret | None)
        and isinstance(refresh_token, Secret | None)
        and _is_moment(issued_at)
        and _is_moment(expires_at)
        and isinstance(suspect, bool)
    ):
        return KeyRecord(
            version=held.version,
            token=token,
            refresh_token=refresh_token,
            issued_at=issued_at,
            expires_at=expires_at,
            lease_owner=held.owner,
            lease_expires_at=held.until,
            refresh_rejected=held.refresh_rejected,
            suspect=suspect,
        )
    raise _corrupt(key)


def _inner(key: KeyId, outer: Mapping[str, object], crypto: Crypto | None) -> Secret:
    held = outer.get("open")
    if isinstance(held, Secret):
        return held  # sealed with the next change, where there is a key for it now
    sealed = outer.get("sealed")
    if not isinstance(sealed, str):
        raise _corrupt(key)
    if crypto is None:
        raise WrongStorageKey(f"the {key.realm} key of {key.account} is stored encrypted, and no key was given")
    return crypto.unseal(sealed, key.realm, key.account)


def _object(text: Secret) -> dict[str, object] | None:
    """The JSON object a text is, its secrets wrapped at once: no frame of ours holds one as it is."""
    try:
        value = json.loads(text.reveal(), object_hook=_wrapped)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _wrapped(found: dict[str, object]) -> dict[str, object]:
    return {
        name: Secret(held) if name in _SECRET_FIELDS and isinstance(held, str) else held for name, held in found.items()
    }


def _is_moment(value: object) -> TypeGuard[float | None]:
    return value is None or (isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value))


def _corrupt(key: KeyId) -> StorageCorrupt:
    return StorageCorrupt(
        f"what is stored as the {key.realm} key of {key.account} cannot be read",
        hint="restore it, or delete this one record and put a key in place with keys.replace(...)",
    )
