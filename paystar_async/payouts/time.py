"""The ledger's time: leases and quiet windows are spans, and no clock that is set may shorten one.

A server tells its own time. For a file, the wall clock says once per boot of the machine when this is, and that is
written down; from then on only the monotonic clock counts, in this process and in those that come after it. So a wall
clock that jumps changes nothing, neither under a running process nor between two of them.
"""

from paystar_async.clock import Clock, boot_of
from paystar_async.storage.database import Database

_FIND = "SELECT held FROM paystar_payout_settings WHERE name = 'clock'"
_LATEST = "SELECT MAX(at) AS at FROM paystar_payout_events"
_KEEP = """
INSERT INTO paystar_payout_settings (name, held) VALUES ('clock', :held)
ON CONFLICT (name) DO UPDATE SET held = excluded.held WHERE paystar_payout_settings.held = :before
"""


async def start_of_time(database: Database, clock: Clock) -> float:
    """What is to be added to the monotonic clock to have the ledger's time.

    Args:
        database: the ledger's, laid out.
        clock: this machine's; where it does not say which boot it counts from, its wall clock is asked anew.

    Returns:
        Seconds since 1970 at which the monotonic clock stood at 0.
    """
    start = clock.time() - clock.monotonic()
    boot = boot_of(clock)
    if boot is None or (await database.fetch("SELECT CAST(:now AS DOUBLE PRECISION) AS at", {"now": 0.0}))[0]["at"]:
        return start
    while True:
        rows = await database.fetch(_FIND)
        before = rows[0]["held"] if rows else ""
        known, _, text = before.rpartition(" ")
        if known == boot:
            return float(text)
        # Another boot, or another machine: what passed meanwhile only the wall clock can say. It never goes back.
        latest = (await database.fetch(_LATEST))[0]["at"]
        start = max(start, (latest or 0.0) - clock.monotonic())
        if await database.execute(_KEEP, {"held": f"{boot} {start!r}", "before": before}):
            return start
