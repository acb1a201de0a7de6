"""The pager of a growing list whose entries may lack ids, and the track_ids that a wallet stores."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paystar_async.errors import InvalidResponse
from paystar_async.listing import MAX_STALE_PAGES, PAGE_SIZE, Fetch, entry_key, pages, parse_wallet_track_id
from paystar_async.models.transfers import Settlement, TransferStatus


def entry(number: int, **fields: Any) -> Settlement:
    status = TransferStatus.SUCCESS
    values = dict[str, Any](hashid=f"h{number}", track_id=f"t{number}", status=status, ref_code=f"r{number}")
    return Settlement(**(values | fields))


class Listing:
    """A bank's list, newest first, to whose front ``arriving`` entries are added after each request.

    Args:
        entries: newest first.
        arriving: number of transfers that are paid between two requests.
        cap: maximum entries of a page.
        skips: whether the service applies ``skip``.
    """

    def __init__(
        self, entries: list[Settlement], *, arriving: int = 0, cap: int = PAGE_SIZE, skips: bool = True
    ) -> None:
        self.entries, self.arriving, self.cap, self.skips = list(entries), arriving, cap, skips
        self.skipped: list[int] = []

    async def fetch(self, skip: int) -> Sequence[Settlement]:
        self.skipped.append(skip)
        start = skip if self.skips else 0
        page = self.entries[start : start + self.cap]
        for _number in range(self.arriving):
            self.entries.insert(0, entry(10**6 + len(self.entries)))
        return page


def script(*script_pages: Sequence[Settlement]) -> Fetch:
    """Return a fetch that returns these pages in order."""
    remaining = iter(script_pages)

    async def fetch(_skip: int) -> Sequence[Settlement]:
        return next(remaining)

    return fetch


async def read_all(fetch: Fetch, **limits: int) -> list[Settlement]:
    return [entry async for page in pages(fetch, **limits) for entry in page]


async def test_pages_reads_full_pages_until_empty_page() -> None:
    entries = [entry(number) for number in range(1200)]
    listing = Listing(entries)
    assert await read_all(listing.fetch) == entries
    assert listing.skipped == [0, 500, 1000, 1200]


async def test_pages_short_server_pages_reach_end() -> None:
    entries = [entry(number) for number in range(120)]
    listing = Listing(entries, cap=50)
    assert await read_all(listing.fetch) == entries
    assert listing.skipped == [0, 50, 100, 120]


@given(count=st.integers(0, 60), arriving=st.integers(0, 8), cap=st.integers(9, 30), without_hashid=st.booleans())
@example(count=41, arriving=8, cap=10, without_hashid=False)
@example(count=3, arriving=3, cap=30, without_hashid=False)
def test_pages_growing_list_yields_each_entry_once(count: int, arriving: int, cap: int, without_hashid: bool) -> None:
    hashid = {"hashid": None} if without_hashid else {}
    entries = [entry(number, **hashid) for number in range(count)]
    listing = Listing(entries, arriving=arriving, cap=cap)
    yielded = asyncio.run(read_all(listing.fetch))
    assert [item for item in yielded if item in entries] == entries
    assert len(yielded) == len({item.ref_code for item in yielded})


@pytest.mark.parametrize("hashid", ["shared", "", None])
async def test_pages_shared_or_empty_hashid_keeps_every_transfer(hashid: str | None) -> None:
    entries = [entry(number, hashid=hashid) for number in range(30)]
    assert await read_all(Listing(entries, cap=7).fetch) == entries


async def test_pages_page_of_only_new_transfers_keeps_going() -> None:
    """More transfers are added between two requests than a page holds."""
    entries = [entry(number) for number in range(40)]
    listing = Listing(entries, arriving=9, cap=10)
    yielded = await read_all(listing.fetch)
    assert [item for item in yielded if item in entries] == entries


@pytest.mark.parametrize("arriving", [0, 3])
@pytest.mark.parametrize("count", [3, 700])
async def test_pages_ignored_skip_raises_invalid_response(count: int, arriving: int) -> None:
    listing = Listing([entry(number) for number in range(count)], skips=False, arriving=arriving)
    with pytest.raises(InvalidResponse, match="does not go on") as caught:
        await read_all(listing.fetch)
    assert caught.value.executed == "no"
    assert len(listing.skipped) == 2 + MAX_STALE_PAGES


async def test_pages_contradiction_on_one_page_yields_both() -> None:
    contradiction = [entry(1), entry(1, status=TransferStatus.FAILED), entry(2), entry(2)]
    assert await read_all(Listing(contradiction).fetch) == contradiction[:3]


async def test_pages_entry_out_of_place_is_yielded_once() -> None:
    fetch = script([entry(1), entry(2), entry(3)], [entry(2), entry(4), entry(5)], [])
    assert await read_all(fetch) == [entry(number) for number in range(1, 6)]


@pytest.mark.parametrize("hashid", ["h", None])
async def test_pages_failed_then_success_yields_both(hashid: str | None) -> None:
    """A failure that the bank corrects while the list is read must not remain the result."""
    failed, paid = (entry(2, hashid=hashid, status=TransferStatus(status)) for status in ("failed", "success"))
    assert await read_all(script([entry(1), failed], [paid, entry(3)], [paid], [])) == [
        entry(1),
        failed,
        paid,
        entry(3),
    ]
    assert await read_all(script([entry(1), paid], [failed, entry(3)], [])) == [entry(1), paid, entry(3)]


async def test_pages_max_pages_ends_there() -> None:
    listing = Listing([entry(number) for number in range(100)], cap=10)
    assert len(await read_all(listing.fetch, max_pages=3)) == 30
    assert listing.skipped == [0, 10, 20]


@pytest.mark.parametrize("arriving", [0, 3])
async def test_pages_max_pages_ends_where_list_does_not_go_on(arriving: int) -> None:
    listing = Listing([entry(number) for number in range(40)], cap=10, skips=False, arriving=arriving)
    assert (await read_all(listing.fetch, max_pages=10))[:10] == [entry(number) for number in range(10)]
    assert len(listing.skipped) == 2 + MAX_STALE_PAGES


@pytest.mark.parametrize(("complete_below", "requests"), [(10, 2 + MAX_STALE_PAGES), (11, 2)])
async def test_pages_repeated_page_is_complete_only_below(complete_below: int, requests: int) -> None:
    listing = Listing([entry(number) for number in range(40)], cap=10, skips=False)
    assert len(await read_all(listing.fetch, max_pages=10, complete_below=complete_below)) == 10
    assert len(listing.skipped) == requests


async def test_pages_left_early_sends_no_more_requests() -> None:
    listing = Listing([entry(number) for number in range(1200)])
    async with aclosing(pages(listing.fetch)) as page_stream:
        async for page in page_stream:
            assert len(page) == PAGE_SIZE
            break
    assert listing.skipped == [0]


def test_entry_key_shared_hashid_differs_by_track_id() -> None:
    assert entry_key(entry(1, hashid="shared")) != entry_key(entry(2, hashid="shared"))
    assert entry_key(entry(1, hashid="")) is entry_key(entry(1, hashid=None)) is None


TRACK_IDS = st.text(st.sampled_from("ab1*-"), min_size=1, max_size=12)


@given(track_id=TRACK_IDS, number=st.integers(1, 10**9), hashid=TRACK_IDS)
def test_parse_wallet_track_id_returns_sent_form(track_id: str, number: int, hashid: str) -> None:
    assert parse_wallet_track_id(f"{hashid}*{track_id}*{number}", hashid) == track_id


@given(stored=TRACK_IDS, number=st.integers(1, 10**9))
def test_parse_wallet_track_id_of_other_wallet_is_unchanged(stored: str, number: int) -> None:
    assert parse_wallet_track_id(stored, "w123") == stored
    assert parse_wallet_track_id(f"w124*{stored}*{number}", "w123") == f"w124*{stored}*{number}"
