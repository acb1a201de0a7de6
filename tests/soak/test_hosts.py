"""The soak on several hosts in short; ``python -m tests.soak hosts``, as root, runs the full soak."""

from collections.abc import Mapping

import pytest

from tests.soak import hosts
from tests.soak.host_stage import Result


@pytest.fixture(scope="module")
def results() -> Mapping[str, Result]:
    """Run one scenario of each kind, on one stage."""
    return {result.kind: result for result in hosts.run(short=True)}


@pytest.mark.parametrize("kind", ["partition", "refresh", "failover", "restore"])
def test_hosts_disturbed_pay_everything_once(results: Mapping[str, Result], kind: str) -> None:
    assert results[kind].good, results[kind]
