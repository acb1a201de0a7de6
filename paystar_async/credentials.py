"""Credentials of each realm: the accounts, their identification fields and their signatures."""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, cast

from attrs import asdict, evolve, field, frozen

from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.values.digits import has_spoiled_ends, is_blank
from paystar_async.values.numbers import MAX_INT64
from paystar_async.values.sandbox_mark import has_sandbox_mark
from paystar_async.values.secret import (
    Secret,
    clear_init_locals_on_error,
    clear_locals_on_error,
    to_optional_secret,
    to_secret,
)


class Realm(StrEnum):
    """The realm of an endpoint: determines which key authenticates it."""

    APPLICATION = "application"
    WALLET = "wallet"
    INQUIRY = "inquiry"
    GATEWAY = "gateway"


GATEWAY_PATH, DIRECT_GATEWAY_PATH = "/pardakht", "/direct"
"""The path prefixes of a gateway and of a direct (PSP) gateway."""


def signature(key: Secret, parts: Iterable[object]) -> str:
    """Return the HMAC-SHA512 of the parts joined by ``#``, in lower-case hex (reference: HMAC Signatures).

    Args:
        key: the sign key; its text is used as is, never decoded.
        parts: amounts as int Rial, texts, and None for missing fields.
    """
    return signer(key)(parts)


def signer(key: Secret) -> Callable[[Iterable[object]], str]:
    """Return a function that signs with ``key``, which is set up once: that halves the work of a signature."""
    keyed = hmac.new(key.reveal().encode(), digestmod=hashlib.sha512)

    def sign(parts: Iterable[object]) -> str:
        mac = keyed.copy()
        mac.update("#".join("" if part is None else str(part) for part in parts).encode())
        return mac.hexdigest()

    return sign


def _id_text(value: str | int) -> str:
    # None, as from an unset variable, must not become the id "None".
    return str(value) if type(value) is int and value <= MAX_INT64 else cast("str", value)


def _validate_line(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, str):
        raise InvalidValue(attribute.name, expected="a line of text", got=type(value).__name__)
    if is_blank(value) or not value.isprintable() or has_spoiled_ends(value):
        got = "an empty text, or a text with line breaks, or with blanks or invisible characters at an end"
        raise InvalidValue(attribute.name, expected="a line of text", got=got)


def fits_header(text: str) -> bool:
    """Return True if a key is valid in a header: a line break would begin another header, a blank would end it."""
    return text.isascii() and text.isprintable() and text != "" and text == text.strip()


@clear_locals_on_error
def check_header_value(name: str, value: Secret) -> Secret:
    """Return the key; raise InvalidValue with the field's name if the key is not valid in a header."""
    check_secret_text(name, value)
    if fits_header(value.reveal()):
        return value
    raise InvalidValue(
        name,
        expected="a line of printable ASCII",
        got="a text with blanks around it, line breaks or other characters",
        hint="read the key from its file without the line break at the end",
    )


def _validate_header_value(_: object, attribute: Any, value: Any) -> None:
    if value is not None:
        check_header_value(attribute.name, value)


def _validate_secret(_: object, attribute: Any, value: Any) -> None:
    if value is not None:
        check_secret_text(attribute.name, value)


@clear_locals_on_error
def check_secret_text(name: str, value: Secret) -> None:
    """Raise InvalidValue if a secret is not one line of UTF-8, or begins or ends with invisible characters.

    Invisible characters come from pasting or reading a file; signatures made with such a secret are rejected.
    """
    text: Any = value.reveal()
    if not isinstance(text, str):
        raise InvalidValue(name, expected="a text", got=type(text).__name__)
    if not text:
        raise InvalidValue(name, expected="a text", got="an empty text")
    if has_spoiled_ends(text):
        got, hint = (
            "a text with a blank, a line break or an invisible character at an end",
            "copy the text without surrounding characters",
        )
        raise InvalidValue(name, expected="a text", got=got, hint=hint)
    if len(text.splitlines()) > 1:
        raise InvalidValue(
            name, expected="a line of text", got="a text with a line break inside", hint="copy the text again"
        )
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidValue(
            name,
            expected="a text",
            got="bytes that are not UTF-8",
            hint="store the text as UTF-8 where the program reads it",
        )


def _validate_flag(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, bool):
        raise InvalidValue(attribute.name, expected="True or False", got=f"a {type(value).__name__}")


def account_argument(realm: Realm) -> str:
    """Return the name of the client argument that configures a realm; a wallet has two realms."""
    return "wallet" if realm is Realm.INQUIRY else realm.value


@clear_init_locals_on_error
@frozen(kw_only=True)
class Application:
    """The open-banking application: identity checks, inquiries, bank transfers.

    Args:
        id: the application_id.
        access_password: its access password.
        api_key: the key in use; valid for 24 hours. Without it the first call refreshes.
        refresh_token: refreshes the key; without it an expired key causes an error.
    """

    id: str = field(converter=_id_text, validator=_validate_line)
    access_password: Secret = field(converter=to_secret, validator=_validate_secret)
    api_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_header_value)
    refresh_token: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_secret)


@clear_init_locals_on_error
@frozen(kw_only=True)
class Gateway:
    """The internet payment gateway.

    Args:
        id: the gateway_id; permanent, and a secret because it is the bearer token.
        sign_key: signs create, verify and inquiry; None for a gateway set up unsigned.
        direct: True for a direct (PSP) gateway, whose calls and payment page are under ``/direct``
            instead of ``/pardakht``.
    """

    id: Secret = field(converter=to_secret, validator=_validate_header_value)
    sign_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_secret)
    direct: bool = field(default=False, validator=_validate_flag)


@clear_init_locals_on_error
@frozen(kw_only=True)
class Wallet:
    """The wallet, for payouts and their reports.

    Args:
        hashid: the wallet_hashid.
        password: its password.
        sign_key: signs every POST.
        api_key: the key for payouts; valid for 24 hours.
        refresh_token: refreshes ``api_key``.
        inquiry_key: the key for balance and reports; valid for 24 hours.
        refresh_inquiry_key: refreshes ``inquiry_key``.
    """

    hashid: str = field(converter=_id_text, validator=_validate_line)
    password: Secret = field(converter=to_secret, validator=_validate_secret)
    sign_key: Secret = field(converter=to_secret, validator=_validate_secret)
    api_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_header_value)
    refresh_token: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_secret)
    inquiry_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_header_value)
    refresh_inquiry_key: Secret | None = field(default=None, converter=to_optional_secret, validator=_validate_secret)


def without_refresh_tokens(
    application: Application | None, wallet: Wallet | None
) -> tuple[Application | None, Wallet | None]:
    """Return the accounts without refresh tokens, for a check that must refresh no key.

    With rotating refresh tokens a refresh would lock out a running service.
    """
    return (
        application and evolve(application, refresh_token=None),
        wallet and evolve(wallet, refresh_token=None, refresh_inquiry_key=None),
    )


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
    """The accounts of one client, and the credentials that each realm expects."""

    application: Application | None = None
    gateway: Gateway | None = None
    wallet: Wallet | None = None

    def account_names(self) -> list[str]:
        """Return the names of the configured accounts."""
        accounts = {"application": self.application, "gateway": self.gateway, "wallet": self.wallet}
        return [name for name, account in accounts.items() if account is not None]

    def account_id(self, realm: Realm) -> str:
        """Return the account's id in a realm; raise ConfigurationError naming the missing settings."""
        match realm:
            case Realm.APPLICATION if self.application:
                return self.application.id
            case Realm.GATEWAY if self.gateway:
                return "gateway"
            case Realm.WALLET | Realm.INQUIRY if self.wallet:
                return self.wallet.hashid
            case _:
                raise ConfigurationError(
                    f"the {account_argument(realm)} account is not configured", hint=_MISSING[realm]
                )

    def identification_fields(self, realm: Realm, method: str) -> dict[str, str | Secret]:
        """Return the fields that identify the caller; on a GET they go into the query string."""
        match realm:
            case Realm.APPLICATION if self.application:
                return {"application_id": self.application.id, "access_password": self.application.access_password}
            case Realm.WALLET | Realm.INQUIRY if self.wallet:
                fields: dict[str, str | Secret] = {"wallet_hashid": self.wallet.hashid}
                return fields if method == "GET" else {**fields, "password": self.wallet.password}
            case _:
                return {}

    def sign_key(self, realm: Realm) -> Secret | None:
        """Return the sign key of a realm, or None if nothing is signed."""
        match realm:
            case Realm.GATEWAY if self.gateway:
                return self.gateway.sign_key
            case Realm.WALLET | Realm.INQUIRY if self.wallet:
                return self.wallet.sign_key
            case _:
                return None

    def initial_token(self, realm: Realm) -> tuple[Secret | None, Secret | None]:
        """Return the key and the refresh token configured for a realm."""
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
        """Return all secrets of the accounts."""
        return [value for value in self._values().values() if isinstance(value, Secret)]

    def _values(self) -> dict[str, str | Secret]:
        """Return all ids and secrets of the accounts by their names."""
        return {
            f"{name}.{attribute}": value
            for name, account in asdict(self, recurse=False).items()
            if account is not None
            for attribute, value in asdict(account, recurse=False).items()
            if isinstance(value, str | Secret)
        }

    def names_without_mark(self) -> list[str]:
        """Return the names of the ids and secrets without the mark of a sandbox, such as ``wallet.hashid``."""
        return [
            name
            for name, value in self._values().items()
            if not has_sandbox_mark(value.reveal() if isinstance(value, Secret) else value)
        ]

    @property
    def path_prefix(self) -> str:
        """Return the value of ``{gateway}`` in an endpoint's path."""
        return DIRECT_GATEWAY_PATH if self.gateway and self.gateway.direct else GATEWAY_PATH


BASE_URL = "https://core.paystar.ir/api"
