import pytest

from paystar_async.errors import InvalidValue
from paystar_async.values.integer import MOST, integer, shown_number, whole

DOZEN = integer("dozen", least=1, most=12, example=6)


@pytest.mark.parametrize("number", [1, 12])
def test_both_bounds_are_taken(number: int) -> None:
    assert DOZEN.convert(number, "eggs") == number


@pytest.mark.parametrize("value", [0, 13, True, 1.0, "6", None, b"6", [6]])
def test_all_else_is_refused_by_its_fields_name(value: object) -> None:
    with pytest.raises(InvalidValue, match=r"^eggs: expected an int, 1 to 12"):
        DOZEN.convert(value, "eggs")


def test_a_number_too_long_to_print_is_refused_like_any_other() -> None:
    with pytest.raises(InvalidValue, match="a value of type int"):
        DOZEN.convert(10**5000, "eggs")


def test_a_subclass_of_int_comes_out_as_an_int() -> None:
    class Eggs(int):
        pass

    assert type(whole(Eggs(6))) is int


def test_the_schema_says_the_bounds() -> None:
    assert DOZEN.schema == {"type": "integer", "minimum": 1, "maximum": 12}


def test_numbers_are_shown_and_texts_are_not() -> None:
    assert shown_number(MOST) == str(MOST)
    assert shown_number(2.5) == "2.5"
    assert shown_number(True) == "True"
    assert shown_number("6037991234567890") == "text of 16 characters"
