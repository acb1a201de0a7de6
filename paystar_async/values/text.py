"""Texts that are sent to the letter, and the small numbers beside them.

A text is not trimmed or folded: many are signed, stored or looked up again, and must stay what they were. Names of
people and payment ids alone lose what nobody sees in them.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated
from urllib.parse import unquote_plus, urlsplit

from paystar_async.values.digits import as_text, is_blank, strip_spaces, without_marks
from paystar_async.values.field_type import FieldType, shown
from paystar_async.values.masking import described
from paystar_async.values.numbers import integer

# Control characters, line separators, and halves of surrogate pairs, which no JSON in UTF-8 can carry.
_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_JOINERS = "\u200c\u200d"
# Not of Unicode's category Cf, and shown as nothing all the same.
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
"""What Paystar adds to a callback URL, or posts to it (reference: "Callback Payload")."""


def read_text(value: object, *, least: int, most: int) -> str:
    """The text exactly as given; raises ValueError when it is none, unprintable, blank, too short or too long."""
    text = as_text(value)
    if not least <= len(text) <= most:
        raise ValueError(f"it has {len(text)} characters")
    if not text.isprintable() and _UNSENDABLE.search(text):
        raise ValueError("it holds a control character, a line break or half a surrogate pair")
    if text and not (text.isascii() and text[0].isalnum()) and is_blank(text):
        raise ValueError("it is blank")
    return text


def shown_text(value: object) -> str:
    """A text that is not personal, cut to a line; whatever else came only described."""
    return shown(value) if isinstance(value, str) else described(value)


def text(
    name: str,
    *,
    most: int,
    example: str,
    least: int = 1,
    pattern: str | None = None,
    shape: str | None = None,
    mask: Callable[[object], str] = shown_text,
    clean: Callable[[str], str] | None = None,
) -> FieldType:
    """The kind of a text that is sent exactly as given, or cleaned.

    Args:
        name: what it is.
        most: the most characters it may have.
        example: a text that is taken.
        least: the fewest characters it may have; 0 lets an empty text stand for a missing one.
        pattern: a regular expression all of it must match, without anchors, that JSON schema can read too.
        shape: what it must look like; needed where there is a pattern.
        mask: how it is shown; ``described`` for a personal one.
        clean: what a text that is not ASCII is sent as; it takes nothing that a reader sees.
    """
    whole = re.compile(pattern) if pattern is not None else None

    def read(value: object) -> str:
        # The usual text passes here by what ``read_text`` asks, at half the price.
        if (
            type(value) is str
            and least <= len(value) <= most
            and value.isascii()
            and value.isprintable()
            and value[:1].isalnum()
        ):
            given = value
        else:
            given = read_text(value, least=least, most=most)
            given = clean(given) if clean is not None else given
        if whole is not None and not whole.fullmatch(given):
            raise ValueError
        return given

    schema: dict[str, object] = {"type": "string", "minLength": least, "maxLength": most}
    if pattern is not None:
        schema["pattern"] = f"^(?:{pattern})$"
    return FieldType(
        name=name,
        expected=shape or f"a text of {least} to {most} characters",
        parse=read,
        mask=mask,
        schema=schema,
        example=example,
    )


TrackId = Annotated[
    str,
    text(
        "track id",
        most=64,
        pattern="[!-~]+",
        shape="1 to 64 printable ASCII characters without spaces",
        example="payroll-2026-07-0001",
    ),
]
"""Your own name for a transfer, unique for ever."""

PersonName = Annotated[str, text("person's name", most=255, example="Ali", mask=described, clean=without_marks)]
"""A first or last name; direction marks and what else nobody sees are taken out of it."""


def _holds_invisible(value: str, *, allowed: str = "") -> bool:
    """Return True if a text holds a format mark or a filler that nobody sees, other than the allowed ones."""
    if value.isascii():
        return False
    return any((unicodedata.category(one) == "Cf" or one in _FILLERS) and one not in allowed for one in value)


def _read_order_id(value: object) -> str:
    order_id = read_text(value, least=1, most=255)
    if order_id != order_id.strip().strip(_JOINERS):
        # The live service trims its input: the signature would be refused, or the callback name another order.
        raise ValueError("blanks around it do not come back from the gateway; remove them")
    if _holds_invisible(order_id, allowed=_JOINERS):
        raise ValueError("it holds an invisible character; remove it")
    return order_id


OrderId = Annotated[
    str,
    FieldType(
        name="order id",
        expected="a text of 1 to 255 characters without blanks around it",
        parse=_read_order_id,
        mask=shown_text,
        schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^\S(?:.*\S)?$"},
        example="ORD-45245",
    ),
]
"""Your own name for an order."""

PayId = Annotated[str, text("payment id", most=64, example="123456789", clean=strip_spaces)]
"""The payment id (shenase-ye variz) the destination's owner asks for; invisible characters are taken out of it."""

Note = Annotated[str, text("note", most=255, example="an order of two books", mask=described)]
"""Free text about a payment or its payer; it may be personal, so it is never shown."""

Token = Annotated[str, text("payment token", most=512, example="token-of-the-payment", mask=described)]
"""What opens the payment page, once; so it is never shown."""

RefNum = Annotated[str, text("reference number", most=255, example="ref-1")]
"""The gateway's name for a payment."""

TrackingCode = Annotated[
    str,
    text(
        "tracking code",
        least=0,
        most=64,
        shape="the tracking code of the callback, or an empty text where it had none",
        example="123456",
    ),
]
"""The callback's tracking code, kept to the letter because it is signed as it came; empty when it had none."""

Hashid = Annotated[str, text("hashid", most=128, example="w123")]
"""Paystar's name for a wallet."""


def _read_url(value: object) -> str:
    given = read_text(value, least=1, most=2048)
    if re.search(r"\s", given):
        raise ValueError("it holds a space; write %20")
    if "\\" in given:
        raise ValueError("it holds a backslash, which browsers take for a slash; write / or %5C")
    if _holds_invisible(given):
        raise ValueError("it holds an invisible character; remove it or write it percent-encoded")
    if "#" in given:
        # It also separates what is signed.
        raise ValueError("a part behind # never reaches your server; leave it out, or write %23 for a #")
    if not _is_absolute(given):
        raise ValueError("begin with https:// and the host registered for the gateway")
    parts = urlsplit(given)
    if "@" in parts.netloc:
        raise ValueError("a name or password before the host would be seen by the gateway and the payer; leave it out")
    if name := _reserved_name(parts.query):
        raise ValueError(
            f"its query has a parameter {name}, and Paystar adds one of that name when the payer returns; "
            f"rename yours (shop_{name}) or put it into the path"
        )
    return given


def _reserved_name(query: str) -> str | None:
    """Return the callback field that a query's parameter collides with, or None.

    Names are compared as any server may read them: percent-decoded, in any case, separated by ``;`` too, and as PHP
    folds them (``order.id`` and ``order_id[]`` are ``order_id`` there).
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
        # Asked for its refusal alone: a port is only read, and found wrong, when someone looks at it.
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _shown_url(value: object) -> str:
    # What stands before an @ or behind a ? may be a password or a session.
    if isinstance(value, str):
        value = re.sub(r"//[^/]*@", "//…@", re.sub(r"\?.*", "?…", value, flags=re.DOTALL))
    return shown_text(value)


CallbackUrl = Annotated[
    str,
    FieldType(
        name="callback URL",
        expected="an http or https URL with a host, at most 2048 characters",
        parse=_read_url,
        mask=_shown_url,
        schema={
            "type": "string",
            "format": "uri",
            "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s#\\]+$",
            "maxLength": 2048,
        },
        example="https://merchant.example/pay/callback",
    ),
]
"""Where the payer comes back to; signed and sent exactly as given."""

Count = Annotated[int, integer("count", example=0)]
"""How many: 0 or more."""

Limit = Annotated[int, integer("limit", least=1, most=500, example=50)]
"""How many at the most: 1 to 500."""

CallbackMethod = Annotated[
    int, integer("callback method", most=2**31 - 1, example=1, shape="1 for GET, another whole number for POST")
]
"""How the payer comes back: 1 by GET, anything else by POST."""

WithdrawType = Annotated[
    int,
    # assumed: only these two were ever seen; another is a typing mistake in a call that moves money.
    integer("withdraw type", least=7, most=8, example=7, shape="7 (single) or 8 (group)"),
]
"""How a wallet pays out: 7 one by one (paya), 8 as a group."""
