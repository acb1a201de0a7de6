"""The pager: reads the bank's list page by page while new transfers are added at its front."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import count

from paystar_async.errors import InvalidResponse
from paystar_async.models.transfers import Settlement, TransferStatus

PAGE_SIZE = 500
"""Entries to request at once: the maximum of the service."""
MAX_STALE_PAGES = 5
MAX_ENTRIES = 5_000_000
"""Longer than any list of a deposit account, so that a service with an endless list is not read for ever."""
_TAIL_SIZE = 2_000

EntryKey = tuple[str, str]
"""The hashid and the track_id of an entry: two transfers may share a hashid."""

Fetch = Callable[[int], Awaitable[Sequence[Settlement]]]
"""Returns the page that begins behind the first ``skip`` entries of the list; an empty page is the end."""


def entry_key(entry: Settlement) -> EntryKey | None:
    """Return the hashid and the track_id of an entry, or None if the entry has no hashid to be recognised by.

    Args:
        entry: an entry of the bank's list.
    """
    return (entry.hashid, entry.track_id or "") if entry.hashid else None


def parse_wallet_track_id(stored: str, hashid: str) -> str:
    """Return the track_id that was sent to a wallet, which the service stores as ``hashid*track_id*n``.

    Args:
        stored: the track_id of an entry, in that form or as sent.
        hashid: the hashid of the wallet.
    """
    inner, _, number = stored.removeprefix(f"{hashid}*").rpartition("*")
    return inner if stored.startswith(f"{hashid}*") and inner and number.isdecimal() else stored


async def pages(
    fetch: Fetch, *, max_pages: int | None = None, complete_below: int = 0
) -> AsyncGenerator[Sequence[Settlement], None]:
    """Read a list, newest first, page by page; break to stop earlier.

    - Next page: as many more entries are skipped as the last page had, since the service may return fewer than
      requested.
    - Shifts: new transfers push known entries onto the next page, where these are left out. Only an
      entry that was failed, and is not any more, is yielded twice. A transfer that is added behind the first page may
      be missed.
    - End: an empty page; or a page that has no new entry, is shorter than another and ends with the last known entry.
    - Bounds: ``MAX_STALE_PAGES`` in a row that reach nothing further down, and ``MAX_ENTRIES``.

    Args:
        fetch: returns the page after ``skip`` entries.
        max_pages: pages to read at most. With such a limit the list may be read in part, so reading ends silently where
            the list does not go on.
        complete_below: a page of fewer entries that is returned twice in a row is taken for the complete list of a
            service that ignores ``skip``. 0 where the end must be proved, because money depends on it.

    Yields:
        The new entries of a page, at least one.

    Raises:
        InvalidResponse: the list does not go on, whatever is skipped; yielded entries are correct, others may be
            missing.
    """
    known_entries = _KnownEntries()
    skip = stale_pages = largest = 0
    previous: Sequence[Settlement] = ()
    for number in count(1):
        page = await fetch(skip)
        if not page or (page == previous and len(page) < complete_below):
            return
        previous, largest = page, max(largest, len(page))
        new_entries = known_entries.add(page)
        if new_entries:
            yield new_entries
        if number == max_pages:
            return
        # New transfers stand before known entries; the list goes on only behind known entries.
        stale_pages = 0 if new_entries and new_entries[-1] is page[-1] else stale_pages + 1
        if stale_pages == MAX_STALE_PAGES:
            largest = max(largest, len(await fetch(0)))
        # New transfers fill each page, so no page may ever be empty; this page had room for later entries.
        if not new_entries and len(page) < largest and known_entries.ends_with(page):
            return
        if stale_pages == MAX_STALE_PAGES or skip > MAX_ENTRIES:
            if max_pages is not None:
                return
            raise InvalidResponse("$.data", "the list does not go on, whatever is skipped", executed="no")
        skip += len(page)


class _KnownEntries:
    """The entries that earlier pages had, to recognise those that a shift of the list repeats."""

    def __init__(self) -> None:
        self._is_failed: dict[tuple[str, ...], bool] = {}
        self._tail: list[tuple[str, ...]] = []

    def add(self, page: Sequence[Settlement]) -> list[Settlement]:
        """Return the entries of the next page that no earlier page had, and those that are not failed any more."""
        identities = [_identity(entry) for entry in page]
        start, end = self._overlap(identities)
        self._tail = (identities[:start] + self._tail + identities[end:])[-_TAIL_SIZE:]
        new_entries: list[Settlement] = []
        page_entries: dict[tuple[str, ...], list[Settlement]] = {}
        for number, (identity, entry) in enumerate(zip(identities, page, strict=True)):
            # Entries without a hashid differ only in their position.
            is_recognisable = bool(entry.hashid) or start <= number < end
            # A page that lists an entry twice with different content contradicts itself: the caller must see both.
            if not is_recognisable or (self._is_new(identity, entry) and entry not in page_entries.get(identity, ())):
                page_entries.setdefault(identity, []).append(entry)
                new_entries.append(entry)
        for identity, entries in page_entries.items():
            self._is_failed[identity] = all(entry.status == TransferStatus.FAILED for entry in entries)
        return new_entries

    def _is_new(self, identity: tuple[str, ...], entry: Settlement) -> bool:
        return identity not in self._is_failed or (self._is_failed[identity] and entry.status != TransferStatus.FAILED)

    def ends_with(self, page: Sequence[Settlement]) -> bool:
        """Return True if the last entry of a page is the last known entry of the list."""
        return self._tail[-1] == _identity(page[-1])

    def _overlap(self, identities: Sequence[tuple[str, ...]]) -> tuple[int, int]:
        """Return where in a page the last known entries begin and end.

        Entries without a hashid are recognised by their position alone.
        """
        tail, size = self._tail, len(identities)
        for start, identity in enumerate(tail):
            if identity == identities[0] and tail[start : start + size] == identities[: len(tail) - start]:
                return 0, min(size, len(tail) - start)
        for start, identity in enumerate(identities):  # more entries were added than are known
            if tail and identity == tail[0] and identities[start : start + len(tail)] == tail[: size - start]:
                return start, min(size, start + len(tail))
        return 0, 0


def _identity(entry: Settlement) -> tuple[str, ...]:
    return entry_key(entry) or ("", entry.track_id or "", entry.ref_code or "")
