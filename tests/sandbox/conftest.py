from collections.abc import AsyncIterator

import pytest

from tests.sandbox.merchant import Merchant


@pytest.fixture
async def merchant() -> AsyncIterator[Merchant]:
    merchant = Merchant()
    async with merchant.http:
        yield merchant
