"""Fixtures: a ledger on each backend, a payout that uses it, clients of the sandbox, and transfer files."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from paystar_async import Paystar
from paystar_async.sandbox import Sandbox
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture
from tests.payouts.files import Write, write_csv, write_xlsx


@pytest_asyncio.fixture
async def backend(database_location: str) -> AsyncIterator[Backend]:
    async with aclosing(Backend(database_location)) as backend:
        yield backend


@pytest.fixture
def payout(backend: Backend) -> PayoutFixture:
    return PayoutFixture(backend.ledger(), backend.clock)


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Paystar]:
    """Return a factory of sandbox clients with their own ledger."""

    def client(**overrides: Any) -> Paystar:
        settings: dict[str, Any] = {"database": tmp_path / "payouts.db", "timeout": 1.0, "engine": sandbox.engine()}
        settings |= {"application": sandbox.application, "wallet": sandbox.wallet}
        return Paystar(**{**settings, **overrides})

    return client


@pytest.fixture(params=["csv", "xlsx"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Return a function that writes a transfer file of this kind."""
    if request.param == "csv":
        return lambda lines: write_csv(tmp_path / "salaries.csv", lines)
    return lambda lines: write_xlsx(tmp_path / "salaries.xlsx", lines)
