"""Where settings come from: the environment, or files it names."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar, cast
from urllib.parse import urlsplit

from paystar_async.credentials import BASE_URL, Application, Gateway, Wallet
from paystar_async.endpoint import Middleware
from paystar_async.errors import ConfigurationError
from paystar_async.keys.store import KeyStore
from paystar_async.runtime.clock import Clock
from paystar_async.runtime.events import OnEvent
from paystar_async.storage.database import Database
from paystar_async.storage.encryption import Crypto
from paystar_async.values.masking import mask_address
from paystar_async.values.secret import sealed

if TYPE_CHECKING:
    from paystar_async.transport.factory import EngineOption


T = TypeVar("T")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def checked_base_url(given: object) -> str:
    """The base URL without its last slash; https only, but for this machine itself.

    Raises:
        ConfigurationError: it is not an absolute URL, or would send keys over plain http.
    """
    text = given.strip() if isinstance(given, str) else ""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    stray = not text.isprintable() or any(sign in text for sign in " \\?#") or "@" in parts.netloc
    if parts.scheme not in {"https", "http"} or not host or stray:
        raise ConfigurationError(
            "base_url must be an absolute URL without query or credentials",
            hint=f"the live service is {BASE_URL}; set base_url or PAYSTAR_BASE_URL",
        )
    if parts.scheme == "http" and host not in LOOPBACK:
        raise ConfigurationError(
            f"base_url would send keys to {host} unencrypted", hint="use https; plain http is for loopback alone"
        )
    return text.rstrip("/")


Environment = Mapping[str, str]


@sealed
def setting(name: str, environment: Environment | None = None) -> str | None:
    """A setting from the environment, or from the file that ``NAME_FILE`` names (line breaks at its end dropped).

    Raises:
        ConfigurationError: both are set, or the file cannot be read.
    """
    values = os.environ if environment is None else environment
    text, path = values.get(name), values.get(f"{name}_FILE")
    if not path:
        return text or None
    if text:
        raise ConfigurationError(f"{name} and {name}_FILE are both set", hint="keep one of them")
    try:
        return Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n") or None
    except (OSError, ValueError) as problem:
        reason = type(problem).__name__
    raise ConfigurationError(f"{name}_FILE cannot be read: {reason}", hint=f"check the path {mask_address(path)}")


@sealed
def number(name: str, kind: Callable[[str], T], environment: Environment | None = None) -> T | None:
    """A setting that is a number; raises ConfigurationError naming it when it is not one."""
    text = setting(name, environment)
    if text is None:
        return None
    try:
        return kind(text.strip())
    except ValueError:
        pass
    raise ConfigurationError(f"{name} must be a number", hint="seconds for a timeout, a count for the others")


@sealed
def switch(name: str, environment: Environment | None = None) -> bool:
    """A setting that is on or off; off where it is not set."""
    text = (setting(name, environment) or "0").strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ConfigurationError(f"{name} must be on or off", hint="write 1 or 0")


@sealed
def application_from(environment: Environment | None = None) -> Application | None:
    """The application the environment names, or None where it names none."""
    values = _together(
        ("PAYSTAR_APPLICATION_ID", "PAYSTAR_ACCESS_PASSWORD"), ("PAYSTAR_API_KEY", "PAYSTAR_REFRESH_TOKEN"), environment
    )
    if values is None:
        return None
    return Application(
        id=values[0],
        access_password=values[1],
        api_key=setting("PAYSTAR_API_KEY", environment),
        refresh_token=setting("PAYSTAR_REFRESH_TOKEN", environment),
    )


@sealed
def gateway_from(environment: Environment | None = None) -> Gateway | None:
    """The gateway the environment names, or None where it names none."""
    values = _together(("PAYSTAR_GATEWAY_ID",), ("PAYSTAR_SIGN_KEY",), environment)
    if values is None:
        return None
    return Gateway(
        id=values[0],
        sign_key=setting("PAYSTAR_SIGN_KEY", environment),
        direct=switch("PAYSTAR_GATEWAY_DIRECT", environment),
    )


_INQUIRY = ("PAYSTAR_INQUIRY_KEY", "PAYSTAR_REFRESH_INQUIRY_KEY")


@sealed
def wallet_from(environment: Environment | None = None) -> Wallet | None:
    """The wallet the environment names, or None where it names none."""
    names = ("PAYSTAR_WALLET_HASHID", "PAYSTAR_WALLET_PASSWORD", "PAYSTAR_WALLET_SIGN_KEY")
    more = ("PAYSTAR_WALLET_API_KEY", "PAYSTAR_WALLET_REFRESH_TOKEN", *_INQUIRY)
    values = _together(names, more, environment)
    if values is None:
        return None
    return Wallet(
        hashid=values[0],
        password=values[1],
        sign_key=values[2],
        api_key=setting("PAYSTAR_WALLET_API_KEY", environment),
        refresh_token=setting("PAYSTAR_WALLET_REFRESH_TOKEN", environment),
        inquiry_key=setting("PAYSTAR_INQUIRY_KEY", environment),
        refresh_inquiry_key=setting("PAYSTAR_REFRESH_INQUIRY_KEY", environment),
    )


def _together(names: Sequence[str], more: Sequence[str], environment: Environment | None) -> list[str] | None:
    """The settings an account cannot do without: all of them, or none – and then none of its others either."""
    values = [setting(name, environment) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is None]
    if len(missing) == len(names) and not any(setting(name, environment) for name in more):
        return None
    if missing:
        raise ConfigurationError(f"not set: {', '.join(missing)}", hint="an account needs all of its variables")
    return [value for value in values if value is not None]


@sealed
def crypto_from(environment: Environment | None = None) -> Crypto | None:
    """What seals what is stored: the keys of PAYSTAR_CRYPTO_KEYS, newest first, or None where there are none."""
    text = setting("PAYSTAR_CRYPTO_KEYS", environment)
    return None if text is None else Crypto([one.strip() for one in text.split(",") if one.strip()])


VARIABLES: Mapping[str, Callable[[], object]] = {
    "application": application_from,
    "gateway": gateway_from,
    "wallet": wallet_from,
    "base_url": partial(setting, "PAYSTAR_BASE_URL"),
    "timeout": partial(number, "PAYSTAR_TIMEOUT", float),
    "max_retries": partial(number, "PAYSTAR_MAX_RETRIES", int),
    "concurrency": partial(number, "PAYSTAR_CONCURRENCY", int),
    "keys": partial(setting, "PAYSTAR_KEYS"),
    "database": partial(setting, "PAYSTAR_DATABASE"),
    "crypto": crypto_from,
    "engine": partial(setting, "PAYSTAR_ENGINE"),
    "proxy": partial(setting, "PAYSTAR_PROXY"),
}
"""How each argument of a client is read; the argument itself goes first."""


def above(name: str, value: object, bound: int, kind: type[float]) -> None:
    """Refuse a number that is none, or not above ``bound``."""
    given = value if isinstance(value, kind | int) and not isinstance(value, bool) else bound
    if not given > bound:
        what = "a whole number" if kind is int else "a number"
        raise ConfigurationError(f"{name} must be {what} above {bound}, not {value!r:.20}")


def rings(given: object) -> tuple[Middleware, ...]:
    """The rings of a list of them; refuses whatever cannot be called."""
    listed = tuple(cast("Sequence[object]", given)) if isinstance(given, Sequence) else (None,)
    if not all(callable(ring) for ring in listed):
        raise ConfigurationError("middleware must be a list of rings", hint="async def ring(request, next): ...")
    return cast("tuple[Middleware, ...]", listed)


def account(name: str, given: object, kind: type) -> None:
    """Refuse an account that is not one of its kind."""
    if given is not None and not isinstance(given, kind):
        raise ConfigurationError(f"{name} must be given as {kind.__name__}(…), not as a {type(given).__name__}")


Checks = Literal["shape", "strict"]


class Options(TypedDict, total=False):
    """What ``Paystar`` takes; each overrides the environment in ``Paystar.from_env``."""

    application: Application | None
    gateway: Gateway | None
    wallet: Wallet | None
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
