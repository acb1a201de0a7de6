"""Number formats: whether a spreadsheet shows the number that a cell holds."""

import re

_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h|m|s)[^\]]*\]', re.IGNORECASE)
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_PERCENT_FORMATS = frozenset((9, 10))


def format_reason(number: int, code: str | None) -> str:
    """Return why a number format shows another number than the cell holds, or nothing.

    Args:
        number: the format's number; those below 164 are built in.
        code: its text (``#,##0``), where the workbook has one.
    """
    if code is None:
        if number in _DATE_FORMATS:
            return "a date or time"
        return "a percentage" if number in _PERCENT_FORMATS else ""
    if "تومان" in code or "toman" in code.lower():
        return "an amount in Toman"
    shown = _LITERAL.sub("", code.partition(";")[0]).strip()
    if "%" in shown:
        return "a percentage"
    if shown.lower() in ("general", "standard", "@", ""):
        return "a number the format hides" if not shown and code else ""
    if re.search(r"[ymdhs]", shown, re.IGNORECASE):
        return "a date or time"
    if not re.search(r"[0#?]", shown):
        return "a number the format hides"
    if re.search(r"[0#?],+(?![,0#?])", shown):
        return "a number the format shows in thousands"
    return ""
