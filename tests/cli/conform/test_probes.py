"""The probes: their names, and that nothing is changed without an option."""

import pytest

from paystar_async.cli.conform.probes import PROBES, Probe


def test_probes_have_unique_names() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)


def test_probes_that_change_something_need_an_option() -> None:
    changing = {probe.name for probe in PROBES if "refresh the" in probe.announcement or "create" in probe.announcement}
    assert changing == {probe.name for probe in PROBES if probe.needs}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_probe_announcement_says_why_nothing_moves(probe: Probe) -> None:
    reasons = ("reads only", "is refused", "is never paid", "the new key is stored")
    assert any(reason in probe.announcement for reason in reasons)
