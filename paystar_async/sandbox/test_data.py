"""An answer for a row the bank knows nothing of, read off its type: a new endpoint answers from its first day."""

import random
import zlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

import attrs
from attrs import frozen

from paystar_async.models.base import fields_of
from paystar_async.values.banks import BANKS
from paystar_async.values.card import is_valid_card
from paystar_async.values.national_id import is_valid_national_id
from paystar_async.values.secret import Secret

_FIRST = ("علی", "زهرا", "رضا", "مریم", "حسین", "نرگس", "امیر", "سارا")
_LAST = ("مرادی", "کریمی", "رضایی", "احمدی", "موسوی", "جعفری", "صادقی", "نوری")


@frozen(kw_only=True)
class Person:
    """Somebody with a mobile number, a bank card and an account."""

    first_name: str
    last_name: str
    national_id: str
    birth_date: str
    mobile: str
    card: str
    account: str
    bank_id: str
    iban: str


def make_iban(bank_id: str, account: str) -> str:
    """The IBAN of an account, check digits computed (ISO 7064, mod 97-10)."""
    digits = bank_id + "".join(filter(str.isdecimal, account))[-19:].zfill(19)
    return f"IR{98 - int(f'{digits}182700') % 97:02}{digits}"


def account_of_iban(iban: str) -> str:
    """The account number an IBAN of the sandbox was made from, without leading zeros."""
    return iban[7:].lstrip("0") or "0"


def owner_of(account: str, people: Sequence[Person]) -> tuple[str, str]:
    """Who owns an IBAN: the person it was given to, somebody made up otherwise – the same one every time."""
    for person in people:
        if person.iban == account:
            return person.first_name, person.last_name
    pick = zlib.crc32(account.encode())
    return _FIRST[pick % len(_FIRST)], _LAST[pick // len(_FIRST) % len(_LAST)]


def make_people(seed: int, count: int = 6) -> tuple[Person, ...]:
    """The people of a sandbox; the same for the same seed."""
    dice = random.Random(f"{seed}:people")
    return tuple(_person(dice, index) for index in range(count))


def _person(dice: random.Random, index: int) -> Person:
    bank = dice.choice([bank for bank in BANKS if bank.card_bins])
    account = _digits(dice, 12, first="123456789")
    return Person(
        first_name=_FIRST[index % len(_FIRST)],
        last_name=_LAST[dice.randrange(len(_LAST))],
        national_id=next(
            full for stem in iter(lambda: _digits(dice, 9), "") for full in _endings(stem) if is_valid_national_id(full)
        ),
        birth_date=f"{dice.randint(1960, 2004)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}",
        mobile="0912" + _digits(dice, 7),
        card=next(full for full in _endings(bank.card_bins[0] + _digits(dice, 9)) if is_valid_card(full)),
        account=account,
        bank_id=bank.id,
        iban=make_iban(bank.id, account),
    )


def _digits(dice: random.Random, count: int, first: str = "0123456789") -> str:
    return dice.choice(first) + "".join(dice.choices("0123456789", k=count - 1))


def _endings(stem: str) -> list[str]:
    """The stem with each digit behind it: one of them is the check digit."""
    return [f"{stem}{digit}" for digit in range(10)]


_PLAIN: Mapping[Any, object] = {bool: True, int: 10_000, float: 1.0, str: "sample", Secret: "sample", object: "sample"}


def sample(annotation: Any) -> object:
    """JSON that reads as the annotated type."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if get_origin(annotation) is Annotated:
        return sample(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation)).value
    if isinstance(annotation, type) and attrs.has(annotation):
        return {one.name: sample(one.annotation) for one in fields_of(annotation) if one.name != "extra"}
    if get_origin(annotation) in (list, tuple):
        return [sample(get_args(annotation)[0])]
    # A union: what it holds when it holds something.
    return next((sample(part) for part in get_args(annotation) if part is not type(None)), None)
