"""Encryption at rest: AES-GCM, with the user's keys, which are never stored beside the data."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Protocol, cast

from paystar_async.errors import ConfigurationError, MissingExtra, WrongStorageKey
from paystar_async.values.secret import Secret, clear_locals_on_error, to_secret

KEY_BYTES = 32
NONCE_BYTES = 12


class Crypto:
    """Encrypts stored data. The first key encrypts; every key decrypts, so that keys can be rotated.

    Put a new key first; remove old keys once all data has been stored again. For key records that is the next refresh,
    within a day.

    Args:
        keys: 32 bytes each, as Base64 text; ``Crypto.new_key()`` creates such a key.

    Raises:
        ConfigurationError: a key is not valid, there is no key, or the ``crypto`` extra is not installed.
    """

    @clear_locals_on_error
    def __init__(self, keys: Sequence[str | Secret]) -> None:
        if isinstance(keys, str | bytes) or not isinstance(cast("object", keys), Sequence) or not keys:
            raise ConfigurationError(
                "keys: encryption (crypto, PAYSTAR_CRYPTO_KEYS) needs a list of keys",
                hint="Crypto([Crypto.new_key()]), and store that key",
            )
        ciphers = [_cipher(to_secret(key)) for key in keys]
        self._first_key_name = ciphers[0][0]
        self._ciphers = dict(ciphers)

    @staticmethod
    def new_key() -> str:
        """Return a new key; store it with your other secrets."""
        return base64.b64encode(os.urandom(KEY_BYTES)).decode()

    def seal(self, text: Secret, *context: str) -> str:
        """Return the text encrypted; only the same context decrypts it."""
        nonce = os.urandom(NONCE_BYTES)
        ciphertext = self._ciphers[self._first_key_name].encrypt(
            nonce, text.reveal().encode(), _associated_data(self._first_key_name, context)
        )
        return f"{self._first_key_name}.{base64.b64encode(nonce + ciphertext).decode()}"

    def unseal(self, sealed_text: str, *context: str) -> Secret:
        """Return the text that was encrypted.

        Raises:
            WrongStorageKey: no key decrypts the text, or it was encrypted in another context.
        """
        name, _, text = sealed_text.partition(".")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise WrongStorageKey("the data was encrypted with a key that is not in the list of keys")
        plaintext = _decrypt(cipher, text, _associated_data(name, context))
        if plaintext is None:
            raise WrongStorageKey(
                "the data cannot be decrypted with the key that it names",
                hint="the data was changed, or was stored for another record",
            )
        return plaintext


class Cipher(Protocol):
    """A cipher of the ``cryptography`` package."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return the data encrypted, followed by its tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Return the decrypted data; raise InvalidTag if it was changed."""
        ...


def _cipher(key: Secret) -> tuple[str, Cipher]:
    """Return the name of a key, which reveals nothing of the key, and its cipher."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise MissingExtra("encryption at rest", "crypto") from None
    raw = _decode_key(key)
    if raw is None:
        raise ConfigurationError(
            "an encryption key (crypto, PAYSTAR_CRYPTO_KEYS) must be 32 bytes as Base64, and nothing else",
            hint="Crypto.new_key() creates a key",
        )
    return hashlib.sha256(b"paystar_async storage key" + raw).hexdigest()[:8], AESGCM(raw)


def _decode_key(key: Secret) -> bytes | None:
    try:
        raw = base64.b64decode(key.reveal(), validate=True)
    except (TypeError, ValueError):
        return None
    return raw if len(raw) == KEY_BYTES else None


def _associated_data(name: str, context: tuple[str, ...]) -> bytes:
    return json.dumps(["paystar_async", name, *context]).encode()


def _decrypt(cipher: Cipher, text: str, associated_data: bytes) -> Secret | None:
    from cryptography.exceptions import InvalidTag

    try:
        raw = base64.b64decode(text, validate=True)
        return Secret(cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], associated_data).decode())
    except (ValueError, InvalidTag):  # truncated, not Base64, not UTF-8, or another key
        return None
