"""Masks of personal values and secrets.

A mask takes any object and never raises. A value of an unexpected form is only described, because a value in the wrong
field may be a secret.
"""

import re

from paystar_async.errors.text import visible
from paystar_async.values.digits import compact, normalize_digits, strip_marks, strip_spaces

WRITTEN_MOBILE = re.compile(r"(?:(?:\+|00)?98)?0?(9[0-9]{9})")
"""A mobile number in any of its usual forms, without spaces and dashes."""

_CARD = re.compile(r"[0-9]{16}|[0-9]{6}[*xX]{6}[0-9]{4}")
_IBAN = re.compile(r"(?:IR)?[0-9]{24}")
_NATIONAL_ID = re.compile(r"[0-9]{10}")
_ACCOUNT = re.compile(r"[0-9./-]{5,26}")

# In running text ten digits that begin with 9 may be a national id, whose mask shows less; so a prefix is required.
_PREFIXED_MOBILE = re.compile(r"(?:(?:00)?980?|0)9[0-9]{9}")

_GAP = r"[\s\-\u2010-\u2015\u2212_./\u200b-\u200f]"
_PERSONAL = re.compile(
    rf"(?P<iban>(?i:IR)(?:{_GAP}{{0,2}}\d){{24}}(?!\d)|(?i:IR)(?:{_GAP}{{0,2}}\d){{15,}})"
    r"|\+?(?<!\d)(?:"
    r"\d{16}(?!\d)"
    rf"|\d{{4}}(?:{_GAP}{{0,3}}\d{{4}}){{3,}}(?!\d)"
    r"|\d{10,}"
    rf"|(?:(?:00)?98{_GAP}?0?|0)9\d{{2}}(?:{_GAP}?\d){{7}}(?!\d)"
    r"|\d{3}-\d{6}-\d(?!\d)"
    r")"
)

_AT = "(?:[@\uff20\ufe6b]|%40)"
_SCHEME = r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*)?(?::/{1,3}|/{2,}:?)"
_USER_AND_PASSWORD = re.compile(rf"(?P<scheme>{_SCHEME})?.*{_AT}", re.DOTALL)
_NO_PORT = re.compile(rf"(?P<before>{_SCHEME}(?:(?:\[[^\]]*\]|[^:/?#\[]+)(?!:\d{{1,5}}(?:[/?#,]|$)))?):[^/?#]+")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_SECRET_PARAMETER = re.compile(
    r"(?P<name>\b\w*(?:pass|pwd|secret|token|key|auth|sign)\w*\s*=\s*)"
    r"""(?:'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?|(?:\\.|[^\s&;,\\'"])+)""",
    re.IGNORECASE | re.DOTALL,
)
_ADDRESS = re.compile(rf"\S*(?:{_AT}|:/)\S*")
_MASK = "***"


def describe_value(value: object) -> str:
    """Return the length of a text or the type of another value, and nothing of its content."""
    if isinstance(value, str):
        return f"text of {len(value)} character{'' if len(value) == 1 else 's'}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _mask_all_but_last(digits: str, count: int) -> str:
    return "*" * (len(digits) - count) + digits[-count:]


def _mask_card_digits(digits: str) -> str:
    return f"{digits[:6]}******{digits[-4:]}"


def _mask_mobile_digits(digits: str) -> str:
    return f"0{digits[-10:-7]}***{digits[-4:]}"


def mask_card(value: object) -> str:
    """Return a card number with its first six and last four digits: ``603799******1234``."""
    if isinstance(value, str) and _CARD.fullmatch(text := compact(value)):
        return _mask_card_digits(text)
    return describe_value(value)


def mask_iban(value: object) -> str:
    """Return an IBAN with its last four digits; without ``IR`` if the value has none."""
    if isinstance(value, str) and _IBAN.fullmatch(text := compact(value).upper()):
        return text[:-24] + _mask_all_but_last(text[-24:], 4)
    return describe_value(value)


def mask_national_id(value: object) -> str:
    """Return a national id with its last two digits."""
    if isinstance(value, str) and _NATIONAL_ID.fullmatch(text := compact(value)):
        return _mask_all_but_last(text, 2)
    return describe_value(value)


def mask_mobile(value: object) -> str:
    """Return a mobile number with its operator and last four digits: ``0912***4567``."""
    if isinstance(value, str) and WRITTEN_MOBILE.fullmatch(text := compact(value)):
        return _mask_mobile_digits(text)
    return describe_value(value)


def mask_account(value: object) -> str:
    """Return an account number with its last four digits; with two if the number has at most eight."""
    if isinstance(value, str) and _ACCOUNT.fullmatch(text := strip_spaces(value)):
        return _mask_all_but_last(text, 4 if len(text) > 8 else 2)
    return describe_value(value)


def mask_text(text: str) -> str:
    """Return a server's text as one visible line with the personal numbers in it masked.

    Control characters and invisible characters are removed (see ``visible``). IBANs, card numbers, mobile numbers and
    every run of at least ten digits are masked, in the digits of any script and grouped by spaces or dashes too.
    """
    return _PERSONAL.sub(_mask_match, strip_marks(visible(text)))


def _mask_match(match: re.Match[str]) -> str:
    digits = "".join(filter(str.isdecimal, normalize_digits(match[0])))
    if match["iban"]:
        return "IR" + _mask_all_but_last(digits, 4)
    if _PREFIXED_MOBILE.fullmatch(digits):
        return _mask_mobile_digits(digits)
    if len(digits) == 16:
        return _mask_card_digits(digits)
    return _mask_all_but_last(digits, 2 if len(digits) == 10 else 4)


def mask_address(address: str) -> str:
    """Return the address of a server or a store without its passwords, even if the address is mistyped.

    Of the part before an ``@`` only the scheme is kept. Masked are a query, a fragment, a port that is not a number and
    the values of parameters with names of secrets (``password=``).
    """
    masked = _SECRET_PARAMETER.sub(rf"\g<name>{_MASK}", address)
    if user := _USER_AND_PASSWORD.match(masked):
        masked = f"{user['scheme'] or ''}{_MASK}@{masked[user.end() :]}"
    elif port := _NO_PORT.match(masked):
        masked = f"{port['before']}:{_MASK}{masked[port.end() :]}"
    return _QUERY.sub(lambda match: match[0][0] + _MASK, masked)


def mask_addresses(text: str) -> str:
    """Return a text with the addresses in it masked."""
    return _ADDRESS.sub(lambda match: mask_address(match[0]), _SECRET_PARAMETER.sub(rf"\g<name>{_MASK}", text))
