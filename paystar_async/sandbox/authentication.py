"""Authentication: the accounts of the sandbox, their keys, and the checks of credentials and signatures."""

import hmac
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import define, field, frozen

from paystar_async.credentials import Application, Gateway, Realm, Wallet, signature
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.runtime.clock import Clock
from paystar_async.sandbox.clock import format_gregorian
from paystar_async.sandbox.lenient import to_integer
from paystar_async.sandbox.responses import INVALID_ACCESS, Refusal
from paystar_async.sandbox.settings import Settings
from paystar_async.values.sandbox_mark import mark_for_sandbox
from paystar_async.values.secret import Secret

INVALID_REFRESH_TOKEN = 13
REFRESHABLE_REALMS = (Realm.APPLICATION, Realm.WALLET, Realm.INQUIRY)


class KeyValidity(Enum):
    """Result of checking a key."""

    VALID = "valid"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@define
class KeyPair:
    """A realm's current key and refresh token.

    Attributes:
        token: the current key.
        refresh_token: the current refresh token.
        expires_at: every key issued → when it expires, on the monotonic clock.
    """

    token: str
    refresh_token: str
    expires_at: dict[str, float] = field(factory=dict[str, float])


class KeyIssuer:
    """Issues, refreshes and checks keys.

    Args:
        clock: clock for expiry.
        settings: whether refresh tokens rotate, and whether a refresh ends the old key.
        rng: source of keys.
        lifetime: seconds a key is valid.
    """

    def __init__(self, clock: Clock, settings: Settings, rng: random.Random, lifetime: float) -> None:
        self._clock, self._settings, self._rng, self._lifetime = clock, settings, rng, lifetime
        self.refreshes: Counter[str] = Counter({str(realm): 0 for realm in REFRESHABLE_REALMS})
        self._pairs = {
            realm: KeyPair(token="", refresh_token=self._make_token("refresh")) for realm in REFRESHABLE_REALMS
        }
        for realm in REFRESHABLE_REALMS:
            self._issue(realm)

    def pair(self, realm: Realm) -> KeyPair:
        """Return a realm's current key and refresh token."""
        return self._pairs[realm]

    def seconds_left(self, realm: Realm) -> float:
        """Return the seconds until a realm's current key expires, 0 for an expired key."""
        pair = self._pairs[realm]
        return max(0.0, pair.expires_at.get(pair.token, 0.0) - self._clock.monotonic())

    @property
    def lifetime(self) -> float:
        """Seconds a new key is valid."""
        return self._lifetime

    def validity(self, token: str, *realms: Realm) -> KeyValidity:
        """Return whether a token is a valid, expired or unknown key of any of the realms."""
        expiries = [pair.expires_at[token] for realm in realms if token in (pair := self._pairs[realm]).expires_at]
        if not expiries:
            return KeyValidity.UNKNOWN
        return KeyValidity.VALID if max(expiries) > self._clock.monotonic() else KeyValidity.EXPIRED

    def expire(self, realm: Realm) -> None:
        """Let every key of a realm expire now; its refresh token stays valid."""
        now, pair = self._clock.monotonic(), self._pairs[realm]
        pair.expires_at = {token: min(expires_at, now) for token, expires_at in pair.expires_at.items()}

    def refresh(self, realm: Realm, refresh_token: object, token_field: str) -> dict[str, str]:
        """Issue a new key and return the data of the refresh response.

        Args:
            realm: the realm of the key.
            refresh_token: the refresh token as received.
            token_field: name of the refresh token's field, in the request and in the response.

        Raises:
            Refusal: the refresh token is not the current one.
        """
        pair = self._pairs[realm]
        if refresh_token != pair.refresh_token:
            raise Refusal(INVALID_REFRESH_TOKEN)
        self.refreshes[realm] += 1
        if self._settings.refresh_ends_old_key:
            pair.expires_at.clear()
        self._issue(realm)
        key_field = "inquiry_key" if realm is Realm.INQUIRY else "api_key"
        data = {
            key_field: pair.token,
            f"{key_field}_expire_date": format_gregorian(self._clock.time() + self._lifetime),
        }
        if self._settings.rotate_refresh_tokens:
            pair.refresh_token = self._make_token("refresh")
            data[token_field] = pair.refresh_token
        return data

    def _issue(self, realm: Realm) -> None:
        pair = self._pairs[realm]
        pair.token = self._make_token("key")
        pair.expires_at[pair.token] = self._clock.monotonic() + self._lifetime

    def _make_token(self, kind: str) -> str:
        return mark_for_sandbox(kind, f"{self._rng.getrandbits(160):040x}")


APPLICATION_NOT_FOUND, INVALID_TOKEN, EXPIRED_TOKEN, WRONG_ACCESS_PASSWORD, INVALID_INPUT = 2, 4, 5, 6, 10
INVALID_REQUEST = -1

RawFields = Mapping[str, object]
"""The fields of a request as received."""


@frozen
class Identity:
    """Ids and secrets of the sandbox's accounts, without their keys."""

    application_id: str
    access_password: str
    gateway_id: str
    gateway_sign_key: str
    wallet_hashid: str
    wallet_password: str
    wallet_sign_key: str


def make_identity(seed: int) -> Identity:
    """Return the accounts of a sandbox; the same accounts for the same seed."""
    rng = random.Random(f"{seed}:accounts")

    def make(kind: str, bits: int) -> str:
        return mark_for_sandbox(kind, f"{rng.getrandbits(bits):0{bits // 4}x}")

    return Identity(
        application_id=make("application", 32),
        access_password=make("password", 64),
        gateway_id=make("gateway", 96),
        gateway_sign_key=make("signkey", 256),
        wallet_hashid=make("wallet", 32),
        wallet_password=make("password", 64),
        wallet_sign_key=make("signkey", 256),
    )


def key_refusal(settings: Settings, *, expired: bool) -> Refusal:
    """Return the refusal of an invalid key: with its code, or with the message alone if codes are hidden."""
    if settings.hide_token_codes:
        # assumed (invalid-access-status): the message is known, the status beside it is not; 0 misleads a careless
        # reader most.
        return Refusal(0, INVALID_ACCESS, http_status=400)
    return Refusal(EXPIRED_TOKEN if expired else INVALID_TOKEN)


def matches_secret(value: object, expected: str) -> bool:
    """Compare a received value with the expected one in constant time."""
    text = str(value) if isinstance(value, str | int) else ""
    return hmac.compare_digest(text.encode("utf-8", "replace"), expected.encode())


def _value_to_sign(values: RawFields, name: str) -> object:
    """Return a value as the client signs it: an amount as an integer, in whatever form it was sent."""
    value = values.get(name)
    return to_integer(value) if name == "amount" else value


class Authenticator:
    """Checks the credentials, the key and the signature of a call."""

    def __init__(self, identity: Identity, keys: KeyIssuer, settings: Settings) -> None:
        self._identity, self._keys, self._settings = identity, keys, settings

    @property
    def application(self) -> Application:
        """The application with its current key."""
        pair = self._keys.pair(Realm.APPLICATION)
        return Application(
            id=self._identity.application_id,
            access_password=self._identity.access_password,
            api_key=pair.token,
            refresh_token=pair.refresh_token,
        )

    @property
    def gateway(self) -> Gateway:
        """The gateway; without a sign key if the settings make it unsigned."""
        return Gateway(
            id=self._identity.gateway_id,
            sign_key=self._identity.gateway_sign_key if self._settings.gateway_signed else None,
        )

    @property
    def wallet(self) -> Wallet:
        """The wallet with its current keys."""
        wallet_pair, inquiry_pair = self._keys.pair(Realm.WALLET), self._keys.pair(Realm.INQUIRY)
        return Wallet(
            hashid=self._identity.wallet_hashid,
            password=self._identity.wallet_password,
            sign_key=self._identity.wallet_sign_key,
            api_key=wallet_pair.token,
            refresh_token=wallet_pair.refresh_token,
            inquiry_key=inquiry_pair.token,
            refresh_inquiry_key=inquiry_pair.refresh_token,
        )

    def authenticate(self, endpoint: Endpoint, bearer: str, raw: RawFields) -> None:
        """Check the credentials and the key of a call.

        Raises:
            Refusal: a credential or the key is wrong.
        """
        match endpoint.realm:
            case Realm.APPLICATION:
                self._authenticate_application(endpoint, bearer, raw)
            case Realm.WALLET | Realm.INQUIRY:
                self._authenticate_wallet(endpoint, bearer, raw)
            case Realm.GATEWAY:
                if not matches_secret(bearer, self._identity.gateway_id):
                    raise Refusal("unauthenticated")

    def _authenticate_application(self, endpoint: Endpoint, bearer: str, raw: RawFields) -> None:
        if not matches_secret(raw.get("application_id"), self._identity.application_id):
            raise Refusal(APPLICATION_NOT_FOUND)
        if not matches_secret(raw.get("access_password"), self._identity.access_password):
            raise Refusal(WRONG_ACCESS_PASSWORD)
        if endpoint.refresh_token_field:
            return
        self._check_key(bearer, Realm.APPLICATION)

    def _authenticate_wallet(self, endpoint: Endpoint, bearer: str, raw: RawFields) -> None:
        expected = {"wallet_hashid": self._identity.wallet_hashid}
        if endpoint.method == "POST":
            expected["password"] = self._identity.wallet_password
        errors = {
            name: [f"{name} معتبر نیست"] for name, text in expected.items() if not matches_secret(raw.get(name), text)
        }
        if errors:
            raise Refusal(INVALID_INPUT, fields=errors)
        if endpoint.refresh_token_field:
            return
        realms = (Realm.WALLET,) if endpoint.realm is Realm.WALLET else (Realm.INQUIRY, Realm.WALLET)
        self._check_key(bearer, *realms)

    def _check_key(self, bearer: str, *realms: Realm) -> None:
        validity = self._keys.validity(bearer, *realms)
        if validity is not KeyValidity.VALID:
            raise key_refusal(self._settings, expired=validity is KeyValidity.EXPIRED)

    def check_signature(self, endpoint: Endpoint, raw: RawFields, unsent: Sequence[RawFields] = ({},)) -> None:
        """Check the signature over the values as received.

        Args:
            endpoint: the called endpoint, which lists the signed fields in their order.
            raw: the fields as received.
            unsent: alternative values of fields that are signed but not sent; the signature must fit one alternative.

        Raises:
            Refusal: the signature is missing or wrong.
        """
        key = self.gateway.sign_key if endpoint.realm is Realm.GATEWAY else Secret(self._identity.wallet_sign_key)
        sign = raw.get("sign")
        if not endpoint.signed_fields or key is None:
            return
        may_be_unsigned = endpoint.safety is Safety.READ or (bool(unsent[0]) and self._settings.unsigned_verify)
        if sign in (None, "") and may_be_unsigned:
            return
        for alternative in unsent:
            values = {**raw, **alternative}
            if matches_secret(sign, signature(key, (_value_to_sign(values, name) for name in endpoint.signed_fields))):
                return
        fields = {"sign": ["امضا معتبر نیست"]}
        raise Refusal(INVALID_REQUEST if endpoint.realm is Realm.GATEWAY else INVALID_INPUT, fields=fields)
