"""Encryption at rest: AES-GCM, under keys of yours that never lie beside what they protect."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Protocol

from paystar_async.errors import ConfigurationError, WrongStorageKey
from paystar_async.values.secret import Secret, sealed, to_secret

KEY_BYTES = 32
NONCE_BYTES = 12


class Crypto:
    """Seals what is stored. The first key seals; every key opens, so that keys can be rotated.

    A new key goes in front; the old ones may go once everything has been stored anew. For key records that is
    the next renewal, a day at the most.

    Args:
        keys: 32 bytes each, as Base64 text; ``Crypto.new_key()`` makes one.

    Raises:
        ConfigurationError: a key is none, there is no key, or the ``crypto`` extra is not installed.
    """

    @sealed
    def __init__(self, keys: Sequence[str | Secret]) -> None:
        if isinstance(keys, str) or not keys:
            raise ConfigurationError("encryption needs a list of keys", hint="Crypto([Crypto.new_key()]), and keep it")
        ciphers = [_cipher(to_secret(key)) for key in keys]
        self._first = ciphers[0][0]
        self._ciphers = dict(ciphers)

    @staticmethod
    def new_key() -> str:
        """A new key; keep it where your other secrets are."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    def seal(self, text: Secret, *context: str) -> str:
        """The text, encrypted; only the same context opens it again."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, text.reveal().encode(), _bound(self._first, context))
        return f"{self._first}.{base64.b64encode(nonce + sealed).decode()}"

    def unseal(self, sealed: str, *context: str) -> Secret:
        """The text that was sealed.

        Raises:
            WrongStorageKey: none of the keys opens it, or it was sealed for something else.
        """
        name, _, text = sealed.partition(".")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise WrongStorageKey("it was encrypted with a key that is not among those given")
        opened = _opened(cipher, text, _bound(name, context))
        if opened is None:
            raise WrongStorageKey(
                "it does not open with the key it names", hint="it was altered, or moved here from another place"
            )
        return opened


class Cipher(Protocol):
    """What the ``cryptography`` package offers."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """The data, encrypted, with its tag behind it."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """The data; raises InvalidTag."""
        ...


def _cipher(key: Secret) -> tuple[str, Cipher]:
    """A key's name, which says nothing of the key, and what it encrypts with."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigurationError(
            "encryption at rest needs the crypto extra", hint="pip install 'paystar-async[crypto]'"
        ) from None
    raw = _decoded(key)
    if raw is None:
        raise ConfigurationError(
            "an encryption key (crypto, PAYSTAR_CRYPTO_KEYS) must be 32 bytes as Base64, and nothing else",
            hint="Crypto.new_key() makes one",
        )
    return hashlib.sha256(b"paystar_async storage key" + raw).hexdigest()[:8], AESGCM(raw)


def _decoded(key: Secret) -> bytes | None:
    try:
        raw = base64.b64decode(key.reveal(), validate=True)
    except ValueError:
        return None
    return raw if len(raw) == KEY_BYTES else None


def _bound(name: str, context: tuple[str, ...]) -> bytes:
    return json.dumps(["paystar_async", name, *context]).encode()


def _opened(cipher: Cipher, text: str, bound: bytes) -> Secret | None:
    from cryptography.exceptions import InvalidTag

    try:
        raw = base64.b64decode(text, validate=True)
        return Secret(cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound).decode())
    except (ValueError, InvalidTag):  # cut short, no Base64, no UTF-8; or no key of ours
        return None
