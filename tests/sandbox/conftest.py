"""Fixtures: a raw client of a sandbox on a manual clock."""

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.raw_client import RawClient


@pytest.fixture
async def raw_client() -> AsyncIterator[RawClient]:
    raw_client = RawClient()
    async with raw_client.http:
        yield raw_client
