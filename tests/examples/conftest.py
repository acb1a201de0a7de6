"""The sandbox that the examples run against, as a user's tests have it."""

import pytest

from paystar_async.sandbox import Sandbox


@pytest.fixture
def sandbox(paystar_env: Sandbox) -> Sandbox:
    """Return a sandbox; ``Paystar.from_env`` connects to it."""
    return paystar_env
