"""Field types of integers and amounts of money."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import InvalidValue
from paystar_async.values.numbers import (
    MAX_INT64,
    GatewayAmount,
    Money,
    Rial,
    Toman,
    TransferAmount,
    integer,
    number_repr,
    require_int,
    require_seconds,
)
from tests.values.field_types import convert, refusal

DOZEN = integer("dozen", minimum=1, maximum=12, example=6)


@pytest.mark.parametrize("number", [1, 12])
def test_integer_accepts_both_bounds(number: int) -> None:
    assert DOZEN.convert(number, "eggs") == number


@pytest.mark.parametrize("value", [0, 13, True, 1.0, "6", None, b"6", [6]])
def test_integer_invalid_value_names_field(value: object) -> None:
    with pytest.raises(InvalidValue, match=r"^eggs: expected an int, 1 to 12"):
        DOZEN.convert(value, "eggs")


def test_integer_huge_number_is_rejected() -> None:
    with pytest.raises(InvalidValue, match="an int beyond 64 bits"):
        DOZEN.convert(10**5000, "eggs")


def test_integer_int_subclass_becomes_int() -> None:
    class Eggs(int):
        pass

    assert type(require_int(Eggs(6))) is int


def test_integer_schema_contains_bounds() -> None:
    assert DOZEN.schema == {"type": "integer", "minimum": 1, "maximum": 12}


def test_number_repr_describes_texts_only() -> None:
    assert number_repr(MAX_INT64) == str(MAX_INT64)
    assert number_repr(2.5) == "2.5"
    assert number_repr(True) == "True"
    assert number_repr("6037991234567890") == "text of 16 characters"


INVALID_AMOUNTS = [True, False, 5.0, float("nan"), "5000", "5,000", b"5000", None, Decimal(5000), [5000], -1]


@given(st.integers(0, MAX_INT64 // 10))
def test_toman_is_ten_rial(amount: int) -> None:
    assert Toman(amount) == Rial(amount * 10) == amount * 10


@pytest.mark.parametrize("unit", [Rial, Toman])
@pytest.mark.parametrize("value", INVALID_AMOUNTS)
def test_rial_and_toman_invalid_amount_is_rejected(unit: Callable[[int], int], value: int) -> None:
    with pytest.raises(InvalidValue, match=r"^amount: .*Toman\(5_000\)") as error:
        unit(value)

    assert error.value.field == "amount"
    assert error.value.executed == "no"


def test_rial_and_toman_beyond_64_bits_are_rejected() -> None:
    assert Rial(MAX_INT64) == MAX_INT64
    with pytest.raises(InvalidValue):
        Rial(MAX_INT64 + 1)
    with pytest.raises(InvalidValue):
        Toman(MAX_INT64 // 10 + 1)


@pytest.mark.parametrize(("alias", "minimum"), [(TransferAmount, 1), (GatewayAmount, 5_000)])
def test_amount_bounds_are_enforced(alias: object, minimum: int) -> None:
    assert convert(alias, minimum) == minimum
    assert convert(alias, MAX_INT64) == MAX_INT64
    refusal(alias, minimum - 1)
    refusal(alias, MAX_INT64 + 1)


@pytest.mark.parametrize("alias", [TransferAmount, GatewayAmount])
@pytest.mark.parametrize("value", INVALID_AMOUNTS)
def test_parse_amount_error_hints_units(alias: object, value: object) -> None:
    assert "Rial(50_000)" in refusal(alias, value).hint


@pytest.mark.parametrize(
    ("value", "rial"),
    [
        (10_000, 10_000),
        (10_000.0, 10_000),
        ("10000", 10_000),
        ("1,234,567", 1_234_567),
        ("۱,۲۳۴", 1_234),
        ("-5,000", -5_000),
        (-5_000, -5_000),
        (str(MAX_INT64), MAX_INT64),
        ("10.0", 10),
        ("50000.00", 50_000),
        ("50,000.00", 50_000),
        ("50000.000", 50_000),
        ("0.000", 0),
        (" 50000 ", 50_000),
        ("\u00a050\u202f000\u200f", 50_000),
        ("۵۰٬۰۰۰٫۰۰", 50_000),
        ("٥٠٬٠٠٠", 50_000),
        ("50\u060c000", 50_000),
        ("9,007,199,254,740,993.0", 9_007_199_254_740_993),
    ],
)
def test_parse_amount_known_forms_are_parsed(value: object, rial: int) -> None:
    assert convert(Money, value) == rial
    assert type(convert(Money, value)) is int


@pytest.mark.parametrize(
    "value",
    [
        *[
            True,
            10_000.5,
            2.0**53,
            float("inf"),
            float("nan"),
            "",
            "1,23",
            "1e3",
            "0x10",
            None,
            MAX_INT64 + 1,
            "9" * 19,
        ],
        *["10.5", "10.05", "10.", ".0", "50.000", "1,000 000", "1 2", "5 0000", "1.000.000", "1,000,00.0", "50.0.0"],
        *["+5", " ", "10.0e0", "1٬2", f"{MAX_INT64 + 1}.0", "9" * 5000],
    ],
)
def test_parse_amount_inexact_is_rejected(value: object) -> None:
    refusal(Money, value)


class MisleadingInt(int):
    """An int whose conversion and text are those of another number."""

    def __int__(self) -> int:
        return 999

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_rial_int_subclass_keeps_its_own_value() -> None:
    amount = Rial(MisleadingInt(50_000))

    assert amount == 50_000
    assert type(amount) is int


@pytest.mark.parametrize("amount", [MisleadingInt(-1), -(10**5000)], ids=["subclass", "huge"])
def test_rial_value_without_repr_is_described(amount: int) -> None:
    with pytest.raises(InvalidValue, match="amount: expected whole Rial"):
        Rial(amount)


@pytest.mark.parametrize("value", [MisleadingInt(-1), -(10**5000)], ids=["subclass", "huge"])
def test_require_seconds_value_without_repr_is_described(value: int) -> None:
    with pytest.raises(InvalidValue, match="timeout: expected a number of seconds above 0, got a"):
        require_seconds("timeout", value)
