"""Iranian IBANs (sheba)."""

import re
from typing import Annotated

from paystar_async.values.banks import Bank, bank_by_id
from paystar_async.values.digits import as_digits
from paystar_async.values.kind import Kind
from paystar_async.values.mask import mask_iban

_SHAPE = re.compile(r"IR[0-9]{24}")


def read_iban(value: object) -> str:
    """An IBAN as it is sent: ``IR`` and 24 ASCII digits; raises ValueError when it is not one."""
    text = as_digits(value).upper()
    if _SHAPE.fullmatch(text):
        return text
    raise ValueError("an Iranian IBAN is IR and 24 digits, 26 characters in all")


def iban_holds(iban: str) -> bool:
    """Whether the two check digits of an IBAN of the right shape fit the rest (ISO 7064, mod 97-10)."""
    check, account = iban[2:4], iban[4:]
    # 00, 01 and 99 leave the same remainder as 97, 98 and 02, and no bank computes them.
    return "02" <= check <= "98" and int(f"{account}1827{check}") % 97 == 1


def is_valid_iban(text: object) -> bool:
    """Whether this is an Iranian IBAN, check digits included; anything that is none is False."""
    try:
        return iban_holds(read_iban(text))
    except ValueError:
        return False


def bank_of_iban(iban: str) -> Bank | None:
    """The bank an IBAN belongs to; None when it is not an IBAN or the bank is not known."""
    try:
        return bank_by_id(read_iban(iban)[4:7])
    except ValueError:
        return None


Iban = Annotated[
    str,
    Kind(
        name="IBAN",
        shape="IR and 24 digits",
        read=read_iban,
        holds=iban_holds,
        checksum="an IBAN whose check digits fit",
        mask=mask_iban,
        schema={"type": "string", "pattern": "^IR[0-9]{24}$"},
        example="IR110170000000123456789001",
    ),
]
"""An Iranian IBAN: ``IR`` and 24 digits; spaces, lower case and Persian digits are brought to that form."""
