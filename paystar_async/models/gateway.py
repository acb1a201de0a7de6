"""Models of the payment gateway: create, payment page, verify, inquiry. Amounts are Rial."""

from collections.abc import Mapping, Sequence
from typing import Annotated, cast

from attrs import field

from paystar_async.models.base import (
    DECIDES,
    NOT_SENT,
    Call,
    OpenEnum,
    list_of,
    names_only,
    no_extra,
    request_model,
    response_model,
)
from paystar_async.models.json_object import check_names, json_object
from paystar_async.values.bank_accounts import CardNumber, MaskedCard
from paystar_async.values.identity import Mobile, NationalId
from paystar_async.values.masking import mask_card
from paystar_async.values.numbers import GatewayAmount, Money, TransferAmount
from paystar_async.values.text import (
    CallbackMethod,
    CallbackUrl,
    Count,
    Hashid,
    Note,
    OrderId,
    PersonName,
    RefNum,
    Token,
    TrackingCode,
)


class GatewayStatus(OpenEnum):
    """The status of a gateway transaction; a value unknown to this version is kept unchanged."""

    INIT = "INIT"
    SUCCEED = "SUCCEED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REVERSED = "REVERSED"
    UNVERIFIED = "UNVERIFIED"
    VERIFY_PENDING = "VERIFY_PENDING"


@request_model
class Allotment:
    """The part of a payment that one receiver gets: set ``share`` or ``amount``."""

    id: Annotated[Count, "the part's number"]
    sheba_id: Annotated[Hashid, "the receiver's registered IBAN, by its Paystar id"]
    share: Annotated[Count | None, "the part as a share of the payment"] = None
    amount: Annotated[TransferAmount | None, "the part in Rial"] = None


@response_model
class Created:
    """A created payment that waits for its payer."""

    token: Token = field(repr=False)
    ref_num: RefNum
    order_id: str | None = field(default=None, metadata=DECIDES)
    payment_amount: Money | None = field(default=None, metadata=DECIDES)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class Verified:
    """A verified payment; ``price`` is Rial and must equal the requested amount."""

    price: Money
    ref_num: str | None = field(default=None, metadata=DECIDES)
    card_number: str | None = field(default=None, repr=mask_card)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class GatewayTransaction:
    """The state of a gateway transaction."""

    status: GatewayStatus
    ref_num: str | None = field(default=None, metadata=DECIDES)
    order_id: str | None = field(default=None, metadata=DECIDES)
    payment_date: str | None = None
    payment_amount: Money | None = field(default=None, metadata=DECIDES)
    ref_id: str | None = None
    tracking_code: str | None = None
    card_number: str | None = field(default=None, repr=mask_card)
    hashed_card_number: str | None = field(default=None, repr=False)
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class CreatePayment(Call[Created]):
    """Create a payment; its token opens the payment page once."""

    amount: GatewayAmount
    order_id: OrderId
    callback: Annotated[CallbackUrl, "the URL the payer returns to, on the registered domain"]
    name: Annotated[PersonName | None, "the payer's name"] = None
    phone: Annotated[Mobile | None, "the payer's mobile number"] = None
    mail: Annotated[Note | None, "the payer's mail address"] = None
    description: Annotated[Note | None, "the purpose of the payment"] = None
    allotment: Annotated[
        Sequence[Allotment] | None, list_of(Allotment, "allotment"), "the parts of the payment by receiver"
    ] = None
    callback_method: Annotated[CallbackMethod | None, "the HTTP method of the callback"] = None
    wallet_hashid: Annotated[Hashid | None, "the wallet the payment goes to"] = None
    national_code: Annotated[NationalId | None, "only this person may pay"] = None
    card_number: Annotated[CardNumber | None, "only this card may pay"] = None
    referer_id: Annotated[Hashid | None, "who referred the payer"] = None
    extra: Annotated[Mapping[str, object], json_object("further fields", "extra"), "further fields, sent unchanged"] = (
        field(default=cast("Mapping[str, object]", {}), validator=check_names)
    )


@request_model
class PaymentPage(Call[str]):
    """Return the URL of the payment page for the payer's browser; no request is sent."""

    token: Annotated[Token, "the token that create returned; valid once"]


@request_model
class VerifyPayment(Call[Verified]):
    """Verify a payment within ten minutes after the payer paid; without it the money returns to the payer."""

    ref_num: RefNum
    amount: Annotated[GatewayAmount, "the amount given to create"]
    card_number: Annotated[MaskedCard, "the payer's card"] = field(metadata=NOT_SENT)
    tracking_code: Annotated[TrackingCode, "the receipt number"] = field(metadata=NOT_SENT)


@request_model
class InquirePayment(Call[GatewayTransaction]):
    """Look up the state of a payment; may be repeated. Signed if the amount is given."""

    ref_num: RefNum
    amount: Annotated[GatewayAmount | None, "the amount given to create"] = None
    card_number: Annotated[MaskedCard | None, "the payer's card"] = field(default=None, metadata=NOT_SENT)
    tracking_code: Annotated[TrackingCode | None, "the receipt number"] = field(default=None, metadata=NOT_SENT)
