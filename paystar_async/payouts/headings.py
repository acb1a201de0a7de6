"""Headings: the words an accountant writes above a column, and the field each of them means."""

import re
from collections.abc import Iterable, Sequence

from paystar_async.errors.text import visible
from paystar_async.values.digits import strip_spaces

_LETTERS = str.maketrans("يىكةأإآؤۀ", "ییکهااآوه", "\u0640\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0654")
_PUNCTUATION = re.compile(r"[\s()\[\]{}:؛;.،,*_\-/\\«»\"'|]+")
_RIAL = re.compile(r"(?:به|in|بر\s*حسب)?(?:ریال|rials?|irr)$")
_TOMAN = re.compile(r"تومان|تومن|tomans?|\bIRT\b", re.IGNORECASE)

_OWNERS = ("", "گیرنده", "مقصد", "ذینفع", "صاحبحساب", "صاحبحسابمقصد", "دریافتکننده")
"""Whose name, account or IBAN a column says it is, in Persian."""

_ALIASES = {
    "amount": ("مبلغ", *(f"مبلغ{word}" for word in ("واریز", "واریزی", "انتقال", "حواله", "پرداخت", "پرداختی"))),
    "deposit": (
        *(f"{kind}{word}" for kind in ("حساب", "شمارهحساب") for word in ("مبدا", "مبداء", "برداشت")),
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
"""Other headings of a field, as ``plain`` writes them."""

_FIELD_OF = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}

IGNORED = frozenset(("ردیف", "شمارهردیف", "row", "no", "#"))
"""Headings of a running number, which is not read."""

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


def plain(cell: object) -> str:
    """Return a heading in one spelling: Persian letters, small ones, without blanks, marks and punctuation."""
    text = strip_spaces(visible(str(cell))).translate(_LETTERS).lower()
    return _PUNCTUATION.sub("", text)


def column_name(cell: object) -> str:
    """Return the field a heading means (``شناسه پیگیری`` is ``track_id``), or the heading as a name is written."""
    text = plain(cell)
    if not text:
        return ""
    unit = _RIAL.sub("", text)
    if unit in ("amount", *_ALIASES["amount"]):
        return "amount"
    if text in _FIELD_OF:
        return _FIELD_OF[text]
    words = visible(str(cell)).strip().lower().replace("-", " ").replace("_", " ").split()
    return "_".join(words)


def refusal(cell: object) -> str:
    """Return why a column of this heading cannot be read as it is, or nothing."""
    if is_toman(cell):
        return "amounts are whole Rial: convert the column and call it «مبلغ (ریال)», or delete it"
    return _REFUSED.get(plain(cell), "")


def is_toman(cell: object) -> bool:
    """Return True if a text of the sheet speaks of Toman."""
    return isinstance(cell, str) and _TOMAN.search(visible(cell)) is not None


def heading_row(rows: Sequence[Sequence[object]], names: Iterable[str]) -> int:
    """Return the place of the row that holds most headings, the first of equals; -1 where none holds two of them."""
    known = frozenset(names)
    counts = [sum(isinstance(cell, str) and column_name(cell) in known for cell in cells) for cells in rows]
    best = max(counts, default=0)
    return counts.index(best) if best > 1 else -1
