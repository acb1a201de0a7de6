"""The repr of every model masks personal values."""

from typing import Any

import attrs
import pytest

from paystar_async.models.base import fields_of, response_type
from paystar_async.models.gateway import Created, CreatePayment, GatewayStatus, GatewayTransaction, Verified
from paystar_async.models.identity import MatchCard, MatchIban, MatchMobile
from paystar_async.models.inquiry import AccountToIban, CardToIban, IbanInfo, InquireIban, Owner
from paystar_async.models.keys import NewApiKey, NewInquiryKey
from paystar_async.models.transfers import Balance, GetBalance, Settlement, Transaction, Transfer, TransferStatus
from paystar_async.models.wallet import WalletTransfer
from paystar_async.table import TABLE
from paystar_async.values.secret import Secret

CARD, IBAN, ACCOUNT = "6037990000000006", "IR110170000000123456789001", "0111234567890"
NATIONAL_ID, MOBILE = "0012345679", "09121234567"
PERSONAL = (CARD, IBAN, IBAN[2:], ACCOUNT, NATIONAL_ID, MOBILE, MOBILE[1:], "Firstname", "Lastname")
TOKEN, NAMES = "canary-token", {"destination_firstname": "Firstname", "destination_lastname": "Lastname"}

MASKED_REPRS: list[tuple[Any, str]] = [
    (
        MatchMobile(national_id=NATIONAL_ID, mobile_number=MOBILE),
        "MatchMobile(national_id=********79, mobile_number=0912***4567)",
    ),
    (
        MatchCard(national_id=NATIONAL_ID, card_number=CARD, birth_date="1990-01-01"),
        "MatchCard(national_id=********79, card_number=603799******0006, birth_date=",
    ),
    (
        MatchIban(national_id=NATIONAL_ID, iban=IBAN, birth_date="1990-01-01"),
        "MatchIban(national_id=********79, iban=IR********************9001, birth_date=",
    ),
    (AccountToIban(account_number=ACCOUNT, bank_id="017"), "AccountToIban(account_number=*********7890, bank_id="),
    (CardToIban(card=CARD), "CardToIban(card=603799******0006)"),
    (InquireIban(iban=IBAN), "InquireIban(iban=IR********************9001)"),
    (GetBalance(account_number=ACCOUNT), "GetBalance(account_number=*********7890)"),
    (
        Transfer(amount=5, deposit=ACCOUNT, destination_account=IBAN, track_id="t-1", **NAMES),
        "Transfer(amount=5, deposit=*********7890, destination_account=IR********************9001, "
        "destination_firstname=text of 9 characters, destination_lastname=text of 8 characters, track_id='t-1', "
        "pay_id=None)",
    ),
    (
        WalletTransfer(amount=5, destination_number=IBAN, track_id="t-1", **NAMES),
        "WalletTransfer(amount=5, destination_number=IR********************9001, ",
    ),
    (
        CreatePayment(
            amount=5_000,
            order_id="o-1",
            callback=f"https://merchant.example/?session={TOKEN}",
            name="Firstname",
            phone=MOBILE,
            mail="Firstname@mail.example",
            description="Lastname",
            national_code=NATIONAL_ID,
            card_number=CARD,
        ),
        "CreatePayment(amount=5000, order_id='o-1', callback='https://merchant.example/?…', name=text of 9 characters, "
        "phone=0912***4567, mail=text of 22 characters, description=text of 8 characters, allotment=None",
    ),
    (
        IbanInfo(iban=IBAN, deposit=ACCOUNT, owners=(Owner(first_name="Firstname", last_name="Lastname"),)),
        "IbanInfo(iban=IR********************9001, bank_id=None, bank_name=None, deposit=*********7890, "
        "deposit_status=None, owners=(Owner(first_name=text of 9 characters, last_name=text of 8 characters, "
        "extra={}),), extra={})",
    ),
    (
        Balance(balance=5, account_number=ACCOUNT),
        "Balance(balance=5, available_balance=None, account_number=*********7890",
    ),
    (Verified(price=5, card_number=CARD), "Verified(price=5, ref_num=None, card_number=603799******0006, extra={})"),
    (
        GatewayTransaction(status=GatewayStatus.INIT, card_number=CARD, hashed_card_number=TOKEN),
        "GatewayTransaction(status=<GatewayStatus.INIT: 'INIT'>, ",
    ),
    (Created(token=TOKEN, ref_num="r"), "Created(ref_num='r', order_id=None, payment_amount=None, extra={})"),
    (
        Settlement(status=TransferStatus.FAILED, message=f"to {IBAN}"),
        "Settlement(hashid=None, track_id=None, status=<TransferStatus.FAILED: 'failed'>, ref_code=None, extra={})",
    ),
    (Transaction(additional={"info": f"from {CARD}"}, credit_amount=5), "Transaction(credit_amount=5, "),
    (
        NewApiKey(api_key=Secret(TOKEN), refresh_token=Secret(TOKEN)),
        "NewApiKey(api_key=Secret(…), api_key_expire_date=None, refresh_token=Secret(…), extra={})",
    ),
    (NewInquiryKey(inquiry_key=Secret(TOKEN)), "NewInquiryKey(inquiry_key=Secret(…), "),
]


@pytest.mark.parametrize(("model", "expected_repr"), MASKED_REPRS, ids=lambda value: type(value).__name__)
def test_repr_masks_personal_values(model: object, expected_repr: str) -> None:
    text = repr(model)

    assert text.startswith(expected_repr)
    assert not [value for value in (*PERSONAL, TOKEN) if value in text]
    assert str(model) == text


# Logs need the amounts and the ids of transfers and payments.
UNMASKED_FIELDS = {
    "allotment",
    "amount",
    "bank_id",
    "birth_date",
    "callback",
    "callback_method",
    "from_date",
    "limit",
    "order_id",
    "pay_id",
    "ref_num",
    "referer_id",
    "skip",
    "to_date",
    "track_id",
    "tracking_code",
    "transfers",
    "wallet_hashid",
    "withdraw_type",
}


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_mask_hides_every_unlisted_request_field(endpoint: Any) -> None:
    personal = [CARD, IBAN, ACCOUNT, NATIONAL_ID, MOBILE, "Firstname"]
    for field in fields_of(endpoint.request):
        if field.name not in UNMASKED_FIELDS and field.field_type is not None:
            assert not [value for value in personal if value in field.field_type.mask(value)], field.name


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_response_repr_hides_extra(endpoint: Any) -> None:
    response: Any = response_type(endpoint.request)
    model = response.__args__[0] if hasattr(response, "__args__") else response
    if attrs.has(model):
        extra = attrs.fields_dict(model)["extra"]
        assert extra.repr is not True
        assert extra.hash is False
