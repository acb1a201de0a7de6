"""The three keys that live for a day, and what renews them."""

import random
from collections import Counter
from enum import Enum

from attrs import define, field

from paystar_async.clock import Clock
from paystar_async.endpoint import Realm
from paystar_async.sandbox.envelope import Refusal
from paystar_async.sandbox.moments import gregorian_text
from paystar_async.sandbox.settings import Settings

INVALID_REFRESH_TOKEN = 13
RENEWABLE = (Realm.APPLICATION, Realm.WALLET, Realm.INQUIRY)


class Validity(Enum):
    """What is to be said of a key that is shown."""

    GOOD = "good"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@define
class KeyPair:
    """A realm's key in use, its refresh token, and until when every key it gave out is good."""

    token: str
    refresh_token: str
    good_until: dict[str, float] = field(factory=dict[str, float])


class Keys:
    """Gives out keys, renews them and says which are good.

    Args:
        clock: what they expire by.
        settings: whether refresh tokens rotate.
        dice: where keys come from.
        life: seconds a key is good for.
    """

    def __init__(self, clock: Clock, settings: Settings, dice: random.Random, life: float) -> None:
        self._clock, self._settings, self._dice, self._life = clock, settings, dice, life
        self.refreshes: Counter[str] = Counter({str(realm): 0 for realm in RENEWABLE})
        self._pairs = {realm: KeyPair(token="", refresh_token=self._make("refresh")) for realm in RENEWABLE}
        for realm in RENEWABLE:
            self._issue(realm)

    def pair(self, realm: Realm) -> KeyPair:
        """The key in use and its refresh token."""
        return self._pairs[realm]

    def left(self, realm: Realm) -> float:
        """Seconds the key in use is still good for; 0 when it has expired."""
        pair = self._pairs[realm]
        return max(0.0, pair.good_until.get(pair.token, 0.0) - self._clock.monotonic())

    @property
    def life(self) -> float:
        """Seconds a new key is good for."""
        return self._life

    def validity(self, token: str, *realms: Realm) -> Validity:
        """Whether one of the realms' keys is this one, and still good."""
        known = [pair.good_until[token] for realm in realms if token in (pair := self._pairs[realm]).good_until]
        if not known:
            return Validity.UNKNOWN
        return Validity.GOOD if max(known) > self._clock.monotonic() else Validity.EXPIRED

    def renew(self, realm: Realm, refresh_token: object, renews: str) -> dict[str, str]:
        """A new key, as a renewal answers; raises Refusal for a refresh token that is not good.

        Args:
            realm: whose key.
            refresh_token: what came as refresh token.
            renews: the body field it came in; a new one is answered under the same name.
        """
        pair = self._pairs[realm]
        if refresh_token != pair.refresh_token:
            raise Refusal(INVALID_REFRESH_TOKEN)
        self.refreshes[realm] += 1
        if self._settings.renewal_ends_old_key:
            pair.good_until.clear()
        self._issue(realm)
        name = "inquiry_key" if realm is Realm.INQUIRY else "api_key"
        data = {name: pair.token, f"{name}_expire_date": gregorian_text(self._clock.time() + self._life)}
        if self._settings.rotate_refresh_tokens:
            pair.refresh_token = self._make("refresh")
            data[renews] = pair.refresh_token
        return data

    def _issue(self, realm: Realm) -> None:
        pair = self._pairs[realm]
        pair.token = self._make("key")
        pair.good_until[pair.token] = self._clock.monotonic() + self._life

    def _make(self, what: str) -> str:
        return f"sandbox-{what}-{self._dice.getrandbits(160):040x}"
