"""The fixture ``shop``: a shop with a sandbox and a file of orders."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.payments.shop import Shop, open_shop


@pytest_asyncio.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path / "paystar.db", max_retries=0) as shop:
        yield shop
