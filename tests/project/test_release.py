"""The release machinery: notes from the changelog, versions that agree, extras and Pythons that are all named."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from paystar_async import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TOOL_EXTRAS = {"all", "bench", "dev", "docs"}


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow by the name of its file."""
    document: dict[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text("utf-8"))
    return document


def release_step(name: str) -> str:
    """Return the command of a step of the release's build."""
    steps = workflow("release.yml")["jobs"]["build"]["steps"]
    return next(str(step["run"]) for step in steps if step.get("name") == name)


def write_notes(tag: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the step that writes the notes as the runner does: by bash with pipefail, beside the changelog."""
    (folder / "CHANGELOG.md").write_bytes((ROOT / "CHANGELOG.md").read_bytes())
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", release_step("Write the notes")]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "TAG": tag}
    return subprocess.run(bash, cwd=folder, env=environment, capture_output=True, text=True)


def test_release_notes_are_section_of_tag(tmp_path: Path) -> None:
    process = write_notes("v0.1.0", tmp_path)

    assert process.returncode == 0, process.stderr
    notes = (tmp_path / "notes.md").read_text("utf-8")
    section = re.split(r"^## .*\n", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    body = next(text for text in section if "asyncio client for every endpoint" in text)
    assert notes.startswith("### Added\n\n- ")
    assert notes.count("\n- ") == body.count("\n- ")
    assert not re.search(r"^ +\w", notes, re.MULTILINE), "a wrapped line would be broken on the page of the release"


def test_release_notes_unknown_version_fails(tmp_path: Path) -> None:
    assert write_notes("v99.0.0", tmp_path).returncode != 0


def test_changelog_has_dated_section_of_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", headings[1])
    for version in re.findall(r"^## \[(.+?)\]", text, re.MULTILINE):
        assert f"\n[{version}]: {PROJECT['urls']['Source']}/" in text


def test_all_extra_names_every_user_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    named = {extra for line in extras["all"] for extra in Requirement(line).extras}
    assert named == extras.keys() - TOOL_EXTRAS


def test_python_classifiers_equal_tested_versions() -> None:
    tested = workflow("ci.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    classifiers = [line for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert [line.rsplit(" ", 1)[1] for line in classifiers] == tested
    assert PROJECT["requires-python"] == f">={tested[0]}"


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.*")), ids=lambda path: path.name)
def test_github_files_link_to_one_repository(path: Path) -> None:
    repository = PROJECT["urls"]["Source"].removeprefix("https://github.com/")
    links = re.findall(r"https://github\.com/([\w.-]+/[\w.-]+)", path.read_text("utf-8"))
    assert set(links) <= {repository}


def test_observation_form_demands_shapes_not_values() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/live-wire-observation.yml").read_text("utf-8"))
    fields = {field["id"]: field for field in form["body"] if "id" in field}
    assert "never values" in form["body"][0]["attributes"]["value"]
    assert fields["shape"]["validations"]["required"]
    assert all(option["required"] for option in fields["no-values"]["attributes"]["options"])
