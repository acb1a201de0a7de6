"""Fixtures: a ledger on each backend, and a payout that uses it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.payouts.backends import BACKENDS, Backend, open_backend
from tests.payouts.bank import PayoutFixture


@pytest_asyncio.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    backend = open_backend(request, tmp_path)
    yield backend
    await backend.aclose()


@pytest.fixture
def payout(backend: Backend) -> PayoutFixture:
    return PayoutFixture(backend.ledger(), backend.clock)
