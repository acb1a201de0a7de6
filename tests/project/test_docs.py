"""The guides in ``paystar_async/docs/``: their examples run, their links resolve, and the index names each.

The convention for a guide:

- It begins with a title and one line that says what the guide covers; has at most 8 kB (``reference.md`` excepted);
  and has a line in ``index.md``: ``- [Title](name.md): one line``; then run ``python -m paystar_async.describe``.
- Every ```` ```python ```` block runs, top to bottom, in one namespace per guide that is empty at first. The
  environment holds what ``paystar sandbox`` prints (``PAYSTAR_BASE_URL``, credentials, ``PAYSTAR_DATABASE``) and leads
  to a sandbox whose transfers are decided at once, so ``Paystar.from_env()`` works. The working directory is new and
  empty.
- ``await`` and ``async with`` may stand at the top of a block; so may ``asyncio.run(main())``: a block with no
  ``await`` at its top runs outside of any event loop. The first block of a guide is a script, without ``await`` at its
  top. A client that is still open after the last block is closed.
- A block with functions ``test_…`` runs in a pytest of its own with the plugin's fixtures, in the working directory.
- A comment in front of a block changes that. ``<!-- not run: REASON -->``, with a reason of ``REASONS``, only compiles
  the block. ``<!-- file: shop.py -->``, for a block of any language, writes it into the working directory before the
  first block runs; a Python file is imported by later blocks or by tests, and not run otherwise.
- A check that readers do not see, after a block: ``<!-- check`` on a line, code, ``-->`` on a line. It runs in the same
  namespace, where ``printed`` is what the block before it printed, and ``sandbox`` is the ``Sandbox`` behind the
  environment: ``sandbox.pay(url)`` pays as a payer and returns the fields of the callback. Checks assert; blocks do not
  rely on the names they set.
- Each FastAPI, Starlette and aiohttp application that a block calls ``app`` is started and stopped after the last
  block; if it has a route ``/buy``, a payer buys, pays and comes back to the route ``paystar_callback``.
- A guide that names ``DATABASE_URL`` or ``REDIS_URL`` has them in its environment: a new schema of a PostgreSQL, and a
  Redis (the guide is skipped where there is none).
- A ``paystar`` command in an ```` ```sh ```` block is parsed by the command's own parser, and not run.
- Relative links lead to guides and their headings; links into the repository are absolute, and are checked too.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from paystar_async.cli.app import make_app, normalize_names
from paystar_async.sandbox import Sandbox
from tests.project.guide_run import GuideRun, compile_block, sandbox_environment
from tests.project.guides import DOCS, Block, Guide, guide_paths, read_guide
from tests.project.test_language import FORBIDDEN_WORDS
from tests.support import delete_paystar_variables

MAX_GUIDE_BYTES = 8_000
REASONS = {
    "needs the live service",
    "needs a server of another program",
    "runs until it is stopped",
    "part of another program's file",
    "shows a mistake",
}
"""The reasons for which a block may be left out."""

ROOT = DOCS.parents[1]
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Source"]
GUIDES = guide_paths()
RUNNABLE = ("python", "check")


def guide_id(path: Path) -> str:
    return str(path.relative_to(DOCS).with_suffix(""))


def is_test_module(block: Block) -> bool:
    """Return True if a block defines tests."""
    return block.language == "python" and bool(re.search(r"^(async )?def test_", block.source, re.MULTILINE))


@pytest.fixture
def guide_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Sandbox]:
    """Serve a sandbox, and lead the environment to it as the lines of ``paystar sandbox`` do."""
    text = request.node.callspec.params["path"].read_text(encoding="utf-8")
    if "DATABASE_URL" in text:
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_schema"))
    if "REDIS_URL" in text:
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("redis_server").url)
    with sandbox_environment(monkeypatch, tmp_path) as sandbox:
        yield sandbox


@pytest.mark.parametrize("path", GUIDES, ids=guide_id)
def test_guide_python_blocks_run(
    path: Path, guide_environment: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    guide = read_guide(path)
    write_files(guide, Path.cwd())
    modules = set(sys.modules)
    run = GuideRun(path, module, guide_environment)
    try:
        for block in guide.blocks:
            if block.language in RUNNABLE and not (block.reason or block.file or is_test_module(block)):
                run.run(block, capsys.readouterr().out)
    finally:
        run.close()
        for name in set(sys.modules) - modules:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(Path.cwd()):
                del sys.modules[name]


def write_files(guide: Guide, folder: Path) -> None:
    """Write the blocks that are files into a folder."""
    for block in guide.blocks:
        if block.file:
            file = folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.source, encoding="utf-8")


WITH_TESTS = [path for path in GUIDES if any(map(is_test_module, read_guide(path).blocks))]


@pytest.mark.parametrize("path", WITH_TESTS, ids=guide_id)
def test_guide_tests_pass(path: Path, guide_environment: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    delete_paystar_variables(monkeypatch)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    guide = read_guide(path)
    write_files(guide, Path.cwd())
    blocks = [block for block in guide.blocks if is_test_module(block) and not block.reason]
    for number, block in enumerate(blocks):
        Path(block.file or f"test_block_{number}.py").write_text(block.source, encoding="utf-8")
    options = ["-q", "-W", "error", "-p", "no:paystar", "-p", "paystar_async.testing", "-p", "no:schemathesis"]
    settings = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    process = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *settings], capture_output=True, text=True, check=False
    )
    functions = sum(len(re.findall(r"^(?:async )?def test_", block.source, re.MULTILINE)) for block in blocks)
    assert process.returncode == 0, process.stdout
    passed = re.search(r"(\d+) passed", process.stdout)
    assert passed is not None
    assert int(passed[1]) >= functions


@pytest.mark.parametrize("path", GUIDES, ids=guide_id)
def test_guide_left_out_blocks_have_known_reasons(path: Path) -> None:
    for block in read_guide(path).blocks:
        assert block.reason is None or block.reason in REASONS
        if block.language == "python":
            compile_block(block, path)


@pytest.mark.parametrize("path", GUIDES, ids=guide_id)
def test_guide_first_example_is_a_script(path: Path) -> None:
    examples = [block for block in read_guide(path).blocks if block.language == "python"]
    for block in examples[:1]:
        compile(block.source, str(path), "exec")  # a first ``await`` at the top could not be pasted into a file


@pytest.mark.parametrize("path", [ROOT / "README.md", *GUIDES], ids=lambda path: path.stem)
def test_guide_commands_are_valid(path: Path) -> None:
    for arguments in paystar_commands(read_guide(path)):
        make_app().parse_args(list(normalize_names(arguments)), exit_on_error=False, print_error=False)


def paystar_commands(guide: Guide) -> Iterator[list[str]]:
    """Yield the arguments of each ``paystar`` command in the shell blocks of a guide."""
    for block in guide.blocks:
        lines = block.source.replace("\\\n", " ").splitlines() if block.language == "sh" else []
        for line in lines:
            tokens = shlex.split(line, comments=True)
            if tokens[:1] == ["paystar"]:
                yield list(takewhile(lambda token: token not in ("|", "&", "&&", ">", ">>"), tokens[1:]))


@pytest.mark.parametrize("path", [DOCS / "index.md", *GUIDES], ids=guide_id)
def test_guide_links_resolve(path: Path) -> None:
    for link in read_guide(path).links:
        assert broken_part(link, path) is None, link


def broken_part(link: str, path: Path) -> str | None:
    """Return what a link of a file names and does not exist; None if it resolves or leads to another site."""
    address = urlsplit(link)
    if address.scheme:
        prefix = rf"{re.escape(REPOSITORY)}/(?:blob|raw|tree)/main/([^#?]+)"
        match = re.match(prefix, link)
        return link if match and not (ROOT / match[1]).exists() else None
    target = (path.parent / address.path).resolve() if address.path else path
    if not (target.is_file() and target.is_relative_to(DOCS)):
        return address.path
    has_anchors = (
        target.suffix == ".md" and target.name != "index.md"
    )  # the README takes the place of index.md on the site
    anchors = read_guide(target).anchors if has_anchors else frozenset[str]()
    return address.fragment if address.fragment and address.fragment not in anchors else None


@pytest.mark.parametrize("path", [path for path in GUIDES if path.name != "reference.md"], ids=guide_id)
def test_guide_size_is_bounded(path: Path) -> None:
    assert path.stat().st_size <= MAX_GUIDE_BYTES


@pytest.mark.parametrize("path", GUIDES, ids=guide_id)
def test_guide_begins_with_title_and_summary(path: Path) -> None:
    text = path.read_text("utf-8").replace('<div dir="rtl" lang="fa" markdown>\n\n', "")
    title, blank, summary, *_ = text.splitlines()
    assert title.startswith("# ")
    assert not blank
    assert summary[0].isalnum()


@pytest.mark.parametrize("path", [DOCS / "index.md", *GUIDES], ids=guide_id)
def test_guide_has_no_forbidden_words(path: Path) -> None:
    assert FORBIDDEN_WORDS.findall(path.read_text("utf-8")) == []


def test_index_names_every_guide_once() -> None:
    lines = re.findall(r"^- \[.+?\]\(([\w/-]+)\.md\): \S", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(lines) == sorted(guide_id(path) for path in GUIDES)


def test_every_example_application_is_linked_from_a_guide() -> None:
    folder = ROOT / "tests" / "examples"
    names = {path.stem.removeprefix("test_") for path in folder.glob("test_*.py")}
    applications = {name for name in names if any(folder.glob(f"{name}*"))}
    links = {link.partition("/tests/examples/")[2] for path in GUIDES for link in read_guide(path).links}
    assert len(applications) >= 6
    assert applications - {re.split(r"[./]", link)[0] for link in links} == set()


class TestConvention:
    """What the tests themselves catch, with guides written for it."""

    def run(self, text: str, tmp_path: Path, sandbox: Sandbox) -> None:
        path = tmp_path / "guide.md"
        path.write_text(text, encoding="utf-8")
        run = GuideRun(path, ModuleType("guide"), sandbox)
        try:
            for block in read_guide(path).blocks:
                run.run(block, "7\n")
        finally:
            run.close()

    @pytest.mark.parametrize(
        "code", ["import asyncio\nasyncio.run(asyncio.sleep(0))", "import asyncio\nawait asyncio.sleep(0)"]
    )
    def test_run_accepts_await_and_asyncio_run(self, code: str, tmp_path: Path) -> None:
        self.run(f"```python\n{code}\n```\n<!-- check\nassert printed == '7\\n'\n-->\n", tmp_path, Sandbox())

    def test_run_failing_check_names_line_of_guide(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError) as caught:
            self.run("# A guide\n\n```python\nx = 1\n```\n\n<!-- check\nassert x == 2\n-->\n", tmp_path, Sandbox())
        assert caught.traceback[-1].lineno == 7

    def test_marker_without_block_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="in front of no block"):
            self.run("<!-- not run: shows a mistake -->\n\nA sentence.\n", tmp_path, Sandbox())

    def test_paystar_commands_finds_options_and_ends_at_pipe(self, tmp_path: Path) -> None:
        path = tmp_path / "guide.md"
        path.write_text("```sh\npaystar call wallet \\\n  balance --raw | jq # all\n```\n", encoding="utf-8")
        assert list(paystar_commands(read_guide(path))) == [["call", "wallet", "balance", "--raw"]]

    @pytest.mark.parametrize(
        ("link", "broken"),
        [
            ("index.md", None),
            ("index.md#start", "start"),
            ("#versions", None),
            ("#none", "none"),
            ("none.md", "none.md"),
            ("../endpoint.py", "../endpoint.py"),
            ("https://example.com/none", None),
            (f"{REPOSITORY}/blob/main/CHANGELOG.md", None),
            (f"{REPOSITORY}/blob/main/NONE.md", f"{REPOSITORY}/blob/main/NONE.md"),
        ],
    )
    def test_broken_part_finds_missing_file_and_heading(self, link: str, broken: str | None) -> None:
        assert broken_part(link, DOCS / "versioning.md") == broken
