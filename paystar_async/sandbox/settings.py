"""What of the sandbox's behaviour can be set, at any moment."""

from typing import Any

from attrs import Attribute, define, field

MAX_SECONDS = 1_000_000_000
"""Thirty years: far beyond that a clock and its dates break."""
MAX_RIAL = 10**15
"""A thousand times what a bank transfer may be; sums of such amounts stay whole in every JSON reader."""


def is_number(value: object) -> bool:
    """Return whether ``value`` is a number from 0 to ``MAX_SECONDS``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS


def is_rial(value: object) -> bool:
    """Return whether ``value`` is an amount from 0 to ``MAX_RIAL``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_RIAL


def _flag(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} is true or false")


def _http(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if type(value) is not int or value not in (400, 200):
        raise ValueError(f"{attribute.name} is 400 or 200")


def _seconds(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not is_number(value):
        raise ValueError(f"{attribute.name} is a number of seconds, 0 to {MAX_SECONDS}")


def _rial(_: object, attribute: "Attribute[Any]", value: object) -> None:
    if not is_rial(value):
        raise ValueError(f"{attribute.name} is whole Rial, 0 to {MAX_RIAL}")


@define(kw_only=True)
class Settings:
    """How the sandbox behaves; every attribute may be set while it runs.

    Attributes:
        settle_seconds: how long a transfer stays pending; 0 settles it at once.
        verify_seconds: how long a payment may be verified before it goes back to the payer.
        payer_fee: Rial the payer pays on top; shows up in ``payment_amount``.
        price_fee: Rial that verify's ``price`` names on top of the amount; whether it may is not known.
        deposit_opening: Rial in a deposit account when it is first used.
        wallet_opening: Rial in the wallet when it is first used.
        gateway_ceiling: the most a payment may ask for, in Rial.
        gateway_signed: False plays a gateway set up without a sign key.
        failure_http: the HTTP status a refusal comes with, 400 or 200; both are met.
        rotate_refresh_tokens: whether a renewal answers with a new refresh token and ends the old one.
        renewal_ends_old_key: whether a renewal ends the old key at once; otherwise it lives out its time.
        hide_token_codes: whether open banking, too, refuses a key by its message alone, without code 4 or 5.
        repeats_execute: whether a repeated track_id pays again: for proving that a client never relies on it not to.
    """

    settle_seconds: float = field(default=2.0, validator=_seconds)
    verify_seconds: float = field(default=600.0, validator=_seconds)
    payer_fee: int = field(default=0, validator=_rial)
    price_fee: int = field(default=0, validator=_rial)
    deposit_opening: int = field(default=1_000_000_000_000, validator=_rial)
    wallet_opening: int = field(default=1_000_000_000_000, validator=_rial)
    gateway_ceiling: int = field(default=1_000_000_000_000, validator=_rial)
    gateway_signed: bool = field(default=True, validator=_flag)
    failure_http: int = field(default=400, validator=_http)
    rotate_refresh_tokens: bool = field(default=False, validator=_flag)
    renewal_ends_old_key: bool = field(default=False, validator=_flag)
    hide_token_codes: bool = field(default=False, validator=_flag)
    repeats_execute: bool = field(default=False, validator=_flag)
