"""Check the ``proxy`` argument of a client."""

from urllib.parse import urlsplit

from paystar_async.errors import ConfigurationError
from paystar_async.values.masking import mask_address
from paystar_async.values.secret import Secret, clear_locals_on_error


@clear_locals_on_error
def check_proxy(proxy: object, engine: object) -> Secret | None:
    """Return the proxy's URL as a secret, since the URL may hold a password; None without a proxy.

    Args:
        proxy: ``http://user:password@host:port`` or ``https://…``; None or empty for no proxy.
        engine: the ``engine`` argument of the client.

    Raises:
        ConfigurationError: ``proxy`` is not such a URL, or the engine cannot use a proxy.
    """
    if proxy is None or proxy == "":
        return None
    if not isinstance(proxy, str) or not _is_proxy(proxy.strip()):
        masked_proxy = mask_address(proxy) if isinstance(proxy, str) else f"a {type(proxy).__name__}"
        raise ConfigurationError(
            f"proxy must be the URL of an HTTP proxy, not {masked_proxy!r:.60}", hint="http://user:password@host:port"
        )
    if engine == "native":
        raise ConfigurationError(
            "the native engine uses no proxy", hint='engine="auto", which takes httpx, "httpx2" or "aiohttp"'
        )
    if not isinstance(engine, str):
        raise ConfigurationError(
            "proxy= is for engines chosen by name", hint="set the proxy on the client, session or engine you hand in"
        )
    return Secret(proxy.strip())


def _is_proxy(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_bare and text.isprintable()
