"""Settings of a client: read from the environment or from files that it names, and validated."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, cast
from urllib.parse import urlsplit

from attrs import evolve

from paystar_async.credentials import BASE_URL, Application, Credentials, Gateway, Wallet
from paystar_async.endpoint import Middleware
from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.errors.text import describe_type
from paystar_async.keys.store import KeyStore
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import OnEvent
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto
from paystar_async.values.arguments import require_function
from paystar_async.values.masking import describe_value, mask_address
from paystar_async.values.numbers import MAX_INT64, number_repr
from paystar_async.values.secret import clear_locals_on_error

if TYPE_CHECKING:
    from paystar_async.transport.factory import EngineOption


T = TypeVar("T")

LOG_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def require_base_url(value: object, credentials: Credentials) -> str:
    """Return the base URL without trailing slashes; only https is allowed, except on loopback.

    A sandbox on another host may be reached over http, by credentials that all carry the mark of a sandbox.

    Raises:
        ConfigurationError: ``value`` is not an absolute URL, or would send keys over plain http.
    """
    base_url = normalize_base_url(value)
    if is_unencrypted(base_url):
        host, real = urlsplit(base_url).hostname, credentials.names_without_mark()
        if real or not credentials.account_names() or host == urlsplit(BASE_URL).hostname:
            names = f"; not of a sandbox: {', '.join(real)}" if real else ""
            raise ConfigurationError(
                f"base_url would send keys to {host} unencrypted",
                hint=f"use https; plain http is for loopback, or for a sandbox with the credentials it prints{names}",
            )
    return base_url


def is_unencrypted(base_url: str) -> bool:
    """Return True if requests to a normalized base URL leave this machine over plain http."""
    parts = urlsplit(base_url)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


def normalize_base_url(value: object) -> str:
    """Return the base URL without trailing slashes.

    Raises:
        ConfigurationError: ``value`` is not an absolute URL.
    """
    text = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    has_invalid_part = not text.isprintable() or any(character in text for character in " \\?#") or "@" in parts.netloc
    if parts.scheme not in {"https", "http"} or not host or has_invalid_part:
        raise ConfigurationError(
            "base_url must be an absolute URL without query or credentials",
            hint=f"the live service is {BASE_URL}; set base_url or PAYSTAR_BASE_URL",
        )
    return text.rstrip("/")


Environment = Mapping[str, str]


@clear_locals_on_error
def read_setting(name: str, environment: Environment | None = None) -> str | None:
    """Return a setting from the environment or from the file named by ``NAME_FILE``, without trailing line breaks.

    Raises:
        ConfigurationError: both are set, or the file cannot be read.
    """
    values = os.environ if environment is None else environment
    text, path = values.get(name), values.get(f"{name}_FILE")
    if not path:
        return text or None
    if text:
        raise ConfigurationError(f"{name} and {name}_FILE are both set", hint="keep one of the two")
    try:
        return Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n") or None
    except (OSError, ValueError) as problem:
        reason = type(problem).__name__
    raise ConfigurationError(f"{name}_FILE cannot be read: {reason}", hint=f"check the path {mask_address(path)}")


@clear_locals_on_error
def read_number(name: str, kind: Callable[[str], T], environment: Environment | None = None) -> T | None:
    """Return a numeric setting, or None; raise ConfigurationError with the setting's name if it is not a number."""
    text = read_setting(name, environment)
    if text is None:
        return None
    try:
        return kind(text.strip())
    except ValueError:
        pass
    expected = "a number of seconds" if kind is float else "a whole number"
    raise ConfigurationError(
        f"{name} must be {expected}, got {describe_value(text)}", hint="write digits alone, without a unit: 30"
    )


@clear_locals_on_error
def read_switch(name: str, environment: Environment | None = None) -> bool:
    """Return a boolean setting; False if the setting is not set."""
    text = (read_setting(name, environment) or "0").strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ConfigurationError(f"{name} must be on or off", hint="write 1 or 0")


_APPLICATION = {
    "id": "PAYSTAR_APPLICATION_ID",
    "access_password": "PAYSTAR_ACCESS_PASSWORD",
    "api_key": "PAYSTAR_API_KEY",
    "refresh_token": "PAYSTAR_REFRESH_TOKEN",
}
_GATEWAY = {"id": "PAYSTAR_GATEWAY_ID", "sign_key": "PAYSTAR_SIGN_KEY"}
_WALLET = {
    "hashid": "PAYSTAR_WALLET_HASHID",
    "password": "PAYSTAR_WALLET_PASSWORD",
    "sign_key": "PAYSTAR_WALLET_SIGN_KEY",
    "api_key": "PAYSTAR_WALLET_API_KEY",
    "refresh_token": "PAYSTAR_WALLET_REFRESH_TOKEN",
    "inquiry_key": "PAYSTAR_INQUIRY_KEY",
    "refresh_inquiry_key": "PAYSTAR_REFRESH_INQUIRY_KEY",
}
"""The variable of each field of an account; the required ones come first."""


@clear_locals_on_error
def read_application(environment: Environment | None = None) -> Application | None:
    """Return the application configured in the environment, or None."""
    return _read_account(Application, _APPLICATION, 2, environment)


@clear_locals_on_error
def read_gateway(environment: Environment | None = None) -> Gateway | None:
    """Return the gateway configured in the environment, or None."""
    gateway = _read_account(Gateway, _GATEWAY, 1, environment)
    return gateway and evolve(gateway, direct=read_switch("PAYSTAR_GATEWAY_DIRECT", environment))


@clear_locals_on_error
def read_wallet(environment: Environment | None = None) -> Wallet | None:
    """Return the wallet configured in the environment, or None."""
    return _read_account(Wallet, _WALLET, 3, environment)


@clear_locals_on_error
def _read_account(
    kind: Callable[..., T], variables: Mapping[str, str], required: int, environment: Environment | None
) -> T | None:
    """Return the account configured in the environment, or None; raise ConfigurationError naming a wrong variable."""
    names = list(variables.values())
    if _required_settings(names[:required], names[required:], environment) is None:
        return None
    try:
        return kind(**{field: read_setting(name, environment) for field, name in variables.items()})
    except InvalidValue as error:
        problem = error
    raise ConfigurationError(
        f"{variables[problem.field]}: expected {problem.expected}, got {problem.got}", hint=problem.hint
    )


def _required_settings(
    names: Sequence[str], optional: Sequence[str], environment: Environment | None
) -> list[str] | None:
    """Return the required settings of an account; None if no setting of the account is set."""
    values = [read_setting(name, environment) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is None]
    if len(missing) == len(names) and not any(read_setting(name, environment) for name in optional):
        return None
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}", hint="an account needs all of its variables")
    return [value for value in values if value is not None]


@clear_locals_on_error
def read_crypto(environment: Environment | None = None) -> Crypto | None:
    """Return the encryption with the keys of PAYSTAR_CRYPTO_KEYS, newest first, or None if there are none."""
    text = read_setting("PAYSTAR_CRYPTO_KEYS", environment)
    return None if text is None else Crypto([key.strip() for key in text.split(",") if key.strip()])


@clear_locals_on_error
def read_log_level(environment: Environment | None = None) -> int | None:
    """Return the log level of PAYSTAR_LOG as a number of ``logging``, or None."""
    text = (read_setting("PAYSTAR_LOG", environment) or "").strip().upper()
    if not text:
        return None
    if text not in LOG_LEVELS:
        raise ConfigurationError("PAYSTAR_LOG must be debug, info, warning or error", hint="leave it out for none")
    return LOG_LEVELS[text]


VARIABLES: Mapping[str, Callable[[], object]] = {
    "application": read_application,
    "gateway": read_gateway,
    "wallet": read_wallet,
    "base_url": partial(read_setting, "PAYSTAR_BASE_URL"),
    "timeout": partial(read_number, "PAYSTAR_TIMEOUT", float),
    "max_retries": partial(read_number, "PAYSTAR_MAX_RETRIES", int),
    "concurrency": partial(read_number, "PAYSTAR_CONCURRENCY", int),
    "keys": partial(read_setting, "PAYSTAR_KEYS"),
    "database": partial(read_setting, "PAYSTAR_DATABASE"),
    "crypto": read_crypto,
    "engine": partial(read_setting, "PAYSTAR_ENGINE"),
    "proxy": partial(read_setting, "PAYSTAR_PROXY"),
}
"""The reader of each argument's variable; an explicit argument takes precedence."""


def require_above(name: str, value: object, bound: int, kind: type[float]) -> None:
    """Raise ConfigurationError if the value is not a number above ``bound``."""
    is_above = isinstance(value, kind | int) and not isinstance(value, bool) and value > bound
    if not is_above or (isinstance(value, int) and value > MAX_INT64):  # a longer int does not fit in a float
        expected = f"a whole number, {bound + 1} or more" if kind is int else f"a number above {bound}"
        raise ConfigurationError(f"{name} must be {expected}, not {number_repr(value)}")


def require_middleware(value: object) -> tuple[Middleware, ...]:
    """Return the middlewares of a sequence; raise ConfigurationError if one cannot be called as a middleware."""
    hint = "async def middleware(request, next): ..."
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ConfigurationError(f"middleware must be a list of middlewares, not {describe_type(value)}", hint=hint)
    middlewares = tuple(cast("Sequence[object]", value))
    for index, middleware in enumerate(middlewares):
        name = f"middleware[{index}]"
        if isinstance(middleware, type):
            raise ConfigurationError(
                f"{name} must be a function or an object, not {describe_type(middleware)}", hint=hint
            )
        require_function(name, middleware, "a request", "next", hint=hint)
    return cast("tuple[Middleware, ...]", middlewares)


Checks = Literal["shape", "strict"]


class Settings(TypedDict, total=False):
    """The keyword-only arguments of ``Paystar``."""

    base_url: str
    timeout: float
    max_retries: int
    concurrency: int
    checks: Checks
    keys: str | KeyStore | None
    database: str | PathLike[str] | Database | None
    crypto: Crypto | None
    engine: "EngineOption"
    proxy: str | None
    middleware: Sequence[Middleware]
    clock: Clock | None
    on_event: OnEvent | None


class Options(Settings, total=False):
    """The arguments of ``Paystar``, each of which overrides the environment in ``Paystar.from_env``."""

    application: Application | None
    gateway: Gateway | None
    wallet: Wallet | None
