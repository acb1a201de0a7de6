"""What a server says, without our secrets, which one that echoes its input puts into it."""

import json
import re
from collections.abc import Iterable
from threading import Lock
from urllib.parse import quote, quote_plus

from paystar_async.errors.text import visible
from paystar_async.transport import codec
from paystar_async.values.mask import scrub
from paystar_async.values.secret import Secret

LONGEST, LONGEST_SHOWN = 4_000, 1_000
"""Characters of a server's text that are looked at, and that are kept."""
MAX_KEYS = 16
"""Keys hidden beside the configured secrets: two for each of three realms, and those that they replaced."""


class Hiding:
    """Hides secrets and personal numbers in what a server says.

    Args:
        secrets: what no text may show.
    """

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._secrets, self._keys = tuple(secrets), tuple[Secret, ...]()
        self._lock = Lock()
        self._hide(self._secrets)

    def _hide(self, secrets: tuple[Secret, ...]) -> None:
        # A server says the same few things all day, and the expressions take longer than reading the response. One
        # tuple, since loops in other threads read it: a text that one pattern leaves alone may show a newer key.
        self._pattern_and_harmless = _pattern(secrets), set[str]()
        self._hidden = frozenset(secrets)  # last: ``add`` trusts it in other threads

    def add(self, key: Secret) -> None:
        """Hide a key in use, too; of the keys added, the last ``MAX_KEYS`` are hidden."""
        if key in self._hidden:
            return
        with self._lock:
            self._keys = (*self._keys, key)[-MAX_KEYS:]
            self._hide((*self._secrets, *self._keys))

    def shown(self, text: str) -> str:
        """Return the text without them, cut to a length one can read."""
        pattern, harmless = self._pattern_and_harmless
        if text in harmless:
            return text
        # Twice: a secret that holds an invisible mark is found as it is, one that a mark was put into without it.
        cut = visible(pattern.sub("***", text[:LONGEST]))
        shown = scrub(pattern.sub("***", cut))[:LONGEST_SHOWN]
        if shown == text and len(text) < 100 and len(harmless) < 100:
            harmless.add(text)
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
