"""Deselect the soak on several hosts where they cannot be simulated, and report the reason."""

import pytest

from tests.soak.network import why_unavailable

_FILE = "test_hosts.py"
_DESELECTED = pytest.StashKey[str]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the soak on several hosts unless this machine can simulate them; ``.ci/run`` runs the soak as root."""
    hosts = [item for item in items if item.path.name == _FILE]
    if hosts and (reason := why_unavailable()) is not None:
        config.stash[_DESELECTED] = reason
        config.hook.pytest_deselected(items=hosts)
        items[:] = [item for item in items if item not in hosts]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report why the soak on several hosts was deselected."""
    if (reason := config.stash.get(_DESELECTED, None)) is not None:
        terminalreporter.write_line(f"tests/soak/{_FILE} was deselected: {reason}")
