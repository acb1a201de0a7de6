"""A client for commands that work on a database: the payout ledger, or the orders of a shop."""

import asyncio
from collections.abc import Awaitable, Callable

from cyclopts import Parameter

from paystar_async.client import Paystar
from paystar_async.config import read_setting
from paystar_async.errors import ConfigurationError

LEDGER_OPTION = Parameter(help="the ledger file, or postgresql://…; PAYSTAR_DATABASE by default")


def run_with_ledger(ledger: str | None, work: Callable[[Paystar], Awaitable[int]]) -> int:
    """Run ``work`` with a client of the ledger; return its exit status.

    Raises:
        ConfigurationError: no ledger is given or configured.
    """
    database = ledger or read_setting("PAYSTAR_DATABASE")
    if not database:
        raise ConfigurationError("payouts need a ledger", hint="--ledger payouts.db, or PAYSTAR_DATABASE")

    async def run_work() -> int:
        async with Paystar.from_env(checks="strict", database=database) as paystar:
            return await work(paystar)

    return asyncio.run(run_work())
