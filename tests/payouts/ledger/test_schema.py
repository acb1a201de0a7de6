"""Test the schema: a newer version is refused."""

import pytest

from paystar_async.errors import StorageError
from paystar_async.payouts.ledger import queries
from paystar_async.payouts.ledger.insert import insert_batch
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture, each, transfers
from tests.payouts.ledger.tables import dump_ledger


async def test_schema_of_newer_version_is_refused(backend: Backend, payout: PayoutFixture) -> None:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)))
    backend.sql("UPDATE paystar_schema SET version = 999 WHERE name = 'payouts'")
    before = dump_ledger(backend)
    with pytest.raises(StorageError, match="version 999"):
        await queries.find_batch(backend.ledger(), "b")
    assert dump_ledger(backend) == before
