"""What holds for all tests."""

from hypothesis import settings

# A slow machine is no failure, and a failure must come back the same tomorrow.
settings.register_profile("paystar", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("paystar")

pytest_plugins = ["paystar_async.testing", "pytester", "tests.servers"]
