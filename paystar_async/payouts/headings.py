"""Column headings: map Persian and English headings to the fields of a transfer."""

import re
from collections.abc import Iterable, Sequence

from paystar_async.errors.text import visible
from paystar_async.values.digits import strip_spaces

_LETTERS = str.maketrans("يىكةأإآؤۀ", "ییکهااآوه", "\u0640\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0654")
_PUNCTUATION = re.compile(r"[\s()\[\]{}:؛;.،,*_\-/\\«»\"'|]+")
_RIAL = re.compile(r"(?:به|in|بر\s*حسب)?(?:ریال|rials?|irr)$")
_TOMAN = re.compile(r"تومان|تومن|tomans?|\bIRT\b", re.IGNORECASE)

_OWNERS = ("", "گیرنده", "مقصد", "ذینفع", "صاحبحساب", "صاحبحسابمقصد", "دریافتکننده")
"""Persian words for the receiver, which may follow "name", "account" or "IBAN" in a heading."""

_ALIASES = {
    "amount": ("مبلغ", *(f"مبلغ{suffix}" for suffix in ("واریز", "واریزی", "انتقال", "حواله", "پرداخت", "پرداختی"))),
    "deposit": (
        *(f"{kind}{suffix}" for kind in ("حساب", "شمارهحساب") for suffix in ("مبدا", "مبداء", "برداشت")),
        *(f"{kind}مبدا" for kind in ("سپرده", "شمارهسپرده")),
    ),
    "destination_account": (
        *(f"{kind}{owner}" for kind in ("شبا", "شبای", "شمارهشبا", "شمارهشبای", "شمارهحساب") for owner in _OWNERS),
        *(f"حساب{owner}" for owner in ("مقصد", "گیرنده", "ذینفع")),
        *("iban", "sheba", "shaba"),
    ),
    "destination_firstname": (*(f"نام{owner}" for owner in _OWNERS), "نامکوچک", "firstname"),
    "destination_lastname": (
        *(f"نامخانوادگی{owner}" for owner in _OWNERS),
        *("فامیل", "فامیلی", "نامفامیل", "نامفامیلی", "lastname", "surname"),
    ),
    "track_id": ("شناسهپیگیری", "کدپیگیری", "شمارهپیگیری", "شناسهرهگیری", "کدرهگیری", "شناسهیکتا"),
    "pay_id": ("شناسهواریز", "شناسهواریزی", "شناسهپرداخت"),
    "destination_number": ("شمارهمقصد",),
}
"""Other headings of each field, as ``normalize_heading`` spells them."""

_FIELD_OF = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}

IGNORED = frozenset(("ردیف", "شمارهردیف", "row", "no", "#"))
"""Headings of row numbers, which are not read."""

_REFUSED = {
    **dict.fromkeys(
        (f"نامونامخانوادگی{owner}" for owner in _OWNERS),
        "names stand in two columns, «نام» and «نام خانوادگی»: split it",
    ),
    **dict.fromkeys(("نامکامل", "fullname", "name"), "names stand in two columns, «نام» and «نام خانوادگی»: split it"),
    **dict.fromkeys(
        ("کارت", "card", "cardnumber", *(f"شمارهکارت{owner}" for owner in _OWNERS), "کارتمقصد"),
        "a transfer goes to an IBAN or an account, not to a card: put the «شماره شبا» of the card there",
    ),
}


def normalize_heading(cell: object) -> str:
    """Return a heading in one spelling: Persian letters, lower case, without spaces, marks and punctuation."""
    text = strip_spaces(visible(str(cell))).translate(_LETTERS).lower()
    return _PUNCTUATION.sub("", text)


def column_name(cell: object) -> str:
    """Return the field a heading names (``شناسه پیگیری`` is ``track_id``), or the heading in snake case."""
    text = normalize_heading(cell)
    if not text:
        return ""
    unit = _RIAL.sub("", text)
    if unit in ("amount", *_ALIASES["amount"]):
        return "amount"
    if text in _FIELD_OF:
        return _FIELD_OF[text]
    words = visible(str(cell)).strip().lower().replace("-", " ").replace("_", " ").split()
    return "_".join(words)


def unusable_reason(cell: object) -> str:
    """Return why a column with this heading cannot be read, or ``""``."""
    if mentions_toman(cell):
        return "amounts are whole Rial: convert the column and call it «مبلغ (ریال)», or delete it"
    return _REFUSED.get(normalize_heading(cell), "")


def mentions_toman(cell: object) -> bool:
    """Return True if a text of the sheet mentions Toman."""
    return isinstance(cell, str) and _TOMAN.search(visible(cell)) is not None


def find_heading_row(rows: Sequence[Sequence[object]], names: Iterable[str]) -> int:
    """Return the index of the row with the most headings, the first of equals; -1 if no row has two."""
    field_names = frozenset(names)
    counts = [sum(isinstance(cell, str) and column_name(cell) in field_names for cell in cells) for cells in rows]
    highest = max(counts, default=0)
    return counts.index(highest) if highest > 1 else -1
