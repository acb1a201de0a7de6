"""A single wallet transfer is paid once despite faults."""

import pytest

from paystar_async.cli.demo import transfers
from paystar_async.cli.demo.transfers import pay_from_wallet
from paystar_async.outcomes import Succeeded, Unknown
from tests.cli.demo.helpers import WALLET_TRANSFER, make_client, make_sandbox


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "QUIET_WINDOW_SECONDS", 0.05)
    monkeypatch.setattr(transfers, "CHECK_INTERVAL_SECONDS", 0.01)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("kind", ["reset_after", "reset_before", "funds"])
async def test_pay_from_wallet_despite_faults_pays_once(kind: str) -> None:
    sandbox = make_sandbox()
    sandbox.fail("wallet.settle", kind, times=2)
    async with make_client(sandbox) as paystar:
        assert isinstance(await pay_from_wallet(paystar, WALLET_TRANSFER), Succeeded)
    assert sandbox.ledger["w"].count == 1


@pytest.mark.usefixtures("short_waits")
async def test_pay_from_wallet_always_refused_is_unknown() -> None:
    sandbox = make_sandbox()
    sandbox.fail("wallet.settle", "funds")
    async with make_client(sandbox) as paystar:
        assert isinstance(await pay_from_wallet(paystar, WALLET_TRANSFER), Unknown)


@pytest.mark.usefixtures("short_waits")
async def test_pay_from_wallet_failed_lookup_is_not_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "WAIT_TIMEOUT_SECONDS", 0.2)
    sandbox = make_sandbox()
    sandbox.fail("wallet.settle", "reset_before", times=1)
    sandbox.fail("wallet.find", "html")
    async with make_client(sandbox) as paystar:
        assert isinstance(await pay_from_wallet(paystar, WALLET_TRANSFER), Unknown)
    assert not sandbox.ledger
