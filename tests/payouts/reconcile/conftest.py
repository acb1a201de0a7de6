"""Fixtures: a payout at a bank whose list needs many requests."""

import pytest

from paystar_async.payouts import channels
from tests.payouts.backends import Backend
from tests.payouts.bank import PayoutFixture
from tests.payouts.reconcile.bank import BankWithList


@pytest.fixture
def bank() -> BankWithList:
    return BankWithList()


@pytest.fixture
def payout(backend: Backend, bank: BankWithList, monkeypatch: pytest.MonkeyPatch) -> PayoutFixture:
    """Return a fixture with a bank whose list needs many requests."""
    monkeypatch.setattr(channels, "PAGE_SIZE", 3)
    return PayoutFixture(backend.ledger(), backend.clock, bank)
