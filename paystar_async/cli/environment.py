"""The environment as the client reads it, secrets unseen."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from paystar_async.cli.console import grid
from paystar_async.errors.text import visible
from paystar_async.values.mask import mask_address

VARIABLES: Mapping[str, bool] = {
    "PAYSTAR_BASE_URL": False,
    "PAYSTAR_APPLICATION_ID": False,
    "PAYSTAR_ACCESS_PASSWORD": True,
    "PAYSTAR_API_KEY": True,
    "PAYSTAR_REFRESH_TOKEN": True,
    "PAYSTAR_GATEWAY_ID": True,
    "PAYSTAR_SIGN_KEY": True,
    "PAYSTAR_GATEWAY_DIRECT": False,
    "PAYSTAR_WALLET_HASHID": False,
    "PAYSTAR_WALLET_PASSWORD": True,
    "PAYSTAR_WALLET_SIGN_KEY": True,
    "PAYSTAR_WALLET_API_KEY": True,
    "PAYSTAR_WALLET_REFRESH_TOKEN": True,
    "PAYSTAR_INQUIRY_KEY": True,
    "PAYSTAR_REFRESH_INQUIRY_KEY": True,
    "PAYSTAR_TIMEOUT": False,
    "PAYSTAR_MAX_RETRIES": False,
    "PAYSTAR_CONCURRENCY": False,
    "PAYSTAR_KEYS": True,
    "PAYSTAR_DATABASE": True,
    "PAYSTAR_CRYPTO_KEYS": True,
    "PAYSTAR_ENGINE": False,
    "PAYSTAR_PROXY": True,
}
"""Every setting, and whether it is a secret; where keys are kept may be a URL with a password in it."""


ACCOUNTS: Mapping[str, Sequence[str]] = {
    "application": ("PAYSTAR_APPLICATION_ID", "PAYSTAR_ACCESS_PASSWORD", "PAYSTAR_API_KEY", "PAYSTAR_REFRESH_TOKEN"),
    "gateway": ("PAYSTAR_GATEWAY_ID", "PAYSTAR_SIGN_KEY", "PAYSTAR_GATEWAY_DIRECT"),
    "wallet": (
        "PAYSTAR_WALLET_HASHID",
        "PAYSTAR_WALLET_PASSWORD",
        "PAYSTAR_WALLET_SIGN_KEY",
        "PAYSTAR_WALLET_API_KEY",
        "PAYSTAR_WALLET_REFRESH_TOKEN",
        "PAYSTAR_INQUIRY_KEY",
        "PAYSTAR_REFRESH_INQUIRY_KEY",
    ),
}
"""Which settings belong to which account."""


def settings_of(account: str) -> str:
    """Which of an account's settings are set."""
    found = [name for name in ACCOUNTS[account] if os.environ.get(name) or os.environ.get(f"{name}_FILE")]
    return ", ".join(found)


def environment_table() -> Table:
    """Which settings are set, and from where."""
    table = grid("Variable", "Value", "From")
    for name, secret in VARIABLES.items():
        value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
        if not value and path is None:
            table.add_row(Text(name, "dim"), Text("not set", "dim"), "")
        else:
            held = Text(_shown(value)) if value and not secret else Text("set, not shown", "green")
            table.add_row(name, held, "environment" if value else f"file {_shown(path or '')}")
    return table


def _shown(text: str) -> str:
    """Return a setting as a terminal may show it; an address with a password may stand in any of them by mistake."""
    return visible(mask_address(text))


def misspelt() -> Iterator[tuple[str, str]]:
    """Variables nobody reads that look like ones that are read."""
    for name in sorted(os.environ):
        plain = name.removesuffix("_FILE")
        if name.startswith("PAYSTAR_") and plain not in VARIABLES:
            for meant in difflib.get_close_matches(plain, VARIABLES, n=1, cutoff=0.85):
                yield name, meant
