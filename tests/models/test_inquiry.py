"""Models of bank account inquiries."""

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.models.inquiry import AccountToIban, CardToIban, IbanInfo, InquireIban, Owner


def test_iban_info_repr_masks_numbers_and_names() -> None:
    owner = Owner(first_name="Sara", last_name="Ahmadi", extra={"father_name": "Ali"})
    info = IbanInfo(iban="IR820540102680020817909002", deposit="0101234567890", owners=(owner,))
    shown = repr(info)
    assert "IR********************9002" in shown
    assert not [value for value in ("Sara", "Ahmadi", "Ali", "0101234567890") if value in shown]
    assert "father_name" in shown


def test_iban_info_without_fields_is_empty() -> None:
    assert IbanInfo() == IbanInfo(iban=None, bank_id=None, deposit=None, owners=())


def test_requests_normalize_numbers() -> None:
    assert InquireIban(iban="ir82 0540 1026 8002 0817 9090 02").iban == "IR820540102680020817909002"
    assert CardToIban(card="6037-9900-0000-0006").card == "6037990000000006"
    assert AccountToIban(account_number="۰۱۰۱۲۳", bank_id="054").account_number == "010123"


@pytest.mark.parametrize("bank_id", ["", "54", "IR054"])
def test_account_to_iban_invalid_bank_id_is_named(bank_id: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        AccountToIban(account_number="0101234567890", bank_id=bank_id)
    assert raised.value.field == "bank_id"
