"""Fixtures: each backend with its order store, and a shop with a sandbox and a file of orders."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from paystar_async.payments.order_store import OrderStore
from tests.payments.backends import BACKENDS, Backend, make_backend
from tests.payments.shop import Shop, open_shop


@pytest_asyncio.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    backend = make_backend(request, tmp_path)
    yield backend
    await backend.aclose()


@pytest.fixture
def store(backend: Backend) -> OrderStore:
    return backend.store()


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path / "paystar.db", max_retries=0) as shop:
        yield shop
