"""Wallet models: the default payout type depends on the number of transfers."""

from typing import Any

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.models.wallet import Accepted, SettleWallet, WalletTransfer
from tests.describe.endpoints import example_values


def wallet_transfer(**changes: Any) -> WalletTransfer:
    values: dict[str, Any] = example_values(WalletTransfer) | changes
    return WalletTransfer(**values)


def settle(count: int, withdraw_type: int | None = None) -> SettleWallet:
    return SettleWallet(
        transfers=[wallet_transfer(track_id=f"t-{index}") for index in range(count)], withdraw_type=withdraw_type
    )


@pytest.mark.parametrize(("count", "expected"), [(1, 7), (2, 8), (20, 8)])
def test_settle_wallet_default_withdraw_type_by_count(count: int, expected: int) -> None:
    assert settle(count).withdraw_type == expected


@pytest.mark.parametrize(("count", "withdraw_type"), [(1, 8), (2, 7)])
def test_settle_wallet_explicit_withdraw_type_is_kept(count: int, withdraw_type: int) -> None:
    assert settle(count, withdraw_type).withdraw_type == withdraw_type


@pytest.mark.parametrize("withdraw_type", [0, 6, 9, 7.0, "7", True])
def test_settle_wallet_unknown_withdraw_type_is_rejected(withdraw_type: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        SettleWallet(transfers=[wallet_transfer()], withdraw_type=withdraw_type)  # type: ignore[arg-type]
    assert caught.value.field == "withdraw_type"


def test_settle_wallet_default_equals_explicit_type() -> None:
    assert settle(1) == settle(1, 7)
    assert settle(2) != settle(2, 7)


def test_wallet_transfer_account_number_is_rejected() -> None:
    with pytest.raises(InvalidValue) as caught:
        wallet_transfer(destination_number="0111234567890")
    assert caught.value.field == "destination_number"


def test_accepted_without_fields_is_valid() -> None:
    assert Accepted() == Accepted(extra={})
