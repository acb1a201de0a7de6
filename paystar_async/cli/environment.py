"""The environment variables of the client, with secrets masked."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from paystar_async.cli.console import make_table
from paystar_async.errors.text import visible
from paystar_async.values.masking import mask_address

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
"""Every variable, and whether its value is secret; the address of a store or proxy may contain a password."""


CREDENTIAL_VARIABLES: Mapping[str, Sequence[str]] = {
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
"""The variables of each account's credentials."""


def list_set_variables(account: str) -> str:
    """Return the names of an account's variables that are set, separated by commas."""
    names = (name for name in CREDENTIAL_VARIABLES[account] if os.environ.get(name) or os.environ.get(f"{name}_FILE"))
    return ", ".join(names)


def environment_table() -> Table:
    """Return a table of all variables, their values and sources, with secrets masked."""
    table = make_table("Variable", "Value", "From")
    for name, is_secret in VARIABLES.items():
        value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
        if not value and path is None:
            table.add_row(Text(name, "dim"), Text("not set", "dim"), "")
        else:
            cell = Text(_mask(value)) if value and not is_secret else Text("set, not shown", "green")
            table.add_row(name, cell, "environment" if value else f"file {_mask(path or '')}")
    return table


def _mask(text: str) -> str:
    """Return a value that is safe to print; an address with a password may be in any variable by mistake."""
    return visible(mask_address(text))


def find_misspelled_variables() -> Iterator[tuple[str, str]]:
    """Yield each set variable that is not read, with the similar name that is."""
    for name in sorted(os.environ):
        base_name = name.removesuffix("_FILE")
        if name.startswith("PAYSTAR_") and base_name not in VARIABLES:
            for suggestion in difflib.get_close_matches(base_name, VARIABLES, n=1, cutoff=0.85):
                yield name, suggestion
