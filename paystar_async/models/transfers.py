"""Models of bank transfers, balances and statements."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

from attrs import field

from paystar_async.models.base import (
    DECIDES,
    Call,
    OpenEnum,
    list_of,
    names_only,
    no_extra,
    request_model,
    response_model,
)
from paystar_async.values.bank_accounts import AccountNumber, Destination
from paystar_async.values.dates import Day
from paystar_async.values.masking import mask_account
from paystar_async.values.numbers import Money, TransferAmount
from paystar_async.values.text import Count, Limit, PayId, PersonName, TrackId


class TransferStatus(OpenEnum):
    """The status of a transfer; a value unknown to this version is kept unchanged."""

    SUCCESS = "success"
    FAILED = "failed"
    PENDING = "pending"


@request_model
class Transfer:
    """A transfer from one of the caller's deposit accounts.

    Store ``track_id`` before sending: status checks need the id, and it prevents that the transfer is paid twice.
    """

    amount: TransferAmount
    deposit: Annotated[AccountNumber, "the deposit account to debit"]
    destination_account: Annotated[Destination, "the destination of the money"]
    destination_firstname: Annotated[PersonName, "first name of the destination's owner"]
    destination_lastname: Annotated[PersonName, "last name of the destination's owner"]
    track_id: TrackId
    pay_id: Annotated[PayId | None, "payment id, if the destination is an IBAN"] = None


@response_model
class Settlement:
    """The reported state of a transfer; ``extra`` keeps the bank's further fields."""

    hashid: str | None = field(default=None, metadata=DECIDES)
    track_id: str | None = field(default=None, metadata=DECIDES)
    status: TransferStatus
    message: str | None = field(default=None, repr=False)
    ref_code: str | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


# assumed (balance-fields): no public source shows a response.
@response_model
class Balance:
    """The balance of an account, in Rial."""

    balance: Money
    available_balance: Money | None = field(default=None, metadata=DECIDES)
    account_number: str | None = field(default=None, repr=mask_account)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class Transaction:
    """A line of a statement; amounts are Rial, and the time is the bank's Jalali text."""

    credit_amount: Money | None = field(default=None, metadata=DECIDES)
    debit_amount: Money | None = field(default=None, metadata=DECIDES)
    transaction_trace: str | None = None
    transaction_date_time: str | None = None
    additional: Mapping[str, object] | None = field(default=None, repr=False, hash=False)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class Statement:
    """The lines of a statement, in the bank's order."""

    transactions: tuple[Transaction, ...] = field(default=(), metadata=DECIDES)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class Settle(Call[list[Settlement]]):
    """Send bank transfers."""

    transfers: Annotated[
        Sequence[Transfer], list_of(Transfer, "transfers", unique="track_id"), "the transfers, each track_id once"
    ]


@request_model
class FindTransfers(Call[list[Settlement]]):
    """List transfer requests, newest first."""

    deposit: Annotated[AccountNumber | None, "only transfers from this deposit account"] = None
    track_id: Annotated[TrackId | None, "only this transfer"] = None
    limit: Annotated[Limit | None, "the largest number of results"] = None
    skip: Annotated[Count | None, "the number of results to skip"] = None


@request_model
class GetBalance(Call[Balance]):
    """Read an account's balance (Export Bank accounts only)."""

    account_number: AccountNumber


@request_model
class GetStatement(Call[Statement]):
    """Read an account's statement."""

    account_number: AccountNumber
    from_date: Annotated[Day, "first day"]
    to_date: Annotated[Day | None, "last day"] = None


def new_track_id() -> str:
    """Return a new track_id: 26 letters and digits that sort by creation time.

    Store the track_id before sending: status checks after a missing response need the id, and it prevents that the
    transfer is paid twice.
    """
    return f"{int(time.time() * 1000):011x}{secrets.token_hex(8)}"[:26]
