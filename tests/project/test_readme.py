"""The README: its examples run, its links are absolute and resolve, and its commands are marked."""

import re
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

from tests.project.guide_run import GuideRun, sandbox_environment
from tests.project.guides import Block, read_guide
from tests.project.test_docs import broken_part
from tests.project.test_language import FORBIDDEN_WORDS
from tests.project.test_release import PROJECT

PATH = Path(__file__).parents[2] / "README.md"
README = read_guide(PATH)
MAX_README_BYTES = 12_000
MAX_EXAMPLE_LINES = 15
EXAMPLES = [block for block in README.blocks if block.language == "python"]
PRINTED = (r"paid: \w+ 50000\n", r"Succeeded\(track_id=.*\)\n", r"(Succeeded 1404-08-\d+\n){30}.*: 30 success \(.*\)\n")
"""What each example prints; the first when its shop is visited."""


@pytest.mark.parametrize(("block", "printed"), [*zip(EXAMPLES, PRINTED, strict=True)])
def test_readme_example_runs_unchanged(
    block: Block, printed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(block.source.splitlines()) <= MAX_EXAMPLE_LINES
    with sandbox_environment(monkeypatch, tmp_path) as sandbox:
        run = GuideRun(PATH, ModuleType("example"), sandbox)
        run.run(block, "")
        run.close()
    assert re.fullmatch(printed, capsys.readouterr().out)


def test_readme_links_are_absolute_and_resolve() -> None:
    assert [link for link in README.links if not link.startswith(("https://", "http://127.0.0.1:"))] == []
    assert [link for link in README.links if broken_part(link, PATH)] == []


def test_readme_references_are_defined() -> None:
    html = MarkdownIt("commonmark").enable("table").render(README.text)
    assert "[" not in re.sub(r"<(pre|code)\b.*?</\1>", "", html, flags=re.DOTALL)


def test_readme_names_every_extra() -> None:
    installed = README.text.partition("async[")[2].partition("]")[0].split(",")
    named = {*re.findall(r"`([a-z0-9]+)`", README.text), *installed}
    assert PROJECT["optional-dependencies"].keys() - named == {"bench", "dev"}


def test_readme_has_no_forbidden_words() -> None:
    assert FORBIDDEN_WORDS.findall(README.text) == []


def test_readme_size_is_bounded() -> None:
    assert PATH.stat().st_size <= MAX_README_BYTES


def test_readme_commands_are_marked() -> None:
    for name in ("demo", "test"):
        assert f"<!-- {name} command -->\n```sh\npython3 -m venv .venv && " in README.text
