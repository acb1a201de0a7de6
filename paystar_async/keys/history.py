"""Decide which of two records of one key is newer: after a store lost its record, and after two refreshes."""

import math
from collections import deque

from attrs import evolve

from paystar_async.keys.lease import Lease
from paystar_async.keys.store import KeyRecord
from paystar_async.values.secret import Secret

MAX_PAIRS = 16
"""Replaced pairs that a process remembers; a key is refreshed about twice a day."""

_Pair = tuple[Secret | None, Secret | None, float | None]


class KeyHistory:
    """The key pairs that this process has seen replaced."""

    def __init__(self) -> None:
        self._replaced: deque[_Pair] = deque(maxlen=MAX_PAIRS)

    def add(self, old: KeyRecord, new: KeyRecord) -> None:
        """Remember that the pair of ``new`` replaced the pair of ``old``."""
        if _pair(old) != _pair(new):
            self._replaced.append(_pair(old))

    def is_outdated(self, stored: KeyRecord, own: KeyRecord) -> bool:
        """Return True if the store has an older pair than ``own``: it lost its record, or an older copy was restored.

        Args:
            stored: the record that the store holds now.
            own: the record that this process holds in memory.
        """
        # Only a pair that was issued later replaces another: two processes never restore their pairs in turn.
        if not was_issued_before(stored, own):
            return False
        # Without an order, the times are of clocks that may differ. A restored copy may have any version.
        has_order = stored.order is not None and own.order is not None
        return has_order or stored.version < own.version or _pair(stored) in self._replaced


def merge(stored: KeyRecord, new: KeyRecord, lease: Lease) -> KeyRecord | None:
    """Return the record to store after a refresh during which the store was changed; None: ``stored`` stays.

    Args:
        stored: the record that the store holds now.
        new: the refreshed record.
        lease: the lease of the refresh.
    """
    leased = lease.record
    # Not by the times at which they were issued: the clocks of two hosts may differ by hours.
    if stored.token == leased.token or stored.version <= leased.version:
        return new  # the change was a lease, a mark, or an older pair restored in a store that had lost its record
    if stored.refresh_token == leased.refresh_token != new.refresh_token:
        # A key was replaced from outside, and kept the refresh token that this refresh has spent.
        return evolve(stored, refresh_token=new.refresh_token, refresh_rejected=False)
    return None


def order_after(replaced: KeyRecord, now: float) -> float:
    """Return the order of a pair that replaces another: ``now``, or later if that pair came from a clock ahead."""
    return max(now, _order(replaced) + 1)


def was_issued_before(record: KeyRecord, other: KeyRecord) -> bool:
    """Return True if ``record`` is older than ``other``; a record of unknown age is older than all others."""
    return _order(record) < _order(other)


def _pair(record: KeyRecord) -> _Pair:
    return record.token, record.refresh_token, record.issued_at


def _order(record: KeyRecord) -> float:
    order = record.issued_at if record.order is None else record.order
    return -math.inf if order is None else order
