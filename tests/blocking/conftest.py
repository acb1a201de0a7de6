"""A server for blocking clients."""

from collections.abc import Iterator

import pytest

from tests.blocking.support import Server, loop_threads, running_server


@pytest.fixture
def server() -> Iterator[Server]:
    """Yield a server; afterwards no client may have left a thread behind."""
    with running_server() as server:
        yield server
    assert not loop_threads()
