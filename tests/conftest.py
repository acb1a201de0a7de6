"""What holds for all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure, and a failure must come back the same tomorrow.
settings.register_profile("paystar", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("paystar")

pytest_plugins = ["paystar_async.testing", "pytester", "tests.servers"]

CHROMIUM = Path("/usr/bin/chromium")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the browser's tests without a browser; ``.ci/run`` installs one."""
    if not CHROMIUM.exists():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("browser")])
        items[:] = [item for item in items if not item.get_closest_marker("browser")]
