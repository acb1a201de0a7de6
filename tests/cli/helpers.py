"""Helpers for command-line tests: transfers, settle calls, a terminal and doctor results."""

import io
import json
from typing import Any

from tests.cli.conftest import Run

DEPOSIT = "0100123456789"


def transfer(track_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "amount": 1_050_000,
        "deposit": DEPOSIT,
        "destination_account": "IR062960000000100324200001",
        "destination_firstname": "Zahra",
        "destination_lastname": "Karimi",
        "track_id": track_id,
    } | changes


def settle(run: Run, *transfers: dict[str, Any], options: tuple[str, ...] = ("--yes",)) -> Any:
    return run("call", "transfers", "settle", "--transfers", json.dumps(transfers), *options)


def check_result(output: str, name: str) -> str:
    """Return the mark and message of a check in the output of ``paystar doctor``."""
    return next(line.split(name, 1)[1].strip() for line in output.splitlines() if line.startswith(f" {name}  "))


class Terminal(io.StringIO):
    """A stdin that is a terminal."""

    def isatty(self) -> bool:
        return True
