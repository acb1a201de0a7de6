"""Who we are in each realm, what we tell it, and how we sign."""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from attrs import astuple, field, frozen

from paystar_async.errors import (
    ConfigurationError,
    InvalidValue,
)
from paystar_async.values.digits import has_spoiled_ends, is_blank
from paystar_async.values.secret import Secret, sealed, sealed_class, to_optional_secret, to_secret

if TYPE_CHECKING:
    pass


class Realm(StrEnum):
    """Whose key opens an endpoint."""

    APPLICATION = "application"
    WALLET = "wallet"
    INQUIRY = "inquiry"
    GATEWAY = "gateway"


GATEWAY_PATH, DIRECT_GATEWAY_PATH = "/pardakht", "/direct"
"""Where the paths of a gateway begin, and those of a direct (PSP) one (WIRE §4)."""


def signature(key: Secret, parts: Iterable[object]) -> str:
    """The HMAC-SHA512 of the parts joined by ``#``, in lower-case hex (reference: HMAC Signatures).

    Args:
        key: the sign key; its text is the key as it stands, it is not decoded.
        parts: amounts as int Rial, texts, None for what is missing.
    """
    return signer(key)(parts)


def signer(key: Secret) -> Callable[[Iterable[object]], str]:
    """What makes the signatures of one key; the key is taken in once, which is half the work."""
    keyed = hmac.new(key.reveal().encode(), digestmod=hashlib.sha512)

    def sign(parts: Iterable[object]) -> str:
        mac = keyed.copy()
        mac.update("#".join("" if part is None else str(part) for part in parts).encode())
        return mac.hexdigest()

    return sign


def _text(value: str | int) -> str:
    # None from a variable that is not set must not become the id "None".
    return str(value) if type(value) is int else cast("str", value)


def _plain(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, str):
        raise InvalidValue(attribute.name, expected="a line of text", got=type(value).__name__)
    if is_blank(value) or not value.isprintable() or has_spoiled_ends(value):
        got = "an empty text, or one with line breaks, or with blanks or invisible characters at an end"
        raise InvalidValue(attribute.name, expected="a line of text", got=got)


def fits_header(text: str) -> bool:
    """Whether a key can stand in a header: a line break in it would be a second header, a blank ends it."""
    return text.isascii() and text.isprintable() and text != "" and text == text.strip()


@sealed
def header_safe(name: str, value: Secret) -> Secret:
    """The key, if it can stand in a header; raises InvalidValue naming it where it cannot."""
    checked(name, value)
    if fits_header(value.reveal()):
        return value
    raise InvalidValue(
        name,
        expected="a line of printable ASCII",
        got="a text with blanks around it, line breaks or other characters",
        hint="read it from its file without the line break at its end",
    )


def _header_safe(_: object, attribute: Any, value: Any) -> None:
    if value is not None:
        header_safe(attribute.name, value)


def _not_empty(_: object, attribute: Any, value: Any) -> None:
    if value is not None:
        checked(attribute.name, value)


@sealed
def checked(name: str, value: Secret) -> None:
    """Refuse a secret that is not one line of UTF-8, or that begins or ends with what nobody sees.

    Such a secret was pasted or read with more than itself: what is signed with it is refused, and nobody sees why.
    """
    text: Any = value.reveal()
    if not isinstance(text, str):
        raise InvalidValue(name, expected="a text", got=type(text).__name__)
    if not text:
        raise InvalidValue(name, expected="a text", got="an empty one")
    if has_spoiled_ends(text):
        got, hint = (
            "one with a blank, a line break or an invisible character at an end",
            "copy it without what is around it",
        )
        raise InvalidValue(name, expected="a text", got=got, hint=hint)
    if len(text.splitlines()) > 1:
        raise InvalidValue(name, expected="a line of text", got="one with a line break inside", hint="copy it anew")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidValue(
            name, expected="a text", got="bytes that are not UTF-8", hint="store it as UTF-8 where it is read from"
        )


def _flag(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidValue(attribute.name, expected="True or False", got=f"a {type(value).__name__}")


def account_of(realm: Realm) -> str:
    """The account a realm belongs to, as its argument is called: a wallet has two realms."""
    return "wallet" if realm is Realm.INQUIRY else realm.value


@sealed_class
@frozen(kw_only=True)
class Application:
    """The open-banking application: identity checks, inquiries, bank transfers.

    Args:
        id: the application_id.
        access_password: its access password.
        api_key: the key in use; lives 24 hours. Without it the first call renews.
        refresh_token: renews the key; without it an expired key ends in an error.
    """

    id: str = field(converter=_text, validator=_plain)
    access_password: Secret = field(converter=to_secret, validator=_not_empty)
    api_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_header_safe)
    refresh_token: Secret | None = field(default=None, converter=to_optional_secret, validator=_not_empty)


@sealed_class
@frozen(kw_only=True)
class Gateway:
    """The internet payment gateway.

    Args:
        id: the gateway_id; permanent, and a secret: it is the bearer token.
        sign_key: signs create, verify and inquiry; None for a gateway set up unsigned.
        direct: True for a direct (PSP) gateway, whose calls and payment page live under ``/direct``
            instead of ``/pardakht``.
    """

    id: Secret = field(converter=to_secret, validator=_header_safe)
    sign_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_not_empty)
    direct: bool = field(default=False, validator=_flag)


@sealed_class
@frozen(kw_only=True)
class Wallet:
    """The wallet that pays out.

    Args:
        hashid: the wallet_hashid.
        password: its password.
        sign_key: signs every POST.
        api_key: the key that pays; lives 24 hours.
        refresh_token: renews ``api_key``.
        inquiry_key: the key that reads balance and reports; lives 24 hours.
        refresh_inquiry_key: renews ``inquiry_key``.
    """

    hashid: str = field(converter=_text, validator=_plain)
    password: Secret = field(converter=to_secret, validator=_not_empty)
    sign_key: Secret = field(converter=to_secret, validator=_not_empty)
    api_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_header_safe)
    refresh_token: Secret | None = field(default=None, converter=to_optional_secret, validator=_not_empty)
    inquiry_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_header_safe)
    refresh_inquiry_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_not_empty)


_MISSING: Mapping[Realm, str] = {
    Realm.APPLICATION: "give Paystar(application=Application(id=…, access_password=…, refresh_token=…)) "
    "or set PAYSTAR_APPLICATION_ID, PAYSTAR_ACCESS_PASSWORD and PAYSTAR_REFRESH_TOKEN",
    Realm.GATEWAY: "give Paystar(gateway=Gateway(id=…, sign_key=…)) or set PAYSTAR_GATEWAY_ID and PAYSTAR_SIGN_KEY",
    Realm.WALLET: "give Paystar(wallet=Wallet(hashid=…, password=…, sign_key=…, refresh_token=…)) or set "
    "PAYSTAR_WALLET_HASHID, PAYSTAR_WALLET_PASSWORD, PAYSTAR_WALLET_SIGN_KEY and PAYSTAR_WALLET_REFRESH_TOKEN",
    Realm.INQUIRY: "give Paystar(wallet=Wallet(hashid=…, password=…, sign_key=…, refresh_inquiry_key=…)) or set "
    "PAYSTAR_WALLET_HASHID, PAYSTAR_WALLET_PASSWORD, PAYSTAR_WALLET_SIGN_KEY and PAYSTAR_REFRESH_INQUIRY_KEY",
}


@frozen(kw_only=True)
class Credentials:
    """The accounts of one client, and what each realm wants to be told."""

    application: Application | None = None
    gateway: Gateway | None = None
    wallet: Wallet | None = None

    def account_id(self, realm: Realm) -> str:
        """The account's id in a realm; raises ConfigurationError naming what is not set."""
        match realm:
            case Realm.APPLICATION if self.application:
                return self.application.id
            case Realm.GATEWAY if self.gateway:
                return "gateway"
            case Realm.WALLET | Realm.INQUIRY if self.wallet:
                return self.wallet.hashid
            case _:
                raise ConfigurationError(f"the {account_of(realm)} account is not configured", hint=_MISSING[realm])

    def credentials(self, realm: Realm, method: str) -> dict[str, str | Secret]:
        """The fields that say who asks; on a GET they go into the query string."""
        match realm:
            case Realm.APPLICATION if self.application:
                return {"application_id": self.application.id, "access_password": self.application.access_password}
            case Realm.WALLET | Realm.INQUIRY if self.wallet:
                who: dict[str, str | Secret] = {"wallet_hashid": self.wallet.hashid}
                return who if method == "GET" else {**who, "password": self.wallet.password}
            case _:
                return {}

    def sign_key(self, realm: Realm) -> Secret | None:
        """The key a realm signs with, or None where nothing is signed."""
        match realm:
            case Realm.GATEWAY if self.gateway:
                return self.gateway.sign_key
            case Realm.WALLET | Realm.INQUIRY if self.wallet:
                return self.wallet.sign_key
            case _:
                return None

    def initial_token(self, realm: Realm) -> tuple[Secret | None, Secret | None]:
        """The key and the refresh token a realm was configured with."""
        match realm:
            case Realm.APPLICATION if self.application:
                return self.application.api_key, self.application.refresh_token
            case Realm.WALLET if self.wallet:
                return self.wallet.api_key, self.wallet.refresh_token
            case Realm.INQUIRY if self.wallet:
                return self.wallet.inquiry_key, self.wallet.refresh_inquiry_key
            case Realm.GATEWAY if self.gateway:
                return self.gateway.id, None
            case _:
                return None, None

    def secrets(self) -> list[Secret]:
        """Everything in the accounts that no text may show."""
        given = [one for one in (self.application, self.gateway, self.wallet) if one is not None]
        return [held for one in given for held in astuple(one, recurse=False) if isinstance(held, Secret)]

    @property
    def path_prefix(self) -> str:
        """Return what ``{gateway}`` in an endpoint's path becomes."""
        return DIRECT_GATEWAY_PATH if self.gateway and self.gateway.direct else GATEWAY_PATH


BASE_URL = "https://core.paystar.ir/api"
