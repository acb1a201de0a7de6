"""The soak of key refreshes in short; ``python -m tests.soak keys`` runs the full soak."""

from collections.abc import Callable, Iterator

import pytest

from tests.soak import auth_middleware, keys

Stores = dict[str, Callable[[], str]]
each_store = pytest.mark.parametrize("store", ["sqlite", "redis", "postgres"])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with keys.shared_stores(tmp_path_factory.mktemp("stores")) as shared:
        yield shared


@each_store
def test_refresh_by_many_processes_is_once_per_expiry(stores: Stores, store: str) -> None:
    refreshes, outcomes = keys.expiries(stores[store](), processes=4, tasks=20, calls=3)
    assert refreshes == 3
    assert dict(outcomes) == {"answered": 4 * 20 * 3 * 3}


@each_store
def test_refresh_owner_killed_before_store_is_detected(stores: Stores, store: str) -> None:
    report = keys.kills(stores[store], 25)
    assert report.healed == report.killed == 25
    assert report.detected == 50  # by the first client and by the second
    assert report.wiped == 0
    assert report.max_probes == 1
    assert report.events["refresh_token_rejected"] == 25


@each_store
def test_refresh_owner_killed_delays_others_by_lease(stores: Stores, store: str) -> None:
    assert keys.takeover_seconds(stores[store](), lease_seconds=1.5) <= 1.5 + 2


@each_store
@pytest.mark.parametrize("style", keys.STYLES)
def test_refresh_cancelled_caller_loses_no_key(stores: Stores, store: str, style: keys.Style) -> None:
    assert keys.cancellations(stores[store](), style, 50) == 0


async def test_refresh_after_clock_jump_is_once_and_fails_no_call() -> None:
    for name, jump in await auth_middleware.clock_jumps():
        assert (name, jump.failed) == (name, 0)
        assert jump.refreshes <= 1
        assert jump.refused <= 1


async def test_auth_middleware_hot_call_reads_no_store() -> None:
    assert await auth_middleware.hot_call_cost(calls=100, rounds=1) < 1e6  # raises if the store is read
