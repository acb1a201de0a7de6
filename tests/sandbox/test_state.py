"""The accounts and people it plays, and what it tells of itself."""

import subprocess
import sys
from typing import Any

import pytest

from paystar_async.clock import ManualClock, SystemClock
from paystar_async.errors import ConfigurationError
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.values.banks import bank_by_card
from paystar_async.values.card import is_valid_card
from paystar_async.values.iban import bank_of_iban, is_valid_iban
from paystar_async.values.national_id import is_valid_national_id
from tests.sandbox.merchant import Merchant


def test_the_same_seed_plays_the_same_accounts_and_people() -> None:
    first, second, other = Sandbox(seed=7), Sandbox(seed=7), Sandbox(seed=8)
    assert (first.application, first.gateway, first.wallet) == (second.application, second.gateway, second.wallet)
    assert first.people == second.people
    assert first.application != other.application
    assert first.people != other.people


@pytest.mark.parametrize("seed", range(20))
def test_everybody_has_numbers_whose_check_digits_fit(seed: int) -> None:
    for person in Sandbox(seed=seed).people:
        assert is_valid_national_id(person.national_id)
        assert is_valid_card(person.card)
        assert is_valid_iban(person.iban)
        bank = bank_of_iban(person.iban)
        assert bank is not None
        assert bank == bank_by_card(person.card)
        assert bank.id == person.bank_id


async def test_reset_starts_over_and_keeps_the_settings(merchant: Merchant) -> None:
    sandbox = merchant.sandbox
    before = sandbox.application
    sandbox.settings.payer_fee = 500
    sandbox.fail(kind="ip", endpoint="wallet.balance")
    await merchant.settle(merchant.transfer())
    await merchant.data("keys.refresh_application_key")
    assert sandbox.ledger
    assert sandbox.application != before
    sandbox.reset()
    assert not sandbox.ledger
    assert not sandbox.stats["requests"]
    assert sandbox.application == before
    assert sandbox.settings.payer_fee == 500
    await merchant.data("wallet.balance")


async def test_stats_count_requests_and_renewals(merchant: Merchant) -> None:
    await merchant.data("wallet.balance")
    await merchant.data("wallet.balance")
    await merchant.data("keys.refresh_inquiry_key")
    await merchant.call("keys.refresh_inquiry_key", refresh_inquiry_key="wrong")
    assert merchant.sandbox.stats == {
        "requests": {"wallet.balance": 2, "keys.refresh_inquiry_key": 2},
        "refreshes": {"application": 0, "wallet": 0, "inquiry": 1},
    }


def test_its_own_clock_can_be_put_forward_and_never_back() -> None:
    sandbox = Sandbox()
    before, ran = sandbox.clock.time(), sandbox.clock.monotonic()
    sandbox.advance(5_000)
    assert sandbox.clock.time() - before >= 5_000
    assert sandbox.clock.monotonic() - ran >= 5_000
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ConfigurationError, match="advance is a number of seconds"):
            sandbox.advance(wrong)
    with pytest.raises(ConfigurationError, match="advance"):
        sandbox.advance("10")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cannot be moved"):
        Sandbox(clock=SystemClock()).advance(1)


def test_a_fault_that_cannot_be_is_refused_with_what_can() -> None:
    sandbox = Sandbox(clock=ManualClock())
    with pytest.raises(ConfigurationError, match="reset_after"):
        sandbox.fail(kind="explosion")
    with pytest.raises(ConfigurationError, match=r"transfers\.settle"):
        sandbox.fail("transfers.setle", "ip")
    with pytest.raises(ConfigurationError, match="endpoint"):
        sandbox.fail("gateway.payment_url", FaultKind.HTML)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rate", value) for value in (1.1, -0.1, "x", None, True, float("nan"))),
        *(("times", value) for value in (-1, 1.5, "2", True)),
        *(("seconds", value) for value in (-1, "soon", None, float("inf"))),
        *(("kind", value) for value in (None, {5}, 5)),
        *(("endpoint", value) for value in ({5}, 5)),
        *(("status", value) for value in (None, 1.5, True)),
        ("executed", "no"),
        ("envelope", 1),
    ],
)
def test_a_fault_that_cannot_be_is_refused_by_the_name_of_its_field(name: str, value: Any) -> None:
    sandbox = Sandbox(clock=ManualClock())
    with pytest.raises(ConfigurationError, match=f"^a fault's {name} cannot be"):
        sandbox.fail(**{name: value})
    assert not sandbox.faults.ordered


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "2"])
def test_a_setting_is_checked(wrong: object) -> None:
    settings = Sandbox().settings
    with pytest.raises(ValueError, match="settle_seconds"):
        settings.settle_seconds = wrong  # type: ignore[assignment]
    for name, value in (("payer_fee", 1.5), ("failure_http", 500)):
        with pytest.raises(ValueError, match=name):
            setattr(settings, name, value)
    with pytest.raises(ValueError, match="gateway_signed"):
        settings.gateway_signed = "no"  # type: ignore[assignment]


def test_without_starlette_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['starlette'] = None\n"
        "import paystar_async\n"
        "from paystar_async.errors import ConfigurationError\n"
        "try:\n    import paystar_async.sandbox\n"
        "except ConfigurationError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "paystar-async[sandbox]" in done.stdout
