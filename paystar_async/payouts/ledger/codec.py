"""What is to be sent, as the ledger keeps it: one text, sealed where there is a key for it."""

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
    product: tuple(one.name for one in fields_of(cls)) for product, cls in TRANSFER_TYPES.items()
}


@frozen(kw_only=True)
class EncodedTransfer:
    """A transfer as it is kept.

    Attributes:
        digest: the same for the same contents alone, and tells nothing of them without the ledger's own key.
        payload: the contents.
        masked: what takes their place once nothing will be sent of them; None: they may stay.
        destination: where the money goes, masked.
    """

    digest: str
    payload: Secret
    masked_payload: str | None
    destination: str


class TransferCodec:
    """Transfers to text and back.

    Args:
        key: what digests are keyed with.
        crypto: seals the contents; None: they are kept as they are.
    """

    def __init__(self, key: Secret, crypto: Crypto | None) -> None:
        self._key, self._crypto = key.reveal().encode(), crypto

    def encode(self, product: ProductName, account: str, value: AnyTransfer) -> EncodedTransfer:
        """How a transfer is kept."""
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
        """The transfer that was kept.

        Raises:
            StorageCorrupt: it cannot be read, or is not what was kept.
            WrongStorageKey: it is sealed, and no key opens it.
        """
        text = payload
        if not payload.reveal().startswith("{"):
            if self._crypto is None:
                raise WrongStorageKey(f"the transfer {track_id} is stored encrypted, and no key was given")
            text = self._crypto.unseal(payload.reveal(), "payout", product, account, track_id)
        if not hmac.compare_digest(self._digest(product, text), digest):
            raise StorageCorrupt(f"what is stored of the transfer {track_id} is not what was planned")
        # It was checked field by field when it was made, and the digest says that it still is what it was.
        held = json.loads(text.reveal())
        value: AnyTransfer = object.__new__(TRANSFER_TYPES[product])
        for name in _NAMES[product]:
            object.__setattr__(value, name, held.get(name))
        return value

    def _digest(self, product: ProductName, text: Secret) -> str:
        return blake2b(f"{product}:{text.reveal()}".encode(), key=self._key, digest_size=32).hexdigest()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _text(value: AnyTransfer, **instead: str) -> str:
    """The fields that say something: one that is added some day, and left out, changes no digest."""
    names = _NAMES["bank" if isinstance(value, Transfer) else "wallet"]
    return _encode({name: held for name in names if (held := instead.get(name, getattr(value, name))) is not None})


def _mask(destination: str) -> str:
    # An IBAN has its one form here, and this is done for each of a million.
    return f"IR{'*' * 20}{destination[-4:]}" if destination.startswith("IR") else mask_account(destination)
