"""``paystar docs``: the guides, in the terminal."""

import re
import sys
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, TableElement
from rich.syntax import Syntax
from rich.table import Table

from paystar_async.cli.console import guide_console, stdout_console
from paystar_async.errors import ConfigurationError

_INDEX = "index"
_ENTRY = re.compile(r"^- \[.+?\]\((.+?)\.md\): (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.DOTALL | re.MULTILINE)


class _FoldedTable(TableElement):
    """A table that folds long paths instead of cutting them off."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for renderable in super().__rich_console__(console, options):
            for column in renderable.columns if isinstance(renderable, Table) else ():
                column.overflow = "fold"
            yield renderable


class _UnwrappedCode(CodeBlock):
    """A block of code whose long lines the terminal wraps, so that a copied line is a line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        highlighted = Syntax(code, self.lexer_name, theme="ansi_dark").highlight(code)
        highlighted.rstrip()
        highlighted.no_wrap, highlighted.overflow = True, "ignore"
        yield highlighted


class _GuideMarkdown(Markdown):
    elements = {**Markdown.elements, "fence": _UnwrappedCode, "table_open": _FoldedTable}  # noqa: RUF012


def docs(
    topic: Annotated[str, Parameter(help="the guide; without it, the list of all guides")] = _INDEX,
    /,
    *,
    listing: Annotated[
        bool, Parameter(name="--list", negative=(), help="print each topic and what its guide covers, one a line")
    ] = False,
    raw: Annotated[bool, Parameter(negative=(), help="print the guide's Markdown unchanged")] = False,
) -> int:
    """Show a guide: how to take payments, pay out, handle errors, test, deploy, and more.

    The guides are part of the package and need no network.
    """
    if listing:
        for name, summary in guide_summaries().items():
            stdout_console().print(f"{name:<24} {summary}", soft_wrap=True)
    elif raw:
        sys.stdout.write(read_guide(topic))
    else:
        text = _COMMENT.sub("", read_guide(topic))
        guide_console().print(_GuideMarkdown(text, hyperlinks=False), crop=False)
    return 0


def guide_summaries() -> dict[str, str]:
    """Return what each guide covers by its topic, in the order of the index."""
    return dict(_ENTRY.findall(read_guide(_INDEX)))


def read_guide(topic: str) -> str:
    """Return a guide's Markdown.

    Args:
        topic: the guide's name, such as ``payments`` or ``frameworks/fastapi``; its last part is enough.

    Raises:
        ConfigurationError: there is no such guide; the hint names the nearest.
    """
    folder = files("paystar_async") / "docs"
    guides = {_INDEX: folder / f"{_INDEX}.md"}
    if topic != _INDEX:
        guides |= {name: folder / f"{name}.md" for name in guide_summaries()}
    return _find_guide(topic.removesuffix(".md"), guides).read_text(encoding="utf-8")


def _find_guide(topic: str, guides: dict[str, Traversable]) -> Traversable:
    names = {name.rpartition("/")[2]: name for name in reversed(guides)} | {name: name for name in guides}
    if topic.lower() in names:
        return guides[names[topic.lower()]]
    nearest = get_close_matches(topic.lower(), names, n=1)
    hint = f"did you mean {names[nearest[0]]}?" if nearest else "see paystar docs --list"
    raise ConfigurationError(f"there is no guide {topic!r:.60}", hint=hint)
