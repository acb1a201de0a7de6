"""The border for texts that come from outside: a server, a file, a database driver, a caller."""

import unicodedata

ZERO_WIDTH_NON_JOINER = "\u200c"
"""A format mark that Persian spelling needs; no other format mark is shown."""

_SHOWN_AS = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": "\ufffd"}
"""By Unicode category: control characters and line breaks, invisible format and direction marks, half surrogates."""


class _Replacements(dict[int, str | int]):
    # Nothing is stored: a server could fill a cache with a million characters.
    def __missing__(self, code: int) -> str | int:
        return _SHOWN_AS.get(unicodedata.category(chr(code)), code)


_REPLACEMENTS = _Replacements({ord(ZERO_WIDTH_NON_JOINER): ZERO_WIDTH_NON_JOINER})


def visible(text: str) -> str:
    """Return ``text`` as one line that a terminal, a log and a reader take for what it is.

    Control characters (C0, C1, escape sequences' first byte) and line breaks become a space, half surrogates become
    U+FFFD, and invisible format and direction marks are removed – except the zero-width non-joiner of Persian.
    """
    return text if text.isprintable() else text.translate(_REPLACEMENTS)
