"""Who owns what, and which account is behind a number."""

import pytest

from paystar_async.values.iban import is_valid_iban
from tests.sandbox.merchant import Merchant


async def test_people_match_their_own_numbers_alone(merchant: Merchant) -> None:
    somebody, other = merchant.sandbox.people[:2]
    born = {"birth_date": somebody.birth_date}
    for row_id, right, wrong in (
        ("identity.match_mobile", {"mobile_number": somebody.mobile}, {"mobile_number": other.mobile}),
        ("identity.match_card", {"card_number": somebody.card, **born}, {"card_number": other.card, **born}),
        ("identity.match_iban", {"iban": somebody.iban, **born}, {"iban": other.iban, **born}),
    ):
        assert await merchant.data(row_id, national_id=somebody.national_id, **right) == {"is_matched": True}
        assert await merchant.data(row_id, national_id=somebody.national_id, **wrong) == {"is_matched": False}
        assert await merchant.data(row_id, national_id=other.national_id, **right) == {"is_matched": False}
    late = {"card_number": somebody.card, "birth_date": other.birth_date}
    assert await merchant.data("identity.match_card", national_id=somebody.national_id, **late) == {"is_matched": False}


async def test_an_account_has_an_iban_whose_check_digits_fit(merchant: Merchant) -> None:
    data = await merchant.data("inquiry.account_to_iban", account_number="0111234567890", bank_id="012")
    assert is_valid_iban(data["iban"])
    assert data["iban"][4:] == "0120000000111234567890"
    assert (data["bank_id"], data["bank_name"], data["deposit"]) == ("012", "بانک ملت", "0111234567890")
    assert data["owners"][0]["first_name"]


async def test_people_are_found_by_card_account_and_iban(merchant: Merchant) -> None:
    for person in merchant.sandbox.people:
        by_card = await merchant.data("inquiry.card_to_iban", card=person.card)
        by_iban = await merchant.data("inquiry.iban", iban=person.iban)
        by_account = await merchant.data(
            "inquiry.account_to_iban", account_number=person.account, bank_id=person.bank_id
        )
        assert by_card == by_iban == by_account
        assert by_iban["owners"] == [{"first_name": person.first_name, "last_name": person.last_name}]
        assert by_iban["iban"] == person.iban


async def test_a_strangers_card_has_an_account_at_its_bank(merchant: Merchant) -> None:
    data = await merchant.data("inquiry.card_to_iban", card="6037990000000006")
    assert data["bank_id"] == "017"
    assert is_valid_iban(data["iban"])


@pytest.mark.parametrize(
    ("row_id", "fields", "field"),
    [
        ("inquiry.account_to_iban", {"account_number": "0111234567890", "bank_id": "999"}, "bank_id"),
        ("inquiry.card_to_iban", {"card": "0000000000000000"}, "card"),
        ("inquiry.iban", {"iban": "IR000000000000000000000000"}, "iban"),
    ],
)
async def test_a_bank_that_does_not_exist_is_invalid_input(
    merchant: Merchant, row_id: str, fields: dict[str, str], field: str
) -> None:
    content = await merchant.call(row_id, **fields)
    assert (content["status"], list(content["data"])) == (10, [field])
