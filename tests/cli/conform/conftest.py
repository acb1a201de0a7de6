"""Fixtures: a served sandbox of its own, its environment, and ``paystar conform`` in a folder of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.sandbox.server import running
from tests.cli.conftest import CommandResult, Run

Conform = Callable[..., CommandResult]


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        for name, value in client_environment(sandbox, base_url, str(tmp_path / "unused.db")):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PAYSTAR_KEYS", str(tmp_path / "keys.db"))
        yield sandbox


@pytest.fixture
def conform(run: Run, tmp_path: Path) -> Conform:
    record = str(tmp_path / "shapes.jsonl")
    return lambda *options: run("conform", "--record", record, "--interval", "0", *options)
