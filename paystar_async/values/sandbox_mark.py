"""The mark in a sandbox's credentials, by which a client recognizes that they protect play money only."""

import hashlib
import re

_MARKED = re.compile(r"(sandbox-[a-z]+-[0-9a-f]{8,128})-([0-9a-f]{16})")
_CHECK_CHARACTERS = 16


def mark_for_sandbox(kind: str, digits: str) -> str:
    """Return an id or secret of a sandbox: ``sandbox-KIND-DIGITS-CHECK``.

    Args:
        kind: lowercase letters, such as ``key``.
        digits: 8 to 128 lowercase hexadecimal digits.
    """
    stem = f"sandbox-{kind}-{digits}"
    return f"{stem}-{_check_digits(stem)}"


def has_sandbox_mark(text: str) -> bool:
    """Return True if ``mark_for_sandbox`` made the whole text.

    The check digits keep a real secret that begins with ``sandbox-`` from being taken for a sandbox's.
    """
    match = _MARKED.fullmatch(text)
    return match is not None and match[2] == _check_digits(match[1])


def _check_digits(stem: str) -> str:
    return hashlib.sha256(f"paystar_async sandbox mark:{stem}".encode()).hexdigest()[:_CHECK_CHARACTERS]
