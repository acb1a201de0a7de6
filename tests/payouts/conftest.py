"""A ledger of each kind, and a desk at it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.payouts.backends import PLACES, Place, make_place
from tests.payouts.bank import PayoutFixture


@pytest_asyncio.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = make_place(request, tmp_path)
    yield place
    await place.aclose()


@pytest.fixture
def desk(place: Place) -> PayoutFixture:
    return PayoutFixture(place.ledger(), place.clock)
