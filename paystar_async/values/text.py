"""Field types of texts and small integers.

Texts are neither trimmed nor normalised, because many are signed, stored or looked up again. Only names of people and
payment ids lose their invisible characters.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated
from urllib.parse import unquote_plus, urlsplit

from paystar_async.values.digits import as_text, is_blank, strip_marks, strip_spaces
from paystar_async.values.field_type import FieldType, short_repr
from paystar_async.values.masking import describe_value
from paystar_async.values.numbers import integer

# Control characters, line separators and half surrogate pairs, which JSON in UTF-8 cannot contain.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_JOINERS = "\u200c\u200d"
# Invisible characters outside Unicode's category Cf.
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"

CALLBACK_FIELDS = (
    "status",
    "order_id",
    "ref_num",
    "transaction_id",
    "card_number",
    "hashed_card_number",
    "tracking_code",
)
"""Fields that Paystar adds to a callback URL or posts to it (reference: "Callback Payload")."""


def read_text(value: object, *, min_length: int, max_length: int) -> str:
    """Return a text unchanged; raise ValueError if it is not a text, unprintable, blank, too short or too long."""
    text = as_text(value)
    if not min_length <= len(text) <= max_length:
        raise ValueError(f"the text has {len(text)} characters" if text else "the text is empty")
    if not text.isprintable() and _UNSENDABLE.search(text):
        raise ValueError("the text contains a control character, a line break or half a surrogate pair")
    if text and not (text.isascii() and text[0].isalnum()) and is_blank(text):
        raise ValueError("the text is blank")
    return text


def text_repr(value: object) -> str:
    """Return the repr of a text that is not personal, at most 60 characters; only describe another value."""
    return short_repr(value) if isinstance(value, str) else describe_value(value)


def text(
    name: str,
    *,
    max_length: int,
    example: str,
    min_length: int = 1,
    pattern: str | None = None,
    expected: str | None = None,
    mask: Callable[[object], str] = text_repr,
    clean: Callable[[str], str] | None = None,
) -> FieldType:
    """Return the field type of a text that is sent unchanged, or cleaned.

    Args:
        name: the type's name.
        max_length: the largest number of characters.
        example: a valid text.
        min_length: the smallest number of characters; 0 accepts an empty text for a missing value.
        pattern: a regular expression for the whole text, without anchors, valid in JSON schema too.
        expected: the valid form; required with a pattern.
        mask: returns a value as errors show it; ``describe_value`` for personal texts.
        clean: converts a text that is not ASCII; removes invisible characters only.
    """
    compiled = re.compile(pattern) if pattern is not None else None

    def parse(value: object) -> str:
        # Fast path with the checks of ``read_text`` for the usual text.
        if (
            type(value) is str
            and min_length <= len(value) <= max_length
            and value.isascii()
            and value.isprintable()
            and value[:1].isalnum()
        ):
            result = value
        else:
            result = read_text(value, min_length=min_length, max_length=max_length)
            result = clean(result) if clean is not None else result
        if compiled is not None and not compiled.fullmatch(result):
            raise ValueError
        return result

    schema: dict[str, object] = {"type": "string", "minLength": min_length, "maxLength": max_length}
    if pattern is not None:
        schema["pattern"] = f"^(?:{pattern})$"
    return FieldType(
        name=name,
        expected=expected or f"a text of {min_length} to {max_length} characters",
        parse=parse,
        mask=mask,
        schema=schema,
        example=example,
    )


TrackId = Annotated[
    str,
    text(
        "track id",
        max_length=64,
        pattern="[!-~]+",
        expected="1 to 64 printable ASCII characters without spaces",
        example="payroll-2026-07-0001",
    ),
]
"""The caller's unique id of a transfer."""

PersonName = Annotated[
    str, text("person's name", max_length=255, example="Ali", mask=describe_value, clean=strip_marks)
]
"""A first or last name; direction marks and other invisible characters are removed."""


def _has_invisible(value: str, *, allowed: str = "") -> bool:
    """Return True if a text contains an invisible character that is not allowed."""
    if value.isascii():
        return False
    return any((unicodedata.category(char) == "Cf" or char in _FILLERS) and char not in allowed for char in value)


def _parse_order_id(value: object) -> str:
    order_id = read_text(value, min_length=1, max_length=255)
    if order_id != order_id.strip().strip(_JOINERS):
        # The live service trims its input: the signature would be rejected, or the callback would name another order.
        raise ValueError("the gateway trims the order id; remove the surrounding white space")
    if _has_invisible(order_id, allowed=_JOINERS):
        raise ValueError("the order id contains an invisible character; remove it")
    return order_id


OrderId = Annotated[
    str,
    FieldType(
        name="order id",
        expected="a text of 1 to 255 characters without surrounding white space",
        parse=_parse_order_id,
        mask=text_repr,
        schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^\S(?:.*\S)?$"},
        example="ORD-45245",
    ),
]
"""The caller's id of an order."""

PayId = Annotated[str, text("payment id", max_length=64, example="123456789", clean=strip_spaces)]
"""The payment id (shenase-ye variz) that the recipient requires; invisible characters are removed."""

Note = Annotated[str, text("note", max_length=255, example="an order of two books", mask=describe_value)]
"""Free text about a payment or its payer; never shown, because it may be personal."""

Token = Annotated[str, text("payment token", max_length=512, example="token-of-the-payment", mask=describe_value)]
"""The token that opens the payment page once; never shown."""

RefNum = Annotated[str, text("reference number", max_length=255, example="ref-1")]
"""The gateway's id of a payment."""

TrackingCode = Annotated[
    str,
    text(
        "tracking code",
        min_length=0,
        max_length=64,
        expected="the tracking code of the callback, or an empty text if the callback had none",
        example="123456",
    ),
]
"""The tracking code of a callback, unchanged because the signature covers it; empty if the callback had none."""

Hashid = Annotated[str, text("hashid", max_length=128, example="w123")]
"""Paystar's id of a wallet."""


def _parse_url(value: object) -> str:
    url = read_text(value, min_length=1, max_length=2048)
    if re.search(r"\s", url):
        raise ValueError("the URL contains a space; write %20")
    if "\\" in url:
        raise ValueError("the URL contains a backslash, which browsers read as a slash; write / or %5C")
    if _has_invisible(url):
        raise ValueError("the URL contains an invisible character; remove or percent-encode it")
    if "#" in url:
        # The # also separates the signed fields.
        raise ValueError("a fragment never reaches the server; leave it out, or write %23 for a #")
    if not _is_absolute(url):
        raise ValueError("begin with https:// and the host registered for the gateway")
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("the gateway and the payer would see a user name or password in the URL; leave it out")
    if name := _reserved_name(parts.query):
        raise ValueError(
            f"the query has a parameter {name}, and Paystar adds a parameter of that name when the payer returns; "
            f"rename it (shop_{name}) or put it into the path"
        )
    return url


def _reserved_name(query: str) -> str | None:
    """Return the callback field that a query's parameter collides with, or None.

    Names are compared as any server may parse them: percent-decoded, in any case, separated by ``;`` too, and as PHP
    normalises them (``order.id`` and ``order_id[]`` are ``order_id`` there).
    """
    for pair in re.split("[&;]", query):
        name = unquote_plus(pair.partition("=")[0]).partition("\0")[0].lstrip(" ").lower()
        if "]" in name:
            name = name.partition("[")[0]
        name = re.sub(r"[ .\[]", "_", name)
        if name in CALLBACK_FIELDS:
            return name
    return None


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # urlsplit checks the port only when the attribute is read.
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _mask_url(value: object) -> str:
    # The part before an @ or after a ? may contain a password or a session.
    if isinstance(value, str):
        value = re.sub(r"//[^/]*@", "//…@", re.sub(r"\?.*", "?…", value, flags=re.DOTALL))
    return text_repr(value)


CallbackUrl = Annotated[
    str,
    FieldType(
        name="callback URL",
        expected="an http or https URL with a host, at most 2048 characters",
        parse=_parse_url,
        mask=_mask_url,
        schema={
            "type": "string",
            "format": "uri",
            "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s#\\]+$",
            "maxLength": 2048,
        },
        example="https://merchant.example/pay/callback",
    ),
]
"""The URL that the payer returns to; signed and sent unchanged."""

Count = Annotated[int, integer("count", example=0)]
"""A number of items: 0 or more."""

Limit = Annotated[int, integer("limit", minimum=1, maximum=500, example=50)]
"""The largest number of items in a response: 1 to 500."""

CallbackMethod = Annotated[
    int, integer("callback method", maximum=2**31 - 1, example=1, expected="1 for GET, another whole number for POST")
]
"""The HTTP method of the callback: 1 for GET, any other number for POST."""

WithdrawType = Annotated[
    int,
    # assumed (withdraw-type): only these two were ever seen; any other number is a mistake in a call that moves money.
    integer("withdraw type", minimum=7, maximum=8, example=7, expected="7 (single) or 8 (group)"),
]
"""The payout type of a wallet: 7 single (paya), 8 group."""
