"""The run of the probes: its rate, and probes that move nothing by their endpoints."""

from pathlib import Path

from paystar_async.cli.conform.probes import PROBES
from paystar_async.cli.conform.run import ConformRun, RunOptions
from paystar_async.sandbox import Sandbox
from tests.support import QuickClock


async def test_run_waits_between_requests(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = QuickClock()
    options = RunOptions(record=tmp_path / "x", interval=1.5, refresh=False, create=False, callback=None, subject={})
    await ConformRun(options, clock).run()
    assert clock.slept == [1.5] * (sandbox.request_counts.total() - 1)


def test_probes_have_unique_names() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)


def test_probes_that_change_something_need_an_option() -> None:
    changing = {probe.name for probe in PROBES if "refresh the" in probe.announcement or "create" in probe.announcement}
    assert changing == {probe.name for probe in PROBES if probe.needs}
