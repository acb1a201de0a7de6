"""The raw client, for tests of the pages."""

from tests.sandbox.conftest import raw_client as raw_client
