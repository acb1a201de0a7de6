"""Fixtures of the key tests: each backend, and each store open and encrypted."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from paystar_async.keys.store import KeyStore
from paystar_async.storage.encryption import Crypto
from tests.keys.backends import BACKENDS, NEW_KEY, SHARED_BACKENDS, Backend, SharedBackend, make_backend


@pytest_asyncio.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Return each backend in turn."""
    backend = make_backend(request, tmp_path)
    yield backend
    await backend.aclose()


@pytest.fixture(params=["open", "encrypted"])
def store(request: pytest.FixtureRequest, backend: Backend) -> KeyStore:
    """Return a store on each backend, without and with encryption."""
    return backend.store(Crypto([NEW_KEY]) if request.param == "encrypted" else None)


@pytest_asyncio.fixture(params=SHARED_BACKENDS)
async def shared_backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SharedBackend]:
    """Return each backend that several processes can share."""
    backend = cast("SharedBackend", make_backend(request, tmp_path))
    yield backend
    await backend.aclose()
