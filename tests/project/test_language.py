"""The wording of the project: forbidden words in docstrings, comments and names, and the length of test names."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_TEST_NAME_LENGTH = 60
MAX_FORBIDDEN_WORDS = {"paystar_async": 20, "tests": 60}
"""Few words have a good use; new ones are to be replaced, not allowed for."""

FORBIDDEN_WORDS = re.compile(
    r"\b(told|tells? of|untold|said|lay by|laid by|hang up|whoever|so many|so-manieth|at the most|is none|of yours"
    r"|of ours|rings?\b(?! buffer)|onion|renew(?:s|ed|al|als)?|for a person|by and by|comes to|brought|meanwhile|knocks"
    r"|nobody|somebody)\b",
    re.IGNORECASE,
)

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def source_files(tree: str) -> list[Path]:
    """Return the modules of a tree, without this one, which has to spell the words."""
    return [path for path in sorted((ROOT / tree).rglob("*.py")) if path != Path(__file__)]


def wording(source: str) -> Iterator[str]:
    """Yield the comments, docstrings and names of classes and functions of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Definition | ast.Module):
            yield ast.get_docstring(node) or ""
        if isinstance(node, Definition):
            yield node.name.replace("_", " ")


def forbidden_words(source: str) -> list[str]:
    return [match.lower() for text in wording(source) for match in FORBIDDEN_WORDS.findall(text)]


def test_forbidden_words_finds_comments_docstrings_and_names() -> None:
    source = '''
def hang_up() -> None:  # whoever
    """Told of it."""
    "a text that was said is no docstring"
'''
    assert sorted(forbidden_words(source)) == ["hang up", "told", "whoever"]


@pytest.mark.parametrize("tree", MAX_FORBIDDEN_WORDS)
def test_forbidden_words_stay_within_limit(tree: str) -> None:
    counts = {
        str(path.relative_to(ROOT)): Counter(forbidden_words(path.read_text("utf-8"))) for path in source_files(tree)
    }
    assert sum(count.total() for count in counts.values()) <= MAX_FORBIDDEN_WORDS[tree], {
        path: dict(count) for path, count in counts.items() if count
    }


def test_test_names_have_at_most_60_characters() -> None:
    names = [
        node.name
        for path in source_files("tests")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    long_names = [name for name in names if len(name) > MAX_TEST_NAME_LENGTH]
    assert not long_names
