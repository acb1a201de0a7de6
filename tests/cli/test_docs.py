"""``paystar docs``: guides found by topic, rendered for the terminal or unchanged."""

import re
from importlib.resources import files

import pytest

from paystar_async.cli.docs import guide_summaries, read_guide
from tests.cli.conftest import Run

DOCS = files("paystar_async") / "docs"


def test_docs_renders_guide_of_topic(run: Run) -> None:
    result = run("docs", "versioning")
    assert (result.status, result.err) == (0, "")
    assert "What is stable" in result.out
    assert "## What is stable" not in result.out, "Markdown is rendered"


def test_docs_without_topic_renders_index(run: Run) -> None:
    assert "what a new version may change" in run("docs").out


def test_docs_raw_prints_file_unchanged(run: Run) -> None:
    assert run("docs", "versioning", "--raw").out == (DOCS / "versioning.md").read_text(encoding="utf-8")


def test_docs_list_prints_one_line_a_guide(run: Run) -> None:
    lines = run("docs", "--list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(guide_summaries())
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lines}) == 1, "the summaries are aligned"


def test_docs_narrow_terminal_cuts_off_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert "…" not in run("docs", "reference").out.partition("paystar.wallet")[0], "long paths are folded"
    code = next(line for line in read_guide("reference").splitlines() if line.startswith("        match = "))
    assert len(code) > 60
    assert code in run("docs", "reference").out.splitlines(), "a line of code stays a line"


@pytest.mark.parametrize("name", guide_summaries())
def test_docs_renders_every_listed_guide(name: str, run: Run) -> None:
    result = run("docs", name)
    title = re.findall("^# (.+)$", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert (result.status, result.err) == (0, "")
    assert title.replace("`", "") in result.out
    assert "<!--" not in result.out


@pytest.mark.parametrize(
    ("topic", "hint"),
    [("verzioning", "did you mean versioning?"), ("zzz", "see paystar docs --list"), ("../../client", "see paystar")],
)
def test_docs_unknown_topic_names_nearest(topic: str, hint: str, run: Run) -> None:
    result = run("docs", topic)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"paystar: there is no guide '{topic}' – {hint}")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("topic", ["versioning.md", "VERSIONING"])
def test_docs_accepts_file_name_and_capitals(topic: str, run: Run) -> None:
    assert run("docs", topic, "--raw").out == run("docs", "versioning", "--raw").out
