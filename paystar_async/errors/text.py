"""Sanitising of texts from outside: a server, a file, a database driver, a caller."""

import unicodedata
from types import CoroutineType

ZERO_WIDTH_NON_JOINER = "\u200c"
"""The only format character that is kept, because Persian spelling needs it."""

_SHOWN_AS = {"Cc": " ", "Zl": " ", "Zp": " ", "Cf": "", "Cs": "\ufffd"}
"""Replacements by Unicode category: controls, line breaks, invisible format characters, half surrogates."""


class _Replacements(dict[int, str | int]):
    # Nothing is cached, because a server could fill a cache with a million characters.
    def __missing__(self, code: int) -> str | int:
        return _SHOWN_AS.get(unicodedata.category(chr(code)), code)


_REPLACEMENTS = _Replacements({ord(ZERO_WIDTH_NON_JOINER): ZERO_WIDTH_NON_JOINER})


def visible(text: str) -> str:
    """Return ``text`` as one line that is safe to print and to log.

    Control characters (C0, C1, escape sequences' first byte) and line breaks become a space, half surrogates become
    U+FFFD, and invisible format and direction characters are removed, except the zero-width non-joiner of Persian.
    """
    return text if text.isprintable() else text.translate(_REPLACEMENTS)


def describe_type(value: object) -> str:
    """Return what an object is, and nothing of its content: ``None``, ``a str``, ``the class Policy``."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return with_article(
        "coroutine, which was not awaited" if isinstance(value, CoroutineType) else type(value).__name__
    )


def with_article(name: str) -> str:
    """Return the name of a class with its article: ``a Policy``, ``an int``."""
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name}"
