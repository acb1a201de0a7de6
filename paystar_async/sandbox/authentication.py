"""Who calls: the accounts the sandbox plays, and whether a call proves to come from one of them."""

import hmac
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import define, field, frozen

from paystar_async.accounts import Application, Gateway, Wallet, signature
from paystar_async.clock import Clock
from paystar_async.endpoint import Endpoint, Realm, Safety
from paystar_async.sandbox.clock import gregorian_text
from paystar_async.sandbox.lenient import whole_number
from paystar_async.sandbox.responses import INVALID_ACCESS, Refusal
from paystar_async.sandbox.settings import Settings
from paystar_async.values.secret import Secret

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


APPLICATION_NOT_FOUND, INVALID_TOKEN, EXPIRED_TOKEN, WRONG_ACCESS_PASSWORD, INVALID_INPUT = 2, 4, 5, 6, 10
INVALID_REQUEST = -1

Raw = Mapping[str, object]
"""The fields of a request, as they arrived."""


@frozen
class Identity:
    """The names and secrets of the accounts that are played, keys aside."""

    application_id: str
    access_password: str
    gateway_id: str
    gateway_sign_key: str
    wallet_hashid: str
    wallet_password: str
    wallet_sign_key: str


def make_identity(seed: int) -> Identity:
    """The accounts of a sandbox; the same for the same seed."""
    dice = random.Random(f"{seed}:accounts")

    def word(bits: int) -> str:
        return f"{dice.getrandbits(bits):0{bits // 4}x}"

    return Identity(
        application_id=f"app-{word(32)}",
        access_password=f"sandbox-{word(64)}",
        gateway_id=f"gateway-{word(96)}",
        gateway_sign_key=word(256),
        wallet_hashid=f"w{word(32)}",
        wallet_password=f"sandbox-{word(64)}",
        wallet_sign_key=word(256),
    )


def refused_key(settings: Settings, *, expired: bool) -> Refusal:
    """Return the refusal of a key that is not valid: with its code, or by the message alone."""
    if settings.hide_token_codes:
        # assumed: the message is known, the status beside it is not; 0 misleads a careless reader most.
        return Refusal(0, INVALID_ACCESS, http=400)
    return Refusal(EXPIRED_TOKEN if expired else INVALID_TOKEN)


def is_same(given: object, wanted: str) -> bool:
    """Whether what came is what was wanted, without telling by the time it takes how much of it is right."""
    text = str(given) if isinstance(given, str | int) else ""
    return hmac.compare_digest(text.encode("utf-8", "replace"), wanted.encode())


def _signed(values: Raw, name: str) -> object:
    """Return a value as it is signed: an amount as a whole number, however it was sent."""
    value = values.get(name)
    return whole_number(value) if name == "amount" else value


class Authenticator:
    """Lets a call in, or refuses it."""

    def __init__(self, identity: Identity, keys: Keys, settings: Settings) -> None:
        self._who, self._keys, self._settings = identity, keys, settings

    @property
    def application(self) -> Application:
        """The application, with its key of now."""
        pair = self._keys.pair(Realm.APPLICATION)
        return Application(
            id=self._who.application_id,
            access_password=self._who.access_password,
            api_key=pair.token,
            refresh_token=pair.refresh_token,
        )

    @property
    def gateway(self) -> Gateway:
        """The gateway; without a sign key where it is set up unsigned."""
        return Gateway(
            id=self._who.gateway_id, sign_key=self._who.gateway_sign_key if self._settings.gateway_signed else None
        )

    @property
    def wallet(self) -> Wallet:
        """The wallet, with its keys of now."""
        pays, reads = self._keys.pair(Realm.WALLET), self._keys.pair(Realm.INQUIRY)
        return Wallet(
            hashid=self._who.wallet_hashid,
            password=self._who.wallet_password,
            sign_key=self._who.wallet_sign_key,
            api_key=pays.token,
            refresh_token=pays.refresh_token,
            inquiry_key=reads.token,
            refresh_inquiry_key=reads.refresh_token,
        )

    def admit(self, row: Endpoint, bearer: str, raw: Raw) -> None:
        """Check who calls; raises Refusal."""
        match row.realm:
            case Realm.APPLICATION:
                self._admit_application(row, bearer, raw)
            case Realm.WALLET | Realm.INQUIRY:
                self._admit_wallet(row, bearer, raw)
            case Realm.GATEWAY:
                if not is_same(bearer, self._who.gateway_id):
                    raise Refusal("unauthenticated")

    def _admit_application(self, row: Endpoint, bearer: str, raw: Raw) -> None:
        if not is_same(raw.get("application_id"), self._who.application_id):
            raise Refusal(APPLICATION_NOT_FOUND)
        if not is_same(raw.get("access_password"), self._who.access_password):
            raise Refusal(WRONG_ACCESS_PASSWORD)
        if row.renews:
            return
        self._check_key(bearer, Realm.APPLICATION)

    def _admit_wallet(self, row: Endpoint, bearer: str, raw: Raw) -> None:
        wanted = {"wallet_hashid": self._who.wallet_hashid}
        if row.method == "POST":
            wanted["password"] = self._who.wallet_password
        wrong = {name: [f"{name} معتبر نیست"] for name, text in wanted.items() if not is_same(raw.get(name), text)}
        if wrong:
            raise Refusal(INVALID_INPUT, fields=wrong)
        if row.renews:
            return
        self._check_key(bearer, *((Realm.WALLET,) if row.realm is Realm.WALLET else (Realm.INQUIRY, Realm.WALLET)))

    def _check_key(self, bearer: str, *realms: Realm) -> None:
        validity = self._keys.validity(bearer, *realms)
        if validity is not Validity.GOOD:
            raise refused_key(self._settings, expired=validity is Validity.EXPIRED)

    def check_signature(self, row: Endpoint, raw: Raw, unsent: Sequence[Raw] = ({},)) -> None:
        """Check the signature over the values as they arrived; raises Refusal.

        Args:
            row: the call; what it signs, and in which order.
            raw: the fields as they arrived.
            unsent: what is signed without being sent; any of them may have been signed with.
        """
        key = self.gateway.sign_key if row.realm is Realm.GATEWAY else Secret(self._who.wallet_sign_key)
        sign = raw.get("sign")
        if not row.sign or key is None:
            return
        may_be_unsigned = row.safety is Safety.READ or (bool(unsent[0]) and self._settings.unsigned_verify)
        if sign in (None, "") and may_be_unsigned:
            return
        if not any(
            is_same(sign, signature(key, (_signed({**raw, **more}, name) for name in row.sign))) for more in unsent
        ):
            fields = {"sign": ["امضا معتبر نیست"]}
            raise Refusal(INVALID_REQUEST if row.realm is Realm.GATEWAY else INVALID_INPUT, fields=fields)
