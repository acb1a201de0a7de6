"""The bank's list of transfers, newest first, read page by page while new transfers keep arriving."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import aclosing

import anyio

from paystar_async.errors import BadAnswer
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.product import Product

PAGE_SIZE = 500
FINDS_AT_ONCE = 4
MAX_STALE_PAGES = 5
MAX_ENTRIES = 5_000_000
"""Longer than any list of a deposit account: a service that invents entries must not be read for ever."""
_TAIL_SIZE = 2_000

EntryKey = tuple[str, str]
"""The hashid and the track_id of an entry: two transfers may share a hashid."""

Fetch = Callable[[int], Awaitable[Sequence[Settlement]]]
"""Returns the page that begins behind the first ``skip`` entries of the list; an empty page is the end."""


class NoListError(LookupError):
    """Raised by ``walk`` for a product whose transfers cannot be listed, only found by track_id: a wallet's."""


def entry_key(entry: Settlement) -> EntryKey | None:
    """Return the hashid and the track_id of an entry, or None if it has no hashid to be recognised by.

    Args:
        entry: an entry of the bank's list.
    """
    return (entry.hashid, entry.track_id or "") if entry.hashid else None


async def walk(
    product: Product, deposit: str, *, timeout: float, known: Container[EntryKey] = frozenset()
) -> AsyncGenerator[Sequence[Settlement], None]:
    """Walk the bank's list of a deposit account, newest first, each entry once, to its end; break to stop earlier.

    A transfer that is accepted while the list is walked is not necessarily seen. The end is an empty page: a page that
    is shorter than was asked for may have more behind it.

    Args:
        product: bank transfers of an application.
        deposit: the deposit account the transfers leave.
        timeout: seconds one page may take.
        known: keys of entries that an earlier walk has seen; the page that has one of these is the last. An entry
            without a hashid is never known.

    Yields:
        The entries of a page that no earlier page had, never none.

    Raises:
        NoListError: the product has no list; nothing was asked, and nothing is known of what is absent.
        BadAnswer: the list does not go on, whatever is skipped; what was yielded holds, what is behind is not known.
        StatusError, NotSent, Unanswered: a page could not be had; what was yielded holds.

    Source: GET /bank-transfer/settlement-requests
    """

    async def fetch(skip: int) -> Sequence[Settlement]:
        page = await product.list(deposit, PAGE_SIZE, skip, timeout)
        if page is None:
            raise NoListError(f"transfers of a {product.name} cannot be listed")
        return page

    async with aclosing(pages(fetch)) as walked:
        async for page in walked:
            yield page
            if any(key in known for entry in page if (key := entry_key(entry)) is not None):
                return


async def pages(fetch: Fetch) -> AsyncGenerator[Sequence[Settlement], None]:
    """Walk a list that ``fetch`` gives a page of, each entry once.

    Args:
        fetch: returns the page behind so many skipped entries.

    Yields:
        The entries of a page that no earlier page had, never none.

    Raises:
        BadAnswer: the list does not go on, whatever is skipped.
    """
    walked = _Walked()
    skip = stale_pages = largest = 0
    while page := await fetch(skip):
        largest = max(largest, len(page))
        fresh = walked.add(page)
        if fresh:
            yield fresh
        # Transfers that arrived meanwhile stand before known entries. Only behind these does a list go on.
        stale_pages = 0 if fresh and fresh[-1] is page[-1] else stale_pages + 1
        if stale_pages == MAX_STALE_PAGES:
            largest = max(largest, len(await fetch(0)))
        # So many arrive between two requests that no page is empty; this one had room for what is behind it.
        if not fresh and len(page) < largest and walked.ends_with(page):
            return
        if stale_pages == MAX_STALE_PAGES or skip > MAX_ENTRIES:
            raise BadAnswer("$.data", "the list does not go on, whatever is skipped", executed="no")
        skip += len(page)


async def find_each(
    product: Product, track_ids: Iterable[str], *, timeout: float
) -> Mapping[str, Sequence[Settlement]]:
    """Look transfers up by their track_ids, a few at once.

    Args:
        product: what is paid out.
        track_ids: whom to ask about.
        timeout: seconds each request may take.

    Returns:
        The entries of the response about each track_id; whose they are, each entry says itself.

    Raises:
        StatusError, NotSent, Unanswered, BadAnswer: one could not be looked up; the others are left off.

    Source: GET /bank-transfer/settlement-requests, GET /wallet/settlement-requests
    """
    found: dict[str, Sequence[Settlement]] = {}
    failures: list[Exception] = []
    remaining = iter(track_ids)

    async def look_up(scope: anyio.CancelScope) -> None:
        for track_id in remaining:
            try:
                found[track_id] = await product.find(track_id, timeout)
            except Exception as error:  # a group would wrap it in one of its own
                failures.append(error)
                scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(FINDS_AT_ONCE):
            group.start_soon(look_up, group.cancel_scope)
    if failures:
        raise failures[0]
    return found


class _Walked:
    """Entries of a list that were seen, to recognise those that a shift of the list brings again."""

    def __init__(self) -> None:
        self._keys: set[EntryKey] = set()
        self._tail: list[tuple[str, ...]] = []

    def add(self, page: Sequence[Settlement]) -> list[Settlement]:
        """Return the entries of the next page that no earlier page had."""
        places = [_place(entry) for entry in page]
        start, end = self._overlap(places)
        self._tail = (places[:start] + self._tail + places[end:])[-_TAIL_SIZE:]
        fresh: list[Settlement] = []
        of_page: dict[EntryKey, list[Settlement]] = {}
        for entry in (*page[:start], *page[end:]):
            key = entry_key(entry)
            if key is None:
                fresh.append(entry)
            # What one page says of an entry twice, and not alike, is a contradiction the caller must see.
            elif key not in self._keys and entry not in (same := of_page.setdefault(key, [])):
                same.append(entry)
                fresh.append(entry)
        self._keys |= of_page.keys()
        return fresh

    def ends_with(self, page: Sequence[Settlement]) -> bool:
        """Return True if the last entry of a page is the last one of the list that was seen."""
        return self._tail[-1] == _place(page[-1])

    def _overlap(self, places: Sequence[tuple[str, ...]]) -> tuple[int, int]:
        """Return where in a page the entries begin and end that were the last ones seen.

        Entries without a hashid are recognised by their place alone.
        """
        tail, size = self._tail, len(places)
        for start, place in enumerate(tail):
            if place == places[0] and tail[start : start + size] == places[: len(tail) - start]:
                return 0, min(size, len(tail) - start)
        for start, place in enumerate(places):  # more have arrived than were seen
            if tail and place == tail[0] and places[start : start + len(tail)] == tail[: size - start]:
                return start, min(size, start + len(tail))
        return 0, 0


def _place(entry: Settlement) -> tuple[str, ...]:
    return entry_key(entry) or ("", entry.track_id or "", entry.ref_code or "")
