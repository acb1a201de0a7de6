"""The mark in a sandbox's credentials, and texts that only look like one."""

import pytest

from paystar_async.values.sandbox_mark import has_sandbox_mark, mark_for_sandbox

MARKED = mark_for_sandbox("key", "0123456789abcdef")


@pytest.mark.parametrize("kind", ["key", "signkey"])
@pytest.mark.parametrize("digits", ["00000000", "f" * 128])
def test_sandbox_mark_is_recognized(kind: str, digits: str) -> None:
    assert has_sandbox_mark(mark_for_sandbox(kind, digits))


def test_sandbox_mark_is_stable() -> None:
    """A client recognizes the credentials of a sandbox of another version."""
    assert MARKED == "sandbox-key-0123456789abcdef-363abb5a679ccb88"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sandbox",
        "sandbox-key-0123456789abcdef",
        "sandbox-key-0123456789abcdef-0000000000000000",
        MARKED.upper(),
        MARKED.replace("key", "password"),
        MARKED.replace("0123", "0124"),
        MARKED + "0",
        MARKED[:-1],
        MARKED + "\n",
        " " + MARKED,
        f"{MARKED} {MARKED}",
        f"real-secret {MARKED}",
        f"{MARKED}-real-secret",
        MARKED.replace("1", "\N{FULLWIDTH DIGIT ONE}"),
        MARKED.replace("1", "\N{EXTENDED ARABIC-INDIC DIGIT ONE}"),
        MARKED.replace("s", "\N{LATIN SMALL LETTER LONG S}", 1),
        MARKED.replace("-", "\N{HYPHEN}"),
        MARKED.replace("-", "\N{ZERO WIDTH JOINER}-", 1),
    ],
)
def test_sandbox_mark_lookalike_is_not_recognized(text: str) -> None:
    assert not has_sandbox_mark(text)
