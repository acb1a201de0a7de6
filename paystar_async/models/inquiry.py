"""Models of bank account inquiries: IBAN, bank and owners."""

from collections.abc import Mapping
from typing import Annotated

from attrs import field

from paystar_async.models.base import Call, names_only, no_extra, request_model, response_model
from paystar_async.values.bank_accounts import AccountNumber, CardNumber, Iban
from paystar_async.values.banks import BankId
from paystar_async.values.masking import describe_value, mask_account, mask_iban


@response_model
class Owner:
    """A person who owns an account."""

    first_name: str | None = field(default=None, repr=describe_value)
    last_name: str | None = field(default=None, repr=describe_value)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


# assumed (account-to-iban-fields, card-to-iban-fields, iban-fields): no public source shows a response.
@response_model
class IbanInfo:
    """A bank account: its IBAN, bank, number, state and owners, as far as the bank reports them."""

    iban: str | None = field(default=None, repr=mask_iban)
    bank_id: str | None = None
    bank_name: str | None = None
    deposit: str | None = field(default=None, repr=mask_account)
    deposit_status: str | None = None
    owners: tuple[Owner, ...] = ()
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class AccountToIban(Call[IbanInfo]):
    """Find the IBAN of an account number."""

    account_number: AccountNumber
    bank_id: BankId


@request_model
class CardToIban(Call[IbanInfo]):
    """Find the IBAN of a bank card."""

    card: Annotated[CardNumber, "the card's number"]


@request_model
class InquireIban(Call[IbanInfo]):
    """Find the bank and the owners of an IBAN."""

    iban: Iban
