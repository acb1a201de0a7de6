from tests.sandbox.conftest import raw_client as raw_client
