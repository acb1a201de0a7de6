"""The configuration of all tests: profiles, plugins, and the browser that some need."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a slow machine is no failure. Derandomized: a failure must be reproducible.
settings.register_profile("paystar", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("paystar")

pytest_plugins = ["paystar_async.testing", "pytester", "tests.servers"]

CHROMIUM = Path("/usr/bin/chromium")


def pytest_configure() -> None:
    """Tell asyncio that this thread has no event loop, or pytest-asyncio 1.1 creates a loop that nothing closes."""
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the browser tests where Chromium is missing; ``.ci/run`` installs it."""
    if not CHROMIUM.exists():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("browser")])
        items[:] = [item for item in items if not item.get_closest_marker("browser")]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes receive SIGINT, which they inherit as ignored under ``nohup`` and in CI."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)
