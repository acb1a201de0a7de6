"""Helpers for command-line tests: transfers, settle calls, a terminal and doctor results."""

import asyncio
import io
import json
import os
import sqlite3
from contextlib import closing
from typing import Any

from paystar_async import Paystar
from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.contrib.browsing import token_in

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


def start_orders(sandbox: Sandbox, *order_ids: str, paid: bool = True) -> None:
    """Start orders of 50,000 Rial in the database of the environment; pay them, and make them due for a check."""

    async def start() -> None:
        async with Paystar.from_env() as paystar:
            for order_id in order_ids:
                started = await paystar.payments.start(
                    amount=50_000, order_id=order_id, callback="https://shop.example/back"
                )
                if paid:
                    sandbox.pay(token_in(started.url))

    asyncio.run(start())
    with closing(sqlite3.connect(os.environ["PAYSTAR_DATABASE"])) as connection, connection:
        for table in ("paystar_orders", "paystar_payments"):
            connection.execute(f"UPDATE {table} SET next_check_at = 0 WHERE next_check_at IS NOT NULL")
