"""Number formats: detect those with which a spreadsheet shows another number than the cell holds."""

import re
from collections.abc import Iterable, Mapping

_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h|m|s)[^\]]*\]', re.IGNORECASE)
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_PERCENT_FORMATS = frozenset((9, 10))


def format_reason(number: int, code: str | None) -> str:
    """Return why a number format shows another number than the cell holds, or ``""``.

    Args:
        number: the number of the format; below 164 are the built-in ones.
        code: the code of the format (``#,##0``); None if the workbook defines none.
    """
    if code is None:
        if number in _DATE_FORMATS:
            return "a date or time"
        return "a percentage" if number in _PERCENT_FORMATS else ""
    if "تومان" in code or "toman" in code.lower():
        return "an amount in Toman"
    pattern = _LITERAL.sub("", code.partition(";")[0]).strip()
    if "%" in pattern:
        return "a percentage"
    if pattern.lower() in ("general", "standard", "@", ""):
        return "a number the format hides" if not pattern and code else ""
    if re.search(r"[ymdhs]", pattern, re.IGNORECASE):
        return "a date or time"
    if not re.search(r"[0#?]", pattern):
        return "a number the format hides"
    if re.search(r"[0#?],+(?![,0#?])", pattern):
        return "a number the format shows in thousands"
    return ""


def read_formats(events: Iterable[tuple[str, Mapping[str, str] | None, str]]) -> list[str]:
    """Return for each cell style why it shows another number than the cell holds, or ``""``."""
    codes: dict[int, str] = {}
    formats: list[str] = []
    in_cell_formats = False
    for name, attributes, _ in events:
        if name == "cellXfs":
            in_cell_formats = attributes is not None
        elif attributes is not None and name == "numFmt":
            codes[int(attributes["numFmtId"])] = attributes.get("formatCode", "")
        elif attributes is not None and name == "xf" and in_cell_formats:
            number = int(attributes.get("numFmtId", "0"))
            formats.append(format_reason(number, codes.get(number)))
    return formats
