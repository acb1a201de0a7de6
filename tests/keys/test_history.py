"""Key history: which of two records of a key is newer."""

from itertools import pairwise, product

import pytest
from attrs import evolve

from paystar_async import Secret
from paystar_async.keys.history import MAX_PAIRS, KeyHistory, merge
from paystar_async.keys.lease import Lease
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.runtime.clock import ManualClock

SEED = KeyRecord(version=1, token=Secret("key-0"), refresh_token=Secret("refresh-0"))

PANEL = KeyRecord(version=3, token=Secret("panel"), refresh_token=Secret("refresh-panel"), issued_at=6000.0)
"""A pair that the operator stored during the refresh; the lease has version 2."""


def pair(number: int, *, version: int = 1) -> KeyRecord:
    """Return the pair of the refresh ``number``; one refresh happens each hour."""
    token, refresh_token = Secret(f"key-{number}"), Secret(f"refresh-{number}")
    return KeyRecord(version=version, token=token, refresh_token=refresh_token, issued_at=number * 3600.0)


def history_of(*records: KeyRecord) -> KeyHistory:
    history = KeyHistory()
    for old, new in pairwise(records):
        history.add(old, new)
    return history


@pytest.mark.parametrize(
    ("stored", "own", "is_outdated"),
    [
        (pair(2, version=9), pair(2, version=4), False),  # the same pair, leased
        (pair(2, version=1), pair(2, version=9), False),  # the same pair, restored by another process
        (pair(3, version=9), pair(2, version=4), False),  # refreshed elsewhere
        (pair(3, version=1), pair(2, version=9), False),  # restored by another process with a newer pair
        (pair(1, version=1), pair(2, version=9), True),  # restored by another process with an older pair
        (pair(1, version=9), pair(2, version=4), True),  # an older pair that was changed often since
        (SEED, pair(2, version=9), True),  # the configured record of a new process
        (evolve(SEED, version=9), pair(2, version=4), True),
        (KeyRecord(version=1, token=Secret("other seed")), pair(2, version=9), True),
        (KeyRecord(version=9, token=Secret("from the panel"), issued_at=2.5 * 3600), pair(2, version=4), False),
        (KeyRecord(version=1, token=Secret("other seed")), evolve(SEED, version=5), False),  # newly configured
        (evolve(pair(9), order=1.0), evolve(pair(2, version=9), order=2.0), True),  # of a clock that was ahead
        (evolve(pair(7, version=9), order=1.0), evolve(pair(8), order=2.0), True),  # yesterday's copy, often changed
        (evolve(pair(8), order=2.0), evolve(pair(7, version=9), order=1.0), False),
        (evolve(pair(1), order=9e9), pair(2, version=9), False),
    ],
)
def test_is_outdated_compares_stored_and_own_record(stored: KeyRecord, own: KeyRecord, is_outdated: bool) -> None:
    assert history_of(SEED, pair(1), pair(2)).is_outdated(stored, own) is is_outdated


def test_is_outdated_is_never_true_in_both_processes() -> None:
    """Otherwise the processes would replace each other's pair forever."""
    records = [SEED, pair(1), pair(2), evolve(pair(2), token=Secret("twin"), version=7), KeyRecord(version=3)]
    for first, second in product(records, records):
        first_history, second_history = history_of(second, first), history_of(first, second)
        assert not (first_history.is_outdated(second, first) and second_history.is_outdated(first, second))


def test_is_outdated_forgets_pairs_beyond_maximum() -> None:
    records = [pair(number) for number in range(MAX_PAIRS + 3)]
    history, own = history_of(*records), evolve(records[-1], version=4)

    assert not history.is_outdated(evolve(records[0], version=9), own)
    assert history.is_outdated(evolve(records[-2], version=9), own)


async def lease_of(record: KeyRecord) -> Lease:
    store, clock = MemoryKeyStore(ManualClock()), ManualClock()
    stored = await store.commit(KeyId("application", "app-1"), 0, "", record)
    assert stored is not None
    lease = await Lease.acquire(store, clock, KeyId("application", "app-1"), 1, "me")
    assert lease is not None
    return lease


@pytest.mark.parametrize(
    ("stored", "merged"),
    [
        (evolve(pair(1), refresh_rejected=True, version=5), pair(2)),  # a mark
        (SEED, pair(2)),  # restored in a store that had lost the leased record
        (evolve(pair(0), version=2), pair(2)),  # restored and leased in such a store
        (pair(3, version=4), None),  # refreshed by another process that took over the lease
        (
            evolve(PANEL, refresh_token=Secret("refresh-1"), refresh_rejected=True),
            evolve(PANEL, refresh_token=Secret("refresh-2")),
        ),
        (PANEL, None),
        (evolve(PANEL, issued_at=-7200.0), None),  # replaced on a host whose clock is hours behind
    ],
)
async def test_merge_keeps_the_refreshed_key(stored: KeyRecord, merged: KeyRecord | None) -> None:
    lease = await lease_of(pair(1))

    assert merge(stored, pair(2), lease) == merged
