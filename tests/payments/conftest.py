"""Fixtures: each backend with its order store, and a shop with a sandbox and a file of orders."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from paystar_async.payments.order_store import OrderStore
from tests.payments.backends import Backend
from tests.payments.shop import Shop, open_shop


@pytest_asyncio.fixture
async def backend(database_location: str) -> AsyncIterator[Backend]:
    async with aclosing(Backend(database_location)) as backend:
        yield backend


@pytest.fixture
def store(backend: Backend) -> OrderStore:
    return backend.store()


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path / "paystar.db", max_retries=0) as shop:
        yield shop
