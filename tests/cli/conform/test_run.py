"""The run of the probes: its rate."""

from pathlib import Path

from paystar_async.cli.conform.run import ConformRun, RunOptions
from paystar_async.sandbox import Sandbox
from tests.support import QuickClock


async def test_run_waits_between_requests(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = QuickClock()
    options = RunOptions(record=tmp_path / "x", interval=1.5, refresh=False, create=False, callback=None, subject={})
    await ConformRun(options, clock).run()
    assert clock.slept == [1.5] * (sandbox.request_counts.total() - 1)
