"""What is to be sent, as the ledger keeps it: one text, sealed where there is a key for it."""

import hmac
import json
from collections.abc import Mapping

from attrs import frozen

from paystar_async.errors import PaystarError, StorageCorrupt, WrongStorageKey
from paystar_async.keys.crypto import Crypto
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.payouts.classify import Value
from paystar_async.payouts.records import ProductName
from paystar_async.values.card import is_valid_card
from paystar_async.values.kind import kind_of
from paystar_async.values.mask import mask_card
from paystar_async.values.secret import Secret

CLASSES: Mapping[ProductName, type[Value]] = {"bank": Transfer, "wallet": WalletTransfer}
_NAMES = {cls: tuple(one.name for one in fields_of(cls)) for cls in CLASSES.values()}
_MASKS = {
    cls: next(
        kind.mask for one in fields_of(cls) if one.name.startswith("destination_") and (kind := kind_of(one.annotation))
    )
    for cls in CLASSES.values()
}


@frozen(kw_only=True)
class Kept:
    """A transfer as it is kept.

    Attributes:
        digest: the same for the same contents alone, and tells nothing of them without the ledger's own key.
        payload: the contents.
        masked: what takes their place once nothing will be sent of them; None: they may stay.
        destination: where the money goes, masked.
    """

    digest: str
    payload: Secret
    masked: str | None
    destination: str


class Codec:
    """Transfers to text and back.

    Args:
        key: what digests are keyed with.
        crypto: seals the contents; None: they are kept as they are.
    """

    def __init__(self, key: Secret, crypto: Crypto | None) -> None:
        self._key, self._crypto = key, crypto

    def keep(self, product: ProductName, account: str, value: Value) -> Kept:
        """How a transfer is kept."""
        text = _text(value)
        payload = Secret(text)
        masked = None
        if self._crypto is not None:
            payload = Secret(self._crypto.seal(payload, "payout", product, account, value.track_id))
        elif isinstance(value, Transfer) and is_valid_card(value.destination_account):
            masked = _text(value, destination_account=mask_card(value.destination_account))
        digest = hmac.digest(self._key.reveal().encode(), f"{product}:{text}".encode(), "sha256")
        destination = value.destination_account if isinstance(value, Transfer) else value.destination_number
        return Kept(digest=digest.hex(), payload=payload, masked=masked, destination=_MASKS[type(value)](destination))

    def value(self, product: ProductName, account: str, track_id: str, payload: Secret) -> Value:
        """The transfer that was kept.

        Raises:
            StorageCorrupt: it cannot be read.
            WrongStorageKey: it is sealed, and no key opens it.
        """
        text = payload
        if not payload.reveal().startswith("{"):
            if self._crypto is None:
                raise WrongStorageKey(f"the transfer {track_id} is stored encrypted, and no key was given")
            text = self._crypto.unseal(payload.reveal(), "payout", product, account, track_id)
        try:
            value = CLASSES[product](**json.loads(text.reveal()))
        except (TypeError, ValueError, PaystarError):
            value = None
        if value is None or value.track_id != track_id:
            raise StorageCorrupt(f"what is stored of the transfer {track_id} cannot be read")
        return value


def _text(value: Value, **instead: str) -> str:
    held = {name: getattr(value, name) for name in _NAMES[type(value)]} | instead
    return json.dumps(held, ensure_ascii=False, separators=(",", ":"))
