"""The state of a sandbox: accounts, reset, statistics and clock."""

import subprocess
import sys

import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.runtime.clock import SystemClock
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.settings import MAX_SECONDS
from tests.sandbox.raw_client import RawClient


def test_sandbox_same_seed_has_same_accounts_and_people() -> None:
    first, second, other = Sandbox(seed=7), Sandbox(seed=7), Sandbox(seed=8)
    assert (first.application, first.gateway, first.wallet) == (second.application, second.gateway, second.wallet)
    assert first.people == second.people
    assert first.application != other.application
    assert first.people != other.people


async def test_reset_restores_initial_state_and_keeps_settings(raw_client: RawClient) -> None:
    sandbox = raw_client.sandbox
    before = sandbox.application
    sandbox.settings.payer_fee = 500
    sandbox.fail(kind="ip", endpoint="wallet.balance")
    await raw_client.settle(raw_client.transfer())
    await raw_client.data("keys.refresh_application_key")
    assert sandbox.ledger
    assert sandbox.application != before
    sandbox.reset()
    assert not sandbox.ledger
    assert not sandbox.stats["requests"]
    assert sandbox.application == before
    assert sandbox.settings.payer_fee == 500
    await raw_client.data("wallet.balance")


async def test_stats_counts_requests_and_refreshes(raw_client: RawClient) -> None:
    await raw_client.data("wallet.balance")
    await raw_client.data("wallet.balance")
    await raw_client.data("keys.refresh_inquiry_key")
    await raw_client.call("keys.refresh_inquiry_key", refresh_inquiry_key="wrong")
    assert raw_client.sandbox.stats == {
        "requests": {"wallet.balance": 2, "keys.refresh_inquiry_key": 2},
        "refreshes": {"application": 0, "wallet": 0, "inquiry": 1},
    }


def test_advance_moves_clock_forward_only() -> None:
    sandbox = Sandbox()
    time_before, monotonic_before = sandbox.clock.time(), sandbox.clock.monotonic()
    sandbox.advance(5_000)
    assert sandbox.clock.time() - time_before >= 5_000
    assert sandbox.clock.monotonic() - monotonic_before >= 5_000
    for seconds in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="advance is a number of seconds"):
            sandbox.advance(seconds)
    with pytest.raises(ConfigurationError, match="advance"):
        sandbox.advance("10")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be moved"):
        Sandbox(clock=SystemClock()).advance(1)


def test_sandbox_import_without_starlette_names_extra() -> None:
    program = (
        "import sys; sys.modules['starlette'] = None\n"
        "import paystar_async\n"
        "from paystar_async.errors import ConfigurationError\n"
        "try:\n    import paystar_async.sandbox\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "paystar-async[sandbox]" in done.stdout


async def test_advance_past_last_year_raises(raw_client: RawClient) -> None:
    sandbox = Sandbox()
    for _ in range(5):
        sandbox.advance(MAX_SECONDS)
    with pytest.raises(ConfigurationError, match="year 2200"):
        sandbox.advance(MAX_SECONDS)
    assert sandbox.clock.time() < 7_258_118_400
