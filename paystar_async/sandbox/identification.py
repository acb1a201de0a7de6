"""Who calls: the accounts the sandbox plays, and whether a call proves to come from one of them."""

import hmac
import random
from collections.abc import Mapping, Sequence

from attrs import frozen

from paystar_async.accounts import Application, Gateway, Wallet, signature
from paystar_async.endpoint import Endpoint, Realm, Safety
from paystar_async.sandbox.envelope import INVALID_ACCESS, Refusal
from paystar_async.sandbox.keys import Keys, Validity
from paystar_async.sandbox.lenient import whole_number
from paystar_async.sandbox.settings import Settings
from paystar_async.values.secret import Secret

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


class Gatekeeper:
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
