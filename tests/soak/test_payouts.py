"""The soak of payouts in short; ``python -m tests.soak payouts`` runs the full soak."""

from pathlib import Path

import pytest

from tests.servers import PostgresServer
from tests.soak import payouts


def test_payouts_killed_on_sqlite_pay_once(tmp_path: Path) -> None:
    report = payouts.kills_on_sqlite(tmp_path, 25)
    assert report.good, report
    assert report.kills == 25


def test_payouts_killed_on_postgres_pay_once(postgres_server: PostgresServer, tmp_path: Path) -> None:
    report = payouts.kills_on_postgres(postgres_server, tmp_path, 25)
    assert report.good, report
    assert report.kills == 25


def test_payouts_killed_while_waiting_for_turns_pay_once(postgres_server: PostgresServer, tmp_path: Path) -> None:
    report = payouts.kills_on_postgres(postgres_server, tmp_path, 12, rate=4.0)
    assert report.good, report
    assert report.kills == 12


def test_send_after_stop_past_lease_sends_nothing(tmp_path: Path) -> None:
    report = payouts.stops(tmp_path, 1)
    assert report.good, report
    assert (report.caught, report.requests) == (1, 1)


def test_payouts_full_disk_loses_no_transfer(tmp_path: Path) -> None:
    report = payouts.full_disks(tmp_path, 2)
    assert report.good, report
    assert report.notes["stuck"] > 0


@pytest.mark.parametrize("style", payouts.STYLES)
def test_advance_cancelled_caller_loses_no_record(tmp_path: Path, style: payouts.Style) -> None:
    report = payouts.cancellations(tmp_path, style, 50)
    assert report.good, report
