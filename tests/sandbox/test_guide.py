"""The guide to the sandbox server: its commands run in a shell, and its image on a host of its own."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.project.guides import DOCS, Guide, read_guide
from tests.soak.network import run_inside, why_unavailable
from tests.support import environment_without_paystar

GUIDE: Guide = read_guide(DOCS / "sandbox.md")
FILES = {block.file: block.source for block in GUIDE.blocks if block.file}
BIN = Path(sys.executable).parent


def run_in_shell(script: str, folder: Path) -> str:
    """Run a script for which a sandbox was started, and return what it prints."""
    script_file = folder / "script.sh"
    script_file.write_text(f"set -euo pipefail\n{script}")
    environment = environment_without_paystar()
    completed = subprocess.run(
        [BIN / "python", "-m", "paystar_async", "sandbox", "--", "bash", "script.sh"],
        cwd=folder,
        env=environment | {"PATH": f"{folder}:{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(DOCS.parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the command ``paystar`` of this checkout."""
    command = tmp_path / "paystar"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m paystar_async "$@"\n')
    command.chmod(0o755)
    return tmp_path


def test_sandbox_guide_commands_run(folder: Path) -> None:
    printed = run_in_shell(
        "\n".join(block.source for block in GUIDE.blocks if block.language in ("sh", "bash")), folder
    )
    assert "WalletBalance(" in printed
    assert '"iban":"IR570790000000850774361353"' in printed
    assert '"price":50000.0' in printed
    assert '"kind":"reset_after"' in printed
    assert '"/pardakht/verify"' in (folder / "paystar.json").read_text()
    environment_file = dict(line.split("=", 1) for line in (folder / "sandbox.env").read_text().splitlines()[1:])
    assert environment_file["PAYSTAR_BASE_URL"] == "http://paystar:8000/api"
    assert "PAYSTAR_DATABASE" not in environment_file


def test_sandbox_guide_files_fit_together() -> None:
    compose = yaml.safe_load(FILES["compose.yaml"])
    assert compose["services"]["paystar"]["build"]["dockerfile"] in FILES
    assert compose["services"]["shop"]["env_file"] == "sandbox.env"
    assert "paystar" in image_command()
    assert f"EXPOSE {compose['services']['paystar']['ports'][0].split(':')[-1]}" in FILES["Containerfile"]


def image_command() -> list[str]:
    """Return the command that a container of the guide's image runs."""
    lines = dict(line.split(" ", 1) for line in FILES["Containerfile"].splitlines())
    return [*yaml.safe_load(lines["ENTRYPOINT"]), *yaml.safe_load(lines["CMD"])]


def test_sandbox_guide_image_serves_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (reason := why_unavailable()) is not None:
        pytest.skip(reason)
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parents[1]))
    assert run_inside("tests.sandbox.two_hosts", [str(tmp_path), *image_command()[1:]], timeout=120) == 0
    assert (tmp_path / "shop.txt").read_text().splitlines() == [
        "payment Verified at http://paystar:8000",
        "wallet 1000000000000",
        "refused base_url would send keys to paystar unencrypted",
    ]
    assert "gateway.verify  200 status 1" in (tmp_path / "logs.txt").read_text()
