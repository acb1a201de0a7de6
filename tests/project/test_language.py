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

FORBIDDEN_NAME = re.compile(
    r"_*(one|it|made|held|found|given|kept|asked|told|said|word|theirs|ours|mine|whose|things?|everything|nobody"
    r"|somebody)_*",
    re.IGNORECASE,
)
"""Variables, parameters and attributes are named by nouns for their content."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def source_files(tree: str) -> list[Path]:
    """Return the modules of a tree, without this module, which spells the words."""
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


def assigned_names(node: ast.AST) -> list[str]:
    """Return the names of the variables, parameters and attributes that a node assigns."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
            return [name]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case _:
            return []


def forbidden_names(source: str) -> list[tuple[int, str]]:
    """Return the line and the name of each forbidden name that a module assigns."""
    return [
        (getattr(node, "lineno", 0), name)
        for node in ast.walk(ast.parse(source))
        for name in assigned_names(node)
        if FORBIDDEN_NAME.fullmatch(name)
    ]


@pytest.mark.parametrize(
    "source",
    [
        "one = 1",
        "def f(one): ...",
        "lambda *, one: one",
        "self._one = 1",
        "for one in []: ...",
        "class C:\n one: int",
        "try: ...\nexcept E as one: ...",
        "match x:\n case [*one]: ...",
        "match x:\n case int() as one: ...",
        "ONE = 1",
    ],
)
def test_forbidden_names_finds_every_kind_of_assignment(source: str) -> None:
    assert [name.strip("_").lower() for _, name in forbidden_names(source)] == ["one"]


def test_forbidden_names_ignores_uses_and_longer_names() -> None:
    assert forbidden_names("print(one, self.one)\nfrom x import given\nkeyword = one_time = f(one=1)") == []


@pytest.mark.parametrize("tree", ["paystar_async", "tests", "benchmarks"])
def test_forbidden_names_are_absent(tree: str) -> None:
    places = {
        str(path.relative_to(ROOT)): names
        for path in source_files(tree)
        if (names := forbidden_names(path.read_text("utf-8")))
    }
    assert places == {}


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
