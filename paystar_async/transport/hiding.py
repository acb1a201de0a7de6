"""What a server says, without our secrets, which one that echoes its input puts into it."""

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from paystar_async.errors.text import visible
from paystar_async.transport import codec
from paystar_async.values.mask import scrub
from paystar_async.values.secret import Secret

LONGEST, LONGEST_SHOWN = 4_000, 1_000
"""Characters of a server's text that are looked at, and that are kept."""


class Hiding:
    """Hides secrets and personal numbers in what a server says.

    Args:
        secrets: no text may show them.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._secrets = _pattern(secrets)
        self._harmless: set[str] = set()

    def shown(self, text: str) -> str:
        """The text without them, cut to a length one can read."""
        if text in self._harmless:
            return text
        # Twice: a secret that holds an invisible mark is found as it is, one that a mark was put into without it.
        cut = visible(self._secrets.sub("***", text[:LONGEST]))
        shown = scrub(self._secrets.sub("***", cut))[:LONGEST_SHOWN]
        # A server says the same few things all day; the expressions take longer than reading the answer.
        if shown == text and len(text) < 100 and len(self._harmless) < 100:
            self._harmless.add(text)
        return shown


def _pattern(secrets: Iterable[Secret]) -> re.Pattern[str]:
    """What finds secrets in a text, as they stand, in a query string and in JSON; and every signature."""
    forms: set[str] = set()
    for text in (one.reveal() for one in secrets):
        forms |= {text, quote(text), quote(text, safe=""), quote_plus(text), quote_plus(text, safe="/")}
        once = _escaped(text)
        forms |= once.union(*map(_escaped, once))  # a body that is quoted in a JSON text is escaped twice
    # The longest first: one secret may be the beginning of another.
    known = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(f"[0-9a-f]{{128}}|{known}" if known else "[0-9a-f]{128}", re.IGNORECASE)


def _escaped(text: str) -> set[str]:
    plain, ascii_alone = codec.dumps(text).decode()[1:-1], json.dumps(text)[1:-1]
    return {plain, ascii_alone, ascii_alone.replace("/", r"\/")}
