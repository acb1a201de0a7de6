"""Digits as people write them, brought to the one form that is sent; and the characters nobody sees."""

import re

_ASCII = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "0123456789" * 2)

_FORMAT = (
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
"""Unicode category Cf. Ranges, because to ask ``unicodedata`` for all of them would take most of an import."""
_IGNORABLE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
)
"""The rest of Default_Ignorable_Code_Point: fillers, joiners, variation selectors, tags."""
_INVISIBLE = f"{_FORMAT}{_IGNORABLE}\u2800"  # and the Braille pattern without a dot
# Persian spelling needs the first joiner, and the second shapes a letter that stands alone.
_MARKS = re.compile(f"(?:(?![\u200c\u200d])[{_INVISIBLE}])+")
# Numbers copied out of Persian text bring direction marks and joiners along.
_BLANKS = re.compile(rf"[\s{_INVISIBLE}]+")
_DASHES = re.compile(r"[-\u2010-\u2015\u2212]+")


def _is_plain(text: str) -> bool:
    """Whether there is nothing to fold: the usual case, told in a tenth of the time."""
    return text.isascii() and text.isalnum()


def normalize_digits(text: str) -> str:
    """The text with Persian and Arabic digits as ASCII ones, and all else as it was."""
    return text if text.isascii() else text.translate(_ASCII)


def strip_spaces(text: str) -> str:
    """The text folded, without white space and invisible marks."""
    return text if _is_plain(text) else _BLANKS.sub("", normalize_digits(text))


def without_marks(text: str) -> str:
    """Return the text without invisible characters, but for the joiners U+200C and U+200D of Persian spelling."""
    return text if text.isascii() else _MARKS.sub("", text)


def has_spoiled_ends(text: str) -> bool:
    """Return True if the text begins or ends with white space or an invisible character."""
    return bool(text) and (not strip_spaces(text[0]) or not strip_spaces(text[-1]))


def is_blank(text: str) -> bool:
    """Return True if a reader sees no letter: white space, invisible characters, and the line that joins letters."""
    return not strip_spaces(text).strip("\u0640")


def compact(text: str) -> str:
    """The text folded, without what digits are grouped by: white space, invisible marks, dashes."""
    return text if _is_plain(text) else _DASHES.sub("", strip_spaces(text))


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
