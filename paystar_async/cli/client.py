"""A client for commands that use a database: the payout ledger, or the orders of a shop."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from cyclopts import Parameter

from paystar_async.client import Paystar
from paystar_async.config import read_setting
from paystar_async.errors import ConfigurationError

LEDGER_OPTION = Parameter(help="the ledger file, or postgresql://…; PAYSTAR_DATABASE by default")
DATABASE_OPTION = Parameter(help="the file with the orders, or postgresql://…; PAYSTAR_DATABASE by default")

Location = str | Path
"""A file, or postgresql://…. The value of an option is always the text; Path lets the shell complete files."""

Work = Callable[[Paystar], Awaitable[int]]
"""A command's coroutine function: takes a client, returns the exit status."""


def run_with_ledger(ledger: Location | None, work: Work) -> int:
    """Run ``work`` with a client of the payout ledger; return its exit status.

    Raises:
        ConfigurationError: no ledger is given or configured.
    """
    error = ConfigurationError("payouts need a ledger", hint="--ledger payouts.db, or PAYSTAR_DATABASE")
    return _run_with_database(ledger, work, error)


def run_with_orders(database: Location | None, work: Work) -> int:
    """Run ``work`` with a client of the stored orders; return its exit status.

    Raises:
        ConfigurationError: no database is given or configured.
    """
    error = ConfigurationError("orders are in a database", hint="--database paystar.db, or PAYSTAR_DATABASE")
    return _run_with_database(database, work, error)


def _run_with_database(database: Location | None, work: Work, missing: ConfigurationError) -> int:
    database = database or read_setting("PAYSTAR_DATABASE")
    if not database:
        raise missing

    async def run_work() -> int:
        async with Paystar.from_env(checks="strict", database=database) as paystar:
            return await work(paystar)

    return asyncio.run(run_work())
