"""The stored form of a key: columns that updates compare, and a payload, which may be encrypted."""

import json
import re
import sys
from collections.abc import Mapping
from typing import TypeGuard, cast

from attrs import frozen

from paystar_async.credentials import fits_header
from paystar_async.errors import ForeignRecord, SchemaMismatch, StorageCorrupt, WrongStorageKey
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret

FORMAT = 1

MAX_VERSION = 2**53
"""Redis counts in floating-point numbers, which are not exact beyond."""
MAX_TIME = 1e12
"""Seconds since 1970; no datetime is as late."""

_PLAIN_FIELDS = ("realm", "account", "sealed")
_SURROGATE = re.compile("[\ud800-\udfff]")


@frozen(kw_only=True)
class StoredKey:
    """A record in its stored form.

    Attributes:
        version: number of changes.
        owner: the refresher that holds the lease.
        lease_expires_at: end of the lease, by the store's clock.
        refresh_rejected: whether the refresh token was rejected.
        payload: the other fields, as text.
    """

    version: int
    owner: str | None
    lease_expires_at: float | None
    refresh_rejected: bool
    payload: Secret


def parse_stored_key(key: KeyId, fields: Mapping[str, object]) -> StoredKey:
    """Return the validated fields of a stored record; raise StorageCorrupt naming the field that is not valid."""
    version, owner, lease_expires_at = fields["version"], fields["owner"], fields["lease_expires_at"]
    refresh_rejected, payload = fields["refresh_rejected"], fields["payload"]
    if not isinstance(version, int) or not 0 < version < MAX_VERSION:
        raise _corrupt(key, "version")
    if not isinstance(owner, str | None):
        raise _corrupt(key, "owner")
    if not _is_number(lease_expires_at):
        raise _corrupt(key, "lease_expires_at")
    if refresh_rejected not in (0, 1):
        raise _corrupt(key, "refresh_rejected")
    if not isinstance(payload, Secret):
        raise _corrupt(key, "payload")
    return StoredKey(
        version=version,
        owner=owner,
        lease_expires_at=lease_expires_at,
        refresh_rejected=bool(refresh_rejected),
        payload=payload,
    )


def to_payload(key: KeyId, record: KeyRecord, crypto: Crypto | None) -> Secret:
    """Return the payload of a record, encrypted if ``crypto`` is given."""
    inner = Secret(
        json.dumps(
            {
                "token": record.token.reveal() if record.token is not None else None,
                "refresh_token": record.refresh_token.reveal() if record.refresh_token is not None else None,
                "issued_at": record.issued_at,
                "expires_at": record.expires_at,
                "suspect": record.suspect,
                "order": record.order,
            }
        )
    )
    # The account is part of the payload, so that a record copied to another account is not used there.
    outer = {"format": FORMAT, "realm": key.realm, "account": key.account}
    if crypto is not None:
        return Secret(json.dumps(outer | {"sealed": crypto.seal(inner, key.realm, key.account)}))
    return Secret(json.dumps(outer | {"open": inner.reveal()}))


def to_record(key: KeyId, stored_key: StoredKey, crypto: Crypto | None) -> KeyRecord:
    """Return the record.

    Raises:
        StorageCorrupt: the record cannot be parsed; the error names the field.
        SchemaMismatch: another version of this package wrote the record.
        ForeignRecord: the record belongs to another account.
        WrongStorageKey: the record is encrypted, and no key decrypts it.
    """
    outer = _parse_object(stored_key.payload)
    if outer is None:
        raise _corrupt(key, "payload")
    if type(outer.get("format")) is not int:
        raise _corrupt(key, "payload.format")
    if outer["format"] != FORMAT:
        raise SchemaMismatch(f"the {key.realm} key of {key.account} was stored by another version of this package")
    if (outer.get("realm"), outer.get("account")) != (key.realm, key.account):
        raise ForeignRecord(f"the stored {key.realm} key of {key.account} belongs to another account")
    inner = _parse_object(_decrypt(key, outer, crypto))
    if inner is None:
        raise _corrupt(key, "payload.open")
    token, refresh_token = inner.get("token", 0), inner.get("refresh_token", 0)
    issued_at, expires_at = inner.get("issued_at", ""), inner.get("expires_at", "")
    suspect, order = inner.get("suspect", False), inner.get("order")
    if not isinstance(token, Secret | None) or (token is not None and not fits_header(token.reveal())):
        raise _corrupt(key, "token")
    if not isinstance(refresh_token, Secret | None) or (refresh_token is not None and not _is_line(refresh_token)):
        raise _corrupt(key, "refresh_token")
    if not _is_time(issued_at):
        raise _corrupt(key, "issued_at")
    if not _is_time(expires_at):
        raise _corrupt(key, "expires_at")
    if not isinstance(suspect, bool):
        raise _corrupt(key, "suspect")
    if not _is_number(order):
        raise _corrupt(key, "order")
    return KeyRecord(
        version=stored_key.version,
        token=token,
        refresh_token=refresh_token,
        issued_at=issued_at,
        expires_at=expires_at,
        lease_owner=stored_key.owner,
        lease_expires_at=stored_key.lease_expires_at,
        refresh_rejected=stored_key.refresh_rejected,
        suspect=suspect,
        order=order,
    )


def _decrypt(key: KeyId, outer: Mapping[str, object], crypto: Crypto | None) -> Secret:
    plain = outer.get("open")
    if isinstance(plain, Secret):
        return plain  # encrypted by the next change if there is a key now
    encrypted = outer.get("sealed")
    if not isinstance(encrypted, str):
        raise _corrupt(key, "payload.sealed")
    if crypto is None:
        raise WrongStorageKey(f"the {key.realm} key of {key.account} is stored encrypted, and no key was given")
    try:
        return crypto.unseal(encrypted, key.realm, key.account)
    except WrongStorageKey as error:
        raise WrongStorageKey(
            f"the stored {key.realm} key of {key.account}: {error.args[0]}", hint=error.hint
        ) from None


def _parse_object(text: Secret) -> dict[str, object] | None:
    """Parse a JSON object; its secrets are wrapped at once, so that no frame here holds them as plain text."""
    try:
        value = json.loads(text.reveal(), object_hook=_wrap_secrets)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _wrap_secrets(fields: dict[str, object]) -> dict[str, object]:
    # Under an unknown name too: a name that was changed by hand must not reveal its value.
    return {
        name: Secret(value) if isinstance(value, str) and name not in _PLAIN_FIELDS else value
        for name, value in fields.items()
    }


def _is_line(secret: Secret) -> bool:
    """Return True for one line of text that can be sent; the server checks the rest of a refresh token."""
    text = secret.reveal()
    return bool(text.strip()) and len(text.splitlines()) == 1 and "\0" not in text and not _SURROGATE.search(text)


def _is_number(value: object) -> TypeGuard[float | None]:
    if value is None:
        return True
    # Compared, because math.isfinite raises for an integer that is too long for a float.
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_time(value: object) -> TypeGuard[float | None]:
    return _is_number(value) and (value is None or abs(value) < MAX_TIME)


def _corrupt(key: KeyId, name: str) -> StorageCorrupt:
    return StorageCorrupt(
        f"the stored {key.realm} key of {key.account} has no valid {name}",
        hint="restore the record, or delete it and store a key with keys.replace(...)",
    )
