from tests.sandbox.conftest import merchant as merchant
