"""The bank: identity matches, and the accounts behind numbers."""

import pytest

from paystar_async.values.bank_accounts import is_valid_iban
from tests.sandbox.raw_client import RawClient


async def test_identity_match_accepts_only_own_numbers(raw_client: RawClient) -> None:
    person, other = raw_client.sandbox.people[:2]
    birth_date = {"birth_date": person.birth_date}
    for endpoint_id, matching, other_fields in (
        ("identity.match_mobile", {"mobile_number": person.mobile}, {"mobile_number": other.mobile}),
        ("identity.match_card", {"card_number": person.card, **birth_date}, {"card_number": other.card, **birth_date}),
        ("identity.match_iban", {"iban": person.iban, **birth_date}, {"iban": other.iban, **birth_date}),
    ):
        assert await raw_client.data(endpoint_id, national_id=person.national_id, **matching) == {"is_matched": True}
        assert await raw_client.data(endpoint_id, national_id=person.national_id, **other_fields) == {
            "is_matched": False
        }
        assert await raw_client.data(endpoint_id, national_id=other.national_id, **matching) == {"is_matched": False}
    fields = {"card_number": person.card, "birth_date": other.birth_date}
    assert await raw_client.data("identity.match_card", national_id=person.national_id, **fields) == {
        "is_matched": False
    }


async def test_inquiry_account_to_iban_has_valid_check_digits(raw_client: RawClient) -> None:
    data = await raw_client.data("inquiry.account_to_iban", account_number="0111234567890", bank_id="012")
    assert is_valid_iban(data["iban"])
    assert data["iban"][4:] == "0120000000111234567890"
    assert (data["bank_id"], data["bank_name"], data["deposit"]) == ("012", "بانک ملت", "0111234567890")
    assert data["owners"][0]["first_name"]


async def test_inquiry_finds_person_by_card_account_and_iban(raw_client: RawClient) -> None:
    for person in raw_client.sandbox.people:
        by_card = await raw_client.data("inquiry.card_to_iban", card=person.card)
        by_iban = await raw_client.data("inquiry.iban", iban=person.iban)
        by_account = await raw_client.data(
            "inquiry.account_to_iban", account_number=person.account, bank_id=person.bank_id
        )
        assert by_card == by_iban == by_account
        assert by_iban["owners"] == [{"first_name": person.first_name, "last_name": person.last_name}]
        assert by_iban["iban"] == person.iban


async def test_inquiry_card_to_iban_unknown_card_is_at_its_bank(raw_client: RawClient) -> None:
    data = await raw_client.data("inquiry.card_to_iban", card="6037990000000006")
    assert data["bank_id"] == "017"
    assert is_valid_iban(data["iban"])


@pytest.mark.parametrize(
    ("endpoint_id", "fields", "field"),
    [
        ("inquiry.account_to_iban", {"account_number": "0111234567890", "bank_id": "999"}, "bank_id"),
        ("inquiry.card_to_iban", {"card": "0000000000000000"}, "card"),
        ("inquiry.iban", {"iban": "IR000000000000000000000000"}, "iban"),
    ],
)
async def test_inquiry_unknown_bank_is_invalid_input(
    raw_client: RawClient, endpoint_id: str, fields: dict[str, str], field: str
) -> None:
    content = await raw_client.call(endpoint_id, **fields)
    assert (content["status"], list(content["data"])) == (10, [field])
