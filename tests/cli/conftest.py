"""Fixtures: a clean environment, a sandbox on loopback, and a function that runs a command line."""

from collections.abc import Callable, Iterator

import pytest
from attrs import frozen

from paystar_async.cli import main
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.sandbox.server import running
from tests.support import delete_paystar_variables


@frozen
class CommandResult:
    """The result of a command line."""

    status: int
    out: str
    err: str


Run = Callable[..., CommandResult]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all credentials, and make the terminal so wide that no line is wrapped."""
    delete_paystar_variables(monkeypatch)
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> CommandResult:
        capsys.readouterr()
        status = main(arguments)
        captured = capsys.readouterr()
        return CommandResult(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        yield sandbox, base_url


@pytest.fixture
def sandbox(served: tuple[Sandbox, str], monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Return a sandbox on loopback whose credentials are in the environment."""
    sandbox, base_url = served
    sandbox.reset()
    for name, value in client_environment(sandbox, base_url):
        monkeypatch.setenv(name, value)
    return sandbox
