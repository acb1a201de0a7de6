"""Encryption at rest: sealing, unsealing and key rotation."""

import base64
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import ConfigurationError, WrongStorageKey
from paystar_async.storage.encryption import Crypto
from paystar_async.values.secret import Secret

FIRST_KEY, SECOND_KEY = Crypto.new_key(), Crypto.new_key()


@given(st.text(), st.lists(st.text(), max_size=3))
def test_unseal_returns_sealed_text(text: str, context: list[str]) -> None:
    crypto = Crypto([FIRST_KEY])
    assert crypto.unseal(crypto.seal(Secret(text), *context), *context) == Secret(text)


def test_seal_same_text_differs() -> None:
    crypto = Crypto([FIRST_KEY])
    assert len({crypto.seal(Secret("token")) for _ in range(50)}) == 50


def test_crypto_rotates_keys() -> None:
    old, rotated, new = Crypto([FIRST_KEY]), Crypto([SECOND_KEY, FIRST_KEY]), Crypto([SECOND_KEY])
    assert rotated.unseal(old.seal(Secret("a"))) == Secret("a")
    assert new.unseal(rotated.seal(Secret("b"))) == Secret("b")
    with pytest.raises(WrongStorageKey, match="not in the list of keys"):
        new.unseal(old.seal(Secret("c")))


@pytest.mark.parametrize("other", [(), ("wallet",), ("wallet", "a", "b"), ("walleta", ""), ("inquiry", "a")])
def test_unseal_other_context_is_refused(other: tuple[str, ...]) -> None:
    crypto = Crypto([FIRST_KEY])
    with pytest.raises(WrongStorageKey, match="cannot be decrypted"):
        crypto.unseal(crypto.seal(Secret("token"), "wallet", "a"), *other)


def test_unseal_changed_text_is_refused() -> None:
    crypto = Crypto([FIRST_KEY])
    name, _, text = crypto.seal(Secret("token")).partition(".")
    raw = base64.b64decode(text)
    for position in range(len(raw)):
        changed = bytes(byte ^ (index == position) for index, byte in enumerate(raw))
        with pytest.raises(WrongStorageKey):
            crypto.unseal(f"{name}.{base64.b64encode(changed).decode()}")


@pytest.mark.parametrize("invalid_text", ["", ".", "name.", "!.!"])
def test_unseal_invalid_text_is_refused(invalid_text: str) -> None:
    crypto = Crypto([FIRST_KEY])
    name = crypto.seal(Secret("token")).partition(".")[0]
    with pytest.raises(WrongStorageKey):
        crypto.unseal(invalid_text.replace("name", name).replace("!", name, 1))


def test_crypto_secret_key_is_hidden() -> None:
    crypto = Crypto([Secret(FIRST_KEY)])
    assert crypto.unseal(Crypto([FIRST_KEY]).seal(Secret("a"))) == Secret("a")
    assert FIRST_KEY not in f"{crypto!r}{vars(crypto)}"
    assert FIRST_KEY[:8] not in crypto.seal(Secret("a"))


@pytest.mark.parametrize(
    "keys",
    [[], FIRST_KEY, ["canary"], [FIRST_KEY, base64.b64encode(b"canary").decode()], ["ك" * 44]],
    ids=["empty", "no list", "no Base64", "too short", "no ASCII"],
)
def test_crypto_invalid_key_is_refused(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Crypto(keys)
    assert "canary" not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_crypto_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError) as refusal:
        Crypto([FIRST_KEY])
    assert "paystar-async[crypto]" in refusal.value.hint
