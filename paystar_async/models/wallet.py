"""Models of wallet payouts. Amounts are Rial."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from attrs import field

from paystar_async.models.base import Call, list_of, names_only, no_extra, request_model, response_model
from paystar_async.models.transfers import Settlement
from paystar_async.values.bank_accounts import Iban
from paystar_async.values.masking import mask_iban
from paystar_async.values.numbers import Money, TransferAmount
from paystar_async.values.text import PersonName, TrackId, WithdrawType

SINGLE_WITHDRAW_TYPE, GROUP_WITHDRAW_TYPE = 7, 8


@request_model
class WalletTransfer:
    """A transfer from the wallet to an IBAN; store ``track_id`` before sending."""

    amount: TransferAmount
    destination_number: Annotated[Iban, "the destination IBAN"]
    destination_firstname: Annotated[PersonName, "first name of the destination's owner"]
    destination_lastname: Annotated[PersonName, "last name of the destination's owner"]
    track_id: TrackId


@response_model
class CreatedTransfer:
    """A transfer as a created settlement reports it; the amount is Rial."""

    amount: Money | None = None
    destination_number: str | None = field(default=None, repr=mask_iban)
    destination_firstname: str | None = field(default=None, repr=False)
    destination_lastname: str | None = field(default=None, repr=False)
    track_id: str | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class CreatedSettlement:
    """A settlement that the service created; ``amount_with_wage`` is Rial, the fee included."""

    id: str | None = None
    amount_with_wage: Money | None = None
    data: CreatedTransfer | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


# No field decides: a call with a success status was accepted, also with an unexpected body (WIRE §5).
@response_model
class Accepted:
    """An accepted request; ``wallet.find`` returns the status of each transfer."""

    created_settlements: tuple[CreatedSettlement, ...] = ()
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class WalletBalance:
    """The balance of the wallet, in Rial."""

    total_amount: Money
    available_amount: Money
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class SettleWallet(Call[Accepted]):
    """Send transfers from the wallet."""

    transfers: Annotated[
        Sequence[WalletTransfer],
        list_of(WalletTransfer, "transfers", unique="track_id"),
        "the transfers, each track_id once",
    ]
    withdraw_type: Annotated[WithdrawType | None, "the payout type; by default chosen by the number of transfers"] = (
        None
    )

    def __attrs_post_init__(self) -> None:
        if self.withdraw_type is None:
            object.__setattr__(
                self, "withdraw_type", SINGLE_WITHDRAW_TYPE if len(self.transfers) == 1 else GROUP_WITHDRAW_TYPE
            )


@request_model
class FindWalletTransfers(Call[list[Settlement]]):
    """Look up a wallet transfer; the service keeps its track_id as ``wallet*track_id*n``."""

    track_id: TrackId


@request_model
class GetWalletBalance(Call[WalletBalance]):
    """Read the wallet's balance."""
