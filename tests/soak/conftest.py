"""Where several hosts cannot be played, their soak is left out, and it says so."""

import pytest

from tests.soak.network import why_unavailable

_FILE = "test_hosts.py"
_LEFT_OUT = pytest.StashKey[str]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the soak on several hosts unless this machine can play them; ``.ci/run`` runs it as root."""
    hosts = [item for item in items if item.path.name == _FILE]
    if hosts and (reason := why_unavailable()) is not None:
        config.stash[_LEFT_OUT] = reason
        config.hook.pytest_deselected(items=hosts)
        items[:] = [item for item in items if item not in hosts]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why it was left out."""
    if (reason := config.stash.get(_LEFT_OUT, None)) is not None:
        terminalreporter.write_line(f"tests/soak/{_FILE} was left out: {reason}")
