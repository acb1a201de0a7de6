import os
import signal
from collections.abc import Callable, Iterator

import pytest
from attrs import frozen

from paystar_async.cli import main
from paystar_async.cli.sandbox import exports
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running


@frozen
class Ran:
    """What a command line came to."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account, and a terminal so wide that nothing is wrapped."""
    for name in [name for name in os.environ if name.startswith("PAYSTAR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let child processes take SIGINT, which they inherit as ignored under ``nohup`` and in CI."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        status = main(arguments)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        yield sandbox, base_url


@pytest.fixture
def sandbox(served: tuple[Sandbox, str], monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox on loopback that the environment points to."""
    sandbox, base_url = served
    sandbox.reset()
    for name, value in exports(sandbox, base_url):
        monkeypatch.setenv(name, value)
    return sandbox
