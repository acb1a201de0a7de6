"""Helpers for tests that pay out through a client of the sandbox."""

from collections.abc import Callable
from typing import Any

from paystar_async import Paystar, Policy, Transfer, WalletTransfer
from tests.payouts.files import IBAN, row

OTHER_DEPOSIT = "0100987654321"
QUICK = Policy(chunk=2, quiet_window=0.2)
Client = Callable[..., Paystar]
"""A factory of clients: the keyword arguments replace the settings of the test."""


def transfer(number: int = 1, **other: Any) -> Transfer:
    values: dict[str, Any] = row(number, pay_id=None) | {"amount": 1_000 + 10 * number} | other
    return Transfer(**values)


def transfers(count: int) -> list[Transfer]:
    return [transfer(number) for number in range(count)]


def wallet_transfer(number: int = 1) -> WalletTransfer:
    return WalletTransfer(
        amount=500,
        destination_number=IBAN,
        destination_firstname="علی",
        destination_lastname="نوری",
        track_id=f"w-{number}",
    )
