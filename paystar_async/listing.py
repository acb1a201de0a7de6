"""Read a list page by page while it grows at its front, each entry once."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from paystar_async.errors import BadAnswer
from paystar_async.models.transfers import Settlement

MAX_STALE_PAGES = 5
MAX_ENTRIES = 5_000_000
"""Longer than any list of a deposit account: a service that invents entries must not be read for ever."""
_TAIL_SIZE = 2_000

EntryKey = tuple[str, str]
"""The hashid and the track_id of an entry: two transfers may share a hashid."""

Fetch = Callable[[int], Awaitable[Sequence[Settlement]]]
"""Returns the page that begins behind the first ``skip`` entries of the list; an empty page is the end."""


def entry_key(entry: Settlement) -> EntryKey | None:
    """Return the hashid and the track_id of an entry, or None if it has no hashid to be recognised by.

    Args:
        entry: an entry of the bank's list.
    """
    return (entry.hashid, entry.track_id or "") if entry.hashid else None


def own_track_id(stored: str, hashid: str) -> str:
    """Return the track_id that was sent to a wallet, which the service keeps as ``hashid*track_id*n``.

    Args:
        stored: the track_id of an entry, in that form or as it was sent.
        hashid: the wallet's.
    """
    inner, _, number = stored.removeprefix(f"{hashid}*").rpartition("*")
    return inner if stored.startswith(f"{hashid}*") and inner and number.isdecimal() else stored


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
