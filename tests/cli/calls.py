"""Calls that move money, as a command line makes them."""

import json
from typing import Any

from tests.cli.conftest import Run

DEPOSIT = "0100123456789"


def transfer(track_id: str, **other: Any) -> dict[str, Any]:
    return {
        "amount": 1_050_000,
        "deposit": DEPOSIT,
        "destination_account": "IR062960000000100324200001",
        "destination_firstname": "Zahra",
        "destination_lastname": "Karimi",
        "track_id": track_id,
    } | other


def settle(run: Run, *transfers: dict[str, Any], more: tuple[str, ...] = ("--yes",)) -> Any:
    return run("call", "transfers", "settle", "--transfers", json.dumps(transfers), *more)
