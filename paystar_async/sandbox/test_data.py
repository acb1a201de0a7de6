"""Test data: the sandbox's people, their accounts, and sample values for any response type."""

import random
import zlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

import attrs
from attrs import frozen

from paystar_async.models.base import fields_of
from paystar_async.values.bank_accounts import is_valid_card
from paystar_async.values.banks import BANKS
from paystar_async.values.identity import is_valid_national_id
from paystar_async.values.secret import Secret

_FIRST_NAMES = ("علی", "زهرا", "رضا", "مریم", "حسین", "نرگس", "امیر", "سارا")
_LAST_NAMES = ("مرادی", "کریمی", "رضایی", "احمدی", "موسوی", "جعفری", "صادقی", "نوری")


@frozen(kw_only=True)
class Person:
    """A person with a mobile number, a bank card and an account."""

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
    """Return the IBAN of an account, with its check digits (ISO 7064, mod 97-10)."""
    digits = bank_id + "".join(filter(str.isdecimal, account))[-19:].zfill(19)
    return f"IR{98 - int(f'{digits}182700') % 97:02}{digits}"


def account_from_iban(iban: str) -> str:
    """Return the account number in an IBAN of the sandbox, without leading zeros."""
    return iban[7:].lstrip("0") or "0"


def find_owner(iban: str, people: Sequence[Person]) -> tuple[str, str]:
    """Return first and last name of an IBAN's owner: the person it belongs to, or names derived from the IBAN."""
    for person in people:
        if person.iban == iban:
            return person.first_name, person.last_name
    number = zlib.crc32(iban.encode())
    return _FIRST_NAMES[number % len(_FIRST_NAMES)], _LAST_NAMES[number // len(_FIRST_NAMES) % len(_LAST_NAMES)]


def make_people(seed: int, count: int = 6) -> tuple[Person, ...]:
    """Return the people of a sandbox; the same people for the same seed."""
    rng = random.Random(f"{seed}:people")
    return tuple(_make_person(rng, index) for index in range(count))


def _make_person(rng: random.Random, index: int) -> Person:
    bank = rng.choice([bank for bank in BANKS if bank.card_bins])
    account = random_digits(rng, 12, first="123456789")
    return Person(
        first_name=_FIRST_NAMES[index % len(_FIRST_NAMES)],
        last_name=_LAST_NAMES[rng.randrange(len(_LAST_NAMES))],
        national_id=_random_national_id(rng),
        birth_date=f"{rng.randint(1960, 2004)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        mobile="0912" + random_digits(rng, 7),
        card=next(filter(is_valid_card, _with_each_digit(bank.card_bins[0] + random_digits(rng, 9)))),
        account=account,
        bank_id=bank.id,
        iban=make_iban(bank.id, account),
    )


def _random_national_id(rng: random.Random) -> str:
    while True:
        for national_id in _with_each_digit(random_digits(rng, 9)):
            if is_valid_national_id(national_id):
                return national_id


def random_digits(rng: random.Random, count: int, *, first: str = "0123456789") -> str:
    """Return ``count`` random digits, the first of them out of ``first``."""
    return rng.choice(first) + "".join(rng.choices("0123456789", k=count - 1))


def _with_each_digit(stem: str) -> list[str]:
    """Return the stem followed by each digit, one of which is the check digit."""
    return [f"{stem}{digit}" for digit in range(10)]


_SAMPLES: Mapping[Any, object] = {
    bool: True,
    int: 10_000,
    float: 1.0,
    str: "sample",
    Secret: "sample",
    object: "sample",
}


def sample_value(annotation: Any) -> object:
    """Return a JSON value that parses as the annotated type, so that a new endpoint responds without further code."""
    if annotation in _SAMPLES:
        return _SAMPLES[annotation]
    if get_origin(annotation) is Annotated:
        return sample_value(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation)).value
    if isinstance(annotation, type) and attrs.has(annotation):
        return {
            model_field.name: sample_value(model_field.annotation)
            for model_field in fields_of(annotation)
            if model_field.name != "extra"
        }
    if get_origin(annotation) in (list, tuple):
        return [sample_value(get_args(annotation)[0])]
    # A union: a value of its first type that is not None.
    return next((sample_value(part) for part in get_args(annotation) if part is not type(None)), None)
