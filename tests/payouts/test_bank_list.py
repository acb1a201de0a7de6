"""The walk along the bank's list, which grows while it is read and may not say which entry is which."""

import asyncio
from collections.abc import Sequence, Set
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paystar_async.endpoint import Response
from paystar_async.errors import BadAnswer
from paystar_async.listing import MAX_STALE_PAGES, EntryKey, entry_key, pages
from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settlement, TransferStatus
from paystar_async.payouts.bank_list import PAGE_SIZE, NoListError, find_each, walk
from paystar_async.payouts.product import Bank, Product, WalletPayouts

DEPOSIT = "0111234567890"


def entry(number: int, **fields: Any) -> Settlement:
    status = TransferStatus.SUCCESS
    given = dict[str, Any](hashid=f"h{number}", track_id=f"t{number}", status=status, ref_code=f"r{number}")
    return Settlement(**(given | fields))


class Listing:
    """A bank's list, newest first, that ``arriving`` entries are put on after each request.

    Args:
        entries: newest first.
        arriving: transfers that are paid between two requests.
        cap: entries of a page at most.
        skips: whether the service heeds ``skip``.
    """

    def __init__(
        self, entries: list[Settlement], *, arriving: int = 0, cap: int = PAGE_SIZE, skips: bool = True
    ) -> None:
        self.entries, self.arriving, self.cap, self.skips = list(entries), arriving, cap, skips
        self.skipped: list[int] = []

    async def deliver(self, value: Call[Any], *_: object) -> Response[Any]:
        assert isinstance(value, FindTransfers)
        if value.track_id is not None:
            found = [one for one in self.entries if one.track_id == value.track_id]
            return Response(value=found, status="ok", message="", http_status=200, headers={}, body=b"")
        assert (value.deposit, value.track_id, value.limit) == (DEPOSIT, None, PAGE_SIZE)
        skip = value.skip or 0
        self.skipped.append(skip)
        start = skip if self.skips else 0
        page = self.entries[start : start + min(self.cap, PAGE_SIZE)]
        for _number in range(self.arriving):
            self.entries.insert(0, entry(10**6 + len(self.entries)))
        return Response(value=page, status="ok", message="", http_status=200, headers={}, body=b"")

    @property
    def product(self) -> Product:
        return Bank(self.deliver, "app-1")


async def walked(listing: Listing, known: Set[EntryKey] = frozenset()) -> list[Settlement]:
    return [one async for page in walk(listing.product, DEPOSIT, timeout=1.0, known=known) for one in page]


async def test_walk_pages_of_500_to_the_empty_page() -> None:
    entries = [entry(number) for number in range(1200)]
    listing = Listing(entries)
    assert await walked(listing) == entries
    assert listing.skipped == [0, 500, 1000, 1200]


async def test_walk_server_gives_fewer_than_asked_reaches_end() -> None:
    entries = [entry(number) for number in range(120)]
    listing = Listing(entries, cap=50)
    assert await walked(listing) == entries
    assert listing.skipped == [0, 50, 100, 120]


@given(count=st.integers(0, 60), arriving=st.integers(0, 8), cap=st.integers(9, 30), nameless=st.booleans())
@example(count=41, arriving=8, cap=10, nameless=False)
@example(count=3, arriving=3, cap=30, nameless=False)
def test_walk_growing_list_yields_each_entry_once(count: int, arriving: int, cap: int, nameless: bool) -> None:
    hashid = {"hashid": None} if nameless else {}
    entries = [entry(number, **hashid) for number in range(count)]
    listing = Listing(entries, arriving=arriving, cap=cap)
    seen = asyncio.run(walked(listing))
    assert [one for one in seen if one in entries] == entries
    assert len(seen) == len({one.ref_code for one in seen})


@pytest.mark.parametrize("hashid", ["shared", "", None])
async def test_walk_shared_or_empty_hashid_keeps_every_transfer(hashid: str | None) -> None:
    entries = [entry(number, hashid=hashid) for number in range(30)]
    assert await walked(Listing(entries, cap=7)) == entries


async def test_walk_page_of_only_new_transfers_keeps_going() -> None:
    """More arrive between two requests than a page holds."""
    entries = [entry(number) for number in range(40)]
    listing = Listing(entries, arriving=9, cap=10)
    seen = await walked(listing)
    assert [one for one in seen if one in entries] == entries


@pytest.mark.parametrize("arriving", [0, 3])
@pytest.mark.parametrize("count", [3, 700])
async def test_walk_list_that_ignores_skip_raises_bad_answer(count: int, arriving: int) -> None:
    listing = Listing([entry(number) for number in range(count)], skips=False, arriving=arriving)
    with pytest.raises(BadAnswer, match="does not go on") as caught:
        await walked(listing)
    assert caught.value.executed == "no"
    assert len(listing.skipped) == 2 + MAX_STALE_PAGES


async def test_walk_contradiction_on_one_page_yields_both() -> None:
    said_twice = [entry(1), entry(1, status=TransferStatus.FAILED), entry(2), entry(2)]
    assert await walked(Listing(said_twice)) == said_twice[:3]


async def test_pages_entry_out_of_place_is_yielded_once() -> None:
    script = iter([[entry(1), entry(2), entry(3)], [entry(2), entry(4), entry(5)], []])

    async def fetch(skip: int) -> Sequence[Settlement]:
        return next(script)

    assert [one async for page in pages(fetch) for one in page] == [entry(number) for number in range(1, 6)]


async def test_walk_left_early_asks_for_no_more() -> None:
    listing = Listing([entry(number) for number in range(1200)])
    async with aclosing(walk(listing.product, DEPOSIT, timeout=1.0)) as walking:
        async for page in walking:
            assert len(page) == PAGE_SIZE
            break
    assert listing.skipped == [0]


async def test_walk_known_entry_ends_after_its_page() -> None:
    listing = Listing([entry(number) for number in range(1200)])
    known = {key for one in await walked(listing) if (key := entry_key(one))}
    arrived = [entry(5000 + number) for number in range(700)]
    listing.entries[:0] = arrived
    listing.skipped.clear()
    caught_up = await walked(listing, known)
    assert caught_up[:700] == arrived
    assert listing.skipped == [0, 500]


async def test_walk_known_hashid_of_other_transfer_goes_on() -> None:
    listing = Listing([entry(number, hashid="shared") for number in range(30)], cap=10)
    assert len(await walked(listing, {("shared", "another"), ("", "t1")})) == 30


async def test_walk_wallet_has_no_list_raises_instead_of_ending() -> None:
    listing = Listing([])
    with pytest.raises(NoListError, match="wallet"):
        await anext(walk(WalletPayouts(listing.deliver, "w-1"), "", timeout=1.0))
    assert listing.skipped == []


async def test_find_each_returns_entries_by_track_id() -> None:
    listing = Listing([entry(1), entry(2), entry(2, hashid="other")])
    found = await find_each(listing.product, (f"t{number}" for number in range(1, 9)), timeout=1.0)
    assert {name: len(entries) for name, entries in found.items()} == {
        "t1": 1,
        "t2": 2,
        **{f"t{number}": 0 for number in range(3, 9)},
    }
