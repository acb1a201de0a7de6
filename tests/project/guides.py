"""Guides as the tests see them: their blocks of code, markers, headings and links."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import attrs
from markdown_it import MarkdownIt
from markdown_it.token import Token

DOCS = Path(__file__).parents[2] / "paystar_async" / "docs"
_MARKER = re.compile(r"<!--\s*(not run|file|check)\b:?\s*(.*?)\s*-->", re.DOTALL)


@attrs.frozen
class Block:
    """A block of code in a guide.

    Attributes:
        language: the word after the fence; ``check`` for a hidden check.
        source: the code.
        line: the number of lines above the code.
        file: the name that a ``file`` marker gives, or None.
        reason: the reason that a ``not run`` marker gives, or None.
    """

    language: str
    source: str
    line: int
    file: str | None = None
    reason: str | None = None


@attrs.frozen
class Guide:
    """A guide: its name below ``docs/``, its text, blocks of code, anchors of headings, and links."""

    name: str
    text: str
    blocks: tuple[Block, ...]
    anchors: frozenset[str]
    links: tuple[str, ...]


def guide_paths() -> list[Path]:
    """Return the files of all guides, the index excepted."""
    return sorted(path for path in DOCS.rglob("*.md") if path != DOCS / "index.md")


def read_guide(path: Path) -> Guide:
    """Read a guide.

    Raises:
        ValueError: a marker stands in front of no block.
    """
    text = path.read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    try:
        blocks = tuple(_blocks(tokens))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    links = tuple(
        str(child.attrs[name])
        for token in tokens
        for child in token.children or ()
        for name in ("href", "src")
        if name in child.attrs
    )
    return Guide(path.name, text, blocks, frozenset(_anchors(tokens)), links)


def _blocks(tokens: list[Token]) -> Iterator[Block]:
    markers: dict[str, str] = {}
    for token in tokens:
        line = token.map[0] if token.map else 0
        if token.type == "html_block":
            for kind, content in _MARKER.findall(token.content):
                if kind == "check":
                    yield Block("check", content, line + 1)
                else:
                    markers[kind] = content
        elif token.type == "fence":
            yield Block(token.info.strip(), token.content, line + 1, markers.get("file"), markers.get("not run"))
            markers = {}
        elif markers:
            raise ValueError(f"line {line + 1}: a marker stands in front of no block: {markers}")
    if markers:
        raise ValueError(f"a marker stands in front of no block: {markers}")


def _anchors(tokens: list[Token]) -> Iterator[str]:
    """Yield the anchor of each heading, as code hosts make it: lower case, dashes for spaces, no punctuation."""
    seen: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or ())
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = seen[anchor] = seen.get(anchor, -1) + 1
            yield f"{anchor}-{count}" if count else anchor
