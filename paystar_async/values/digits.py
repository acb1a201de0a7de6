"""Normalisation of digits, spaces and invisible characters in texts."""

import re

_ASCII = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "0123456789" * 2)

_FORMAT = (
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
"""Unicode category Cf. Ranges, because asking ``unicodedata`` for each character slows the import."""
_IGNORABLE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
)
"""The rest of Default_Ignorable_Code_Point: fillers, joiners, variation selectors, tags."""
_INVISIBLE = f"{_FORMAT}{_IGNORABLE}\u2800"  # and the Braille pattern without a dot
# Persian spelling needs the first joiner; the second one shapes a single letter.
_MARKS = re.compile(f"(?:(?![\u200c\u200d])[{_INVISIBLE}])+")
# Numbers copied from Persian text contain direction marks and joiners.
_BLANKS = re.compile(rf"[\s{_INVISIBLE}]+")
_DASHES = re.compile(r"[-\u2010-\u2015\u2212]+")


def _is_plain(text: str) -> bool:
    """Return True if the text needs no normalisation; a cheap check for the usual case."""
    return text.isascii() and text.isalnum()


def normalize_digits(text: str) -> str:
    """Return the text with Persian and Arabic digits replaced by ASCII digits."""
    return text if text.isascii() else text.translate(_ASCII)


def strip_spaces(text: str) -> str:
    """Return the text with ASCII digits, without white space and invisible characters."""
    return text if _is_plain(text) else _BLANKS.sub("", normalize_digits(text))


def strip_marks(text: str) -> str:
    """Return the text without invisible characters, but for the joiners U+200C and U+200D of Persian spelling."""
    return text if text.isascii() else _MARKS.sub("", text)


def has_spoiled_ends(text: str) -> bool:
    """Return True if the text begins or ends with white space or an invisible character."""
    return bool(text) and (not strip_spaces(text[0]) or not strip_spaces(text[-1]))


def is_blank(text: str) -> bool:
    """Return True if the text shows nothing: only white space, invisible characters and tatweel."""
    return not strip_spaces(text).strip("\u0640")


def compact(text: str) -> str:
    """Return the text with ASCII digits, without white space, invisible characters and dashes."""
    return text if _is_plain(text) else _DASHES.sub("", strip_spaces(text))


def as_text(value: object) -> str:
    """Return a text as a plain ``str``; raise ValueError with a hint for any other type."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        # A str Enum would be signed as its name and sent as its value.
        return str.__str__(value)
    raise ValueError("pass a text: a number loses its leading zeros" if isinstance(value, int) else "pass a text")


def as_digits(value: object) -> str:
    """Return ``compact(value)`` of a text; raise ValueError with a hint for any other type."""
    if type(value) is str and value.isascii() and value.isalnum():
        return value  # fast path of the usual case
    return compact(as_text(value))


def parse_digits(value: object, count: int, hint: str = "") -> str:
    """Return a text of ``count`` digits in ASCII; raise ValueError with the hint for another number of digits."""
    digits = as_digits(value)
    is_number = digits.isascii() and digits.isdecimal()
    if is_number and len(digits) == count:
        return digits
    reason = "" if is_number or not digits else "not all of its characters are digits"
    raise ValueError("; ".join(filter(None, (reason, hint))))
