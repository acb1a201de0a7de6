"""Encode transfers as text, encrypted if there is a key."""

import hmac
import json
from collections.abc import Mapping
from hashlib import blake2b

from attrs import frozen

from paystar_async.errors import StorageCorrupt, WrongStorageKey
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.models import ProductName
from paystar_async.storage.encryption import Crypto
from paystar_async.values.bank_accounts import is_valid_card
from paystar_async.values.masking import mask_account, mask_card
from paystar_async.values.secret import Secret

TRANSFER_TYPES: Mapping[ProductName, type[AnyTransfer]] = {"bank": Transfer, "wallet": WalletTransfer}
_NAMES: Mapping[ProductName, tuple[str, ...]] = {
    product: tuple(attribute.name for attribute in fields_of(cls)) for product, cls in TRANSFER_TYPES.items()
}


@frozen(kw_only=True)
class EncodedTransfer:
    """A transfer as it is stored.

    Attributes:
        digest: keyed digest of the contents; it reveals nothing of them without the ledger's own key.
        payload: the contents.
        masked_payload: replaces the payload once the transfer is final; None: the payload may stay.
        destination: the destination account, masked.
    """

    digest: str
    payload: Secret
    masked_payload: str | None
    destination: str


class TransferCodec:
    """An encoder and decoder of transfers.

    Args:
        key: key of the digests.
        crypto: encrypts the contents; None: they are stored as they are.
    """

    def __init__(self, key: Secret, crypto: Crypto | None) -> None:
        self._key, self._crypto = key.reveal().encode(), crypto

    def encode(self, product: ProductName, account: str, value: AnyTransfer) -> EncodedTransfer:
        """Return a transfer as it is stored."""
        payload = Secret(_text(value))
        digest = self._digest(product, payload)
        masked = None
        if self._crypto is not None:
            payload = Secret(self._crypto.seal(payload, "payout", product, account, value.track_id))
        elif isinstance(value, Transfer) and is_valid_card(value.destination_account):
            masked = _text(value, destination_account=mask_card(value.destination_account))
        destination = value.destination_account if isinstance(value, Transfer) else value.destination_number
        return EncodedTransfer(digest=digest, payload=payload, masked_payload=masked, destination=_mask(destination))

    def decode(self, product: ProductName, account: str, track_id: str, payload: Secret, digest: str) -> AnyTransfer:
        """Return the transfer that was stored.

        Raises:
            StorageCorrupt: the payload cannot be read, or is not the one of the digest.
            WrongStorageKey: the payload is encrypted, and no key decrypts it.
        """
        text = payload
        if not payload.reveal().startswith("{"):
            if self._crypto is None:
                raise WrongStorageKey(f"the transfer {track_id} is stored encrypted, and no key was given")
            text = self._crypto.unseal(payload.reveal(), "payout", product, account, track_id)
        if not hmac.compare_digest(self._digest(product, text), digest):
            raise StorageCorrupt(f"the stored contents of the transfer {track_id} were changed")
        # No validation: the fields were checked when the transfer was submitted, and the digest proves them unchanged.
        fields = json.loads(text.reveal())
        value: AnyTransfer = object.__new__(TRANSFER_TYPES[product])
        for name in _NAMES[product]:
            object.__setattr__(value, name, fields.get(name))
        return value

    def _digest(self, product: ProductName, text: Secret) -> str:
        return blake2b(f"{product}:{text.reveal()}".encode(), key=self._key, digest_size=32).hexdigest()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _text(value: AnyTransfer, **replaced: str) -> str:
    """Return the fields that are set as JSON; a field that is added later, and left out, changes no digest."""
    names = _NAMES["bank" if isinstance(value, Transfer) else "wallet"]
    return _encode({name: field for name in names if (field := replaced.get(name, getattr(value, name))) is not None})


def _mask(destination: str) -> str:
    # IBANs are already normalized here; the short way counts for a million transfers.
    return f"IR{'*' * 20}{destination[-4:]}" if destination.startswith("IR") else mask_account(destination)
