"""Read the bank's list page by page while it grows at its front: the only pager of this package."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import count

from paystar_async.errors import InvalidResponse
from paystar_async.models.transfers import Settlement, TransferStatus

PAGE_SIZE = 500
"""Entries to ask for at once: the most that the service gives."""
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


def parse_wallet_track_id(stored: str, hashid: str) -> str:
    """Return the track_id that was sent to a wallet, which the service keeps as ``hashid*track_id*n``.

    Args:
        stored: the track_id of an entry, in that form or as it was sent.
        hashid: the wallet's.
    """
    inner, _, number = stored.removeprefix(f"{hashid}*").rpartition("*")
    return inner if stored.startswith(f"{hashid}*") and inner and number.isdecimal() else stored


async def pages(
    fetch: Fetch, *, max_pages: int | None = None, whole_below: int = 0
) -> AsyncGenerator[Sequence[Settlement], None]:
    """Walk a list, newest first, page by page; break to stop earlier.

    - Next page: as many more entries are skipped as the last page had, for the service may give fewer than it was
      asked for.
    - Shifts: new transfers push known entries onto the next page, where these are left out. Only an
      entry that was failed, and is not any more, comes twice. A transfer that arrives behind the first page is not
      necessarily seen.
    - End: an empty page; or one that brings nothing new, is shorter than another and ends with the last entry seen.
    - Bounds: ``MAX_STALE_PAGES`` in a row that reach nothing further down, and ``MAX_ENTRIES``.

    Args:
        fetch: returns the page after ``skip`` entries.
        max_pages: pages to read at most. A walk with such a limit may be partial, so it ends where the list does not
            go on.
        whole_below: a page of fewer entries that comes twice in a row is taken for the whole list of a service that
            ignores ``skip``. 0 where the end must be proved, because money depends on it.

    Yields:
        The new entries of a page, at least one.

    Raises:
        InvalidResponse: the list does not go on, whatever is skipped; entries that were yielded are right, and more may
            follow.
    """
    walked = _Walked()
    skip = stale_pages = largest = 0
    previous: Sequence[Settlement] = ()
    for number in count(1):
        page = await fetch(skip)
        if not page or (page == previous and len(page) < whole_below):
            return
        previous, largest = page, max(largest, len(page))
        fresh = walked.add(page)
        if fresh:
            yield fresh
        if number == max_pages:
            return
        # New transfers stand before known entries. Only behind these does a list go on.
        stale_pages = 0 if fresh and fresh[-1] is page[-1] else stale_pages + 1
        if stale_pages == MAX_STALE_PAGES:
            largest = max(largest, len(await fetch(0)))
        # New transfers keep each page filled, so an empty page may never come; this page had room for later entries.
        if not fresh and len(page) < largest and walked.ends_with(page):
            return
        if stale_pages == MAX_STALE_PAGES or skip > MAX_ENTRIES:
            if max_pages is not None:
                return
            raise InvalidResponse("$.data", "the list does not go on, whatever is skipped", executed="no")
        skip += len(page)


class _Walked:
    """Entries of a list that were seen, to recognise those that a shift of the list brings again."""

    def __init__(self) -> None:
        self._is_failed: dict[tuple[str, ...], bool] = {}
        self._tail: list[tuple[str, ...]] = []

    def add(self, page: Sequence[Settlement]) -> list[Settlement]:
        """Return the entries of the next page that no earlier page had, and those that are not failed any more."""
        places = [_place(entry) for entry in page]
        start, end = self._overlap(places)
        self._tail = (places[:start] + self._tail + places[end:])[-_TAIL_SIZE:]
        fresh: list[Settlement] = []
        of_page: dict[tuple[str, ...], list[Settlement]] = {}
        for number, (place, entry) in enumerate(zip(places, page, strict=True)):
            # Only where it stands tells an entry without a hashid from another.
            is_recognisable = bool(entry.hashid) or start <= number < end
            # What one page says of an entry twice, and not alike, is a contradiction the caller must see.
            if not is_recognisable or (self._is_new(place, entry) and entry not in of_page.get(place, ())):
                of_page.setdefault(place, []).append(entry)
                fresh.append(entry)
        for place, entries in of_page.items():
            self._is_failed[place] = all(entry.status == TransferStatus.FAILED for entry in entries)
        return fresh

    def _is_new(self, place: tuple[str, ...], entry: Settlement) -> bool:
        return place not in self._is_failed or (self._is_failed[place] and entry.status != TransferStatus.FAILED)

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
