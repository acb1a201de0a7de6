"""The environment variables of the client, with secrets masked."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from attrs import frozen
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
    "PAYSTAR_LOG": False,
}
"""Every variable, and whether its value is secret; the address of a store or proxy may contain a password."""

MISSPELLING_RATIO = 0.85
"""Similarity of two names from which one is taken for a misspelling of the other."""

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


@frozen
class Variable:
    """A variable as it is set, safe to print.

    Attributes:
        name: the variable's name, without ``_FILE``.
        is_set: whether the variable or its file is set.
        value: the value, an address in it masked; None for a secret, and for a value that is not read here.
        file: the path that ``NAME_FILE`` names, or None.
    """

    name: str
    is_set: bool
    value: str | None
    file: str | None

    @property
    def source(self) -> Literal["environment", "file"] | None:
        """Return where the value is from, or None."""
        if not self.is_set:
            return None
        return "environment" if self.file is None else "file"


def read_variables() -> list[Variable]:
    """Return every variable that the client reads."""
    return [_read_variable(name, is_secret=is_secret) for name, is_secret in VARIABLES.items()]


def _read_variable(name: str, *, is_secret: bool) -> Variable:
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value:
        return Variable(name, is_set=True, value=None if is_secret else _mask(value), file=None)
    return Variable(name, is_set=path is not None, value=None, file=None if path is None else _mask(path))


def environment_table(variables: Iterable[Variable]) -> Table:
    """Return a table of variables, their values and sources."""
    table = make_table("Variable", "Value", "From")
    for variable in variables:
        if variable.is_set:
            cell = Text("set, not shown", "green") if variable.value is None else Text(variable.value)
            table.add_row(variable.name, cell, "environment" if variable.file is None else f"file {variable.file}")
        else:
            table.add_row(Text(variable.name, "dim"), Text("not set", "dim"), "")
    return table


def _mask(text: str) -> str:
    """Return a value that is safe to print; an address with a password may be in any variable by mistake."""
    return visible(mask_address(text))


def find_unknown_variables() -> Iterator[tuple[str, str, bool]]:
    """Yield each set variable named ``PAYSTAR_…`` that is not read, with the nearest name that is.

    The third item is True if both names are so similar that one is probably a misspelling of the other.
    """
    for name in sorted(os.environ):
        base_name = name.removesuffix("_FILE")
        if name.startswith("PAYSTAR_") and base_name not in VARIABLES:
            nearest = difflib.get_close_matches(base_name, VARIABLES, n=1, cutoff=0.0)[0]
            yield name, nearest, bool(difflib.get_close_matches(base_name, [nearest], cutoff=MISSPELLING_RATIO))
