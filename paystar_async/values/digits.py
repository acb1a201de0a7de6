"""Digits as people write them, brought to the one form that is sent."""

import re

_ASCII = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "0123456789" * 2)

# Numbers copied out of Persian text bring direction marks and joiners along that nobody sees.
_BLANKS = re.compile(r"[\s\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")
_DASHES = re.compile(r"[-\u2010-\u2015\u2212]+")


def _is_plain(text: str) -> bool:
    """Whether there is nothing to fold: the usual case, told in a tenth of the time."""
    return text.isascii() and text.isalnum()


def fold(text: str) -> str:
    """The text with Persian and Arabic digits as ASCII ones, and all else as it was."""
    return text if text.isascii() else text.translate(_ASCII)


def unspaced(text: str) -> str:
    """The text folded, without white space and invisible marks."""
    return text if _is_plain(text) else _BLANKS.sub("", fold(text))


def compact(text: str) -> str:
    """The text folded, without what digits are grouped by: white space, invisible marks, dashes."""
    return text if _is_plain(text) else _DASHES.sub("", unspaced(text))


def as_text(value: object) -> str:
    """The value, when it is a text; raises ValueError with a hint when it is not."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        # A str that is an Enum too would sign as its name and travel as its value.
        return str.__str__(value)
    raise ValueError("pass a text: a number loses its leading zeros" if isinstance(value, int) else "pass a text")


def as_digits(value: object) -> str:
    """The value compact, when it is a text; raises ValueError with a hint when it is not."""
    if type(value) is str and value.isascii() and value.isalnum():
        return value  # the usual one, which every call gives a few of
    return compact(as_text(value))
