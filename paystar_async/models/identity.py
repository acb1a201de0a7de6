"""Models of identity checks: whether a person owns a mobile number, card or IBAN."""

from collections.abc import Mapping
from typing import Annotated

from attrs import field

from paystar_async.models.base import Call, names_only, no_extra, request_model, response_model
from paystar_async.values.bank_accounts import CardNumber, Iban
from paystar_async.values.dates import Day
from paystar_async.values.identity import Mobile, NationalId


@response_model
class Match:
    """The result of an identity check: whether both values belong to the same person."""

    is_matched: bool
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class MatchMobile(Call[Match]):
    """Check whether a mobile number belongs to a national id (Shahkar)."""

    national_id: NationalId
    mobile_number: Mobile


@request_model
class MatchCard(Call[Match]):
    """Check whether a bank card belongs to a national id."""

    national_id: NationalId
    card_number: CardNumber
    birth_date: Annotated[Day, "the person's birth date"]


@request_model
class MatchIban(Call[Match]):
    """Check whether an IBAN belongs to a national id."""

    national_id: NationalId
    iban: Iban
    birth_date: Annotated[Day, "the person's birth date"]
