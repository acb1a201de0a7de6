"""Transfers: wait for the bank's decision, iterate over its list, send batches."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, closing, suppress
from functools import partial
from itertools import islice
from typing import cast

import anyio

from paystar_async.errors import InvalidValue, PaystarError, StorageError
from paystar_async.errors.text import describe_type
from paystar_async.listing import PAGE_SIZE, pages, parse_wallet_track_id
from paystar_async.models.base import coerce_item
from paystar_async.models.transfers import FindTransfers, Settlement, Transfer, TransferStatus
from paystar_async.models.wallet import FindWalletTransfers
from paystar_async.outcomes import Failed, Outcome, Succeeded, Unknown
from paystar_async.runtime.tasks import BackgroundTasks, cooperative_yield
from paystar_async.services import Caller, TransfersCalls, WalletCalls
from paystar_async.values.field_type import FieldType, find_field_type, short_repr
from paystar_async.values.text import Limit, TrackId
from paystar_async.waiters import PollInterval, Waiters, outcome_of

MAX_SLICE_TRANSFERS = 50
"""Transfers read before yielding to the event loop."""

_SUCCESS = TransferStatus.SUCCESS
_PAGE = cast("FieldType", find_field_type(Limit))
_TRACK_ID = cast("FieldType", find_field_type(TrackId))

Check = Callable[[Transfer], None]
"""Raises InvalidValue for a transfer that must not be sent."""
Source = Iterable[Transfer] | AsyncIterable[Transfer]


class Chunker:
    """The transfers of a source in groups, each track_id once; the source is read no further than needed.

    Args:
        source: any iterable or async iterable; mappings are taken as ``settle`` takes them.
        size: transfers in a group, 1 or more.
        check: raises InvalidValue for a transfer, which then fails alone, without its group.

    Attributes:
        failure: the error that ended the source early.
        has_more: True while there may be another group.

    Raises:
        InvalidValue: ``size`` is below 1, or the source is not an iterable of transfers.
    """

    def __init__(self, source: Source, size: int, check: Check | None) -> None:
        from paystar_async.storage.seen_track_ids import SeenTrackIds  # loads sqlite3, which only batches need

        _check_arguments(source, size)
        self._async_source: AsyncIterator[Transfer] | None = (
            aiter(source) if isinstance(source, AsyncIterable) else None
        )
        self._sync_source: Iterator[Transfer] = iter(()) if isinstance(source, AsyncIterable) else iter(source)
        self._size, self._check, self._track_ids = size, check, SeenTrackIds()
        self._read = 0
        self.failure: Exception | None = None
        self.has_more = True

    async def next(self) -> tuple[list[Transfer], list[Outcome]]:
        """Return the next group, and the outcomes of transfers that must not be sent."""
        group: list[Transfer] = []
        rejected: list[Outcome] = []
        while self.has_more and len(group) < self._size:
            # A source that never waits must not block the loop, nor be read while responses are waiting.
            await cooperative_yield()
            items = await self._read_slice(min(MAX_SLICE_TRANSFERS, self._size - len(group)))
            try:
                for item in items:
                    self._add(coerce_item(Transfer, item, "transfers", self._read), group, rejected)
            except (InvalidValue, StorageError) as error:
                self.failure, self.has_more = error, False
        if self.failure is not None:
            reason = "not sent: the source of transfers failed"
            return [], rejected + [Failed(track_id=transfer.track_id, reason=reason) for transfer in group]
        return group, rejected

    def close(self) -> None:
        """Forget the track_ids; the source belongs to the caller."""
        self._track_ids.close()

    async def _read_slice(self, count: int) -> list[Transfer]:
        """Return the next items of the source, at most ``count``; an error of the source ends it."""
        items: list[Transfer] = []
        try:
            if self._async_source is None:
                items.extend(islice(self._sync_source, count))  # keeps the items before an error
                self.has_more = len(items) == count
            while self._async_source is not None and len(items) < count:
                items.append(await anext(self._async_source))
        except StopAsyncIteration:
            self.has_more = False
        except Exception as error:
            self.failure, self.has_more = error, False
        return items

    def _add(self, transfer: Transfer, group: list[Transfer], rejected: list[Outcome]) -> None:
        self._read += 1
        if self._track_ids.add(transfer.track_id, self._read) is not None:
            # Unknown, not failed: the first transfer with this track_id may well have succeeded.
            reason = "a repeated track_id: this copy was not sent"
            rejected.append(Unknown(track_id=transfer.track_id, reason=reason))
            return
        try:
            if self._check is not None:
                self._check(transfer)
        except InvalidValue as error:
            rejected.append(outcome_of_error(transfer.track_id, error))
        else:
            group.append(transfer)


def _check_arguments(source: object, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InvalidValue("chunk", expected="a whole number, 1 or more", got=short_repr(size))
    got = describe_type(source)
    if isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable | AsyncIterable):
        hint = "wrap a single transfer in a list"
        raise InvalidValue("transfers", expected="an iterable of Transfer", got=got, hint=hint)


def outcome_of_error(track_id: str, error: PaystarError) -> Outcome:
    """Return the outcome of a transfer whose call raised an error."""
    if error.executed == "maybe":
        return Unknown(track_id=track_id, reason=str(error.args[0]), error=error)
    return Failed(track_id=track_id, reason=str(error.args[0]), error=error)


def match_outcomes(group: Sequence[Transfer], entries: Sequence[Settlement]) -> list[Outcome]:
    """Return the outcome of each transfer of a call, from the entries of the response."""
    entry_by_id: dict[str | None, Settlement] = {entry.track_id: entry for entry in entries}
    if len(entry_by_id) == len(entries):
        return [_single_outcome(transfer.track_id, entry_by_id.get(transfer.track_id)) for transfer in group]
    entries_by_id: dict[str | None, list[Settlement]] = {}
    for entry in entries:
        entries_by_id.setdefault(entry.track_id, []).append(entry)
    outcomes: list[Outcome] = []
    for transfer in group:
        matches = entries_by_id.get(transfer.track_id)
        if matches:
            outcomes.append(outcome_of(transfer.track_id, matches))
        else:
            outcomes.append(_single_outcome(transfer.track_id, None))
    return outcomes


def _single_outcome(track_id: str, entry: Settlement | None) -> Outcome:
    if entry is None:
        return Unknown(track_id=track_id, reason="the response does not list the transfer")
    # The usual case first: a list around each of a million entries would burden the garbage collector.
    if entry.status == _SUCCESS:
        return Succeeded(track_id=track_id, ref_code=entry.ref_code)
    return outcome_of(track_id, (entry,))


MAX_WAIT_PAGES = 10
WAIT_SECONDS = 120.0


def _has_track_id(entry: Settlement, track_id: str) -> bool:
    return entry.track_id == track_id


class Transfers(TransfersCalls):
    """Bank transfers: their endpoints, ``wait``, ``iterate`` and ``batch``.

    Args:
        caller: the client.
        background: returns the background tasks of the running event loop.
        waiters: returns the waiters of the running event loop.
        window: the number of chunks of a batch in flight.
        check: verifies the checksums of a transfer, if the client does so.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        background: Callable[[], BackgroundTasks],
        waiters: Callable[[], Waiters],
        window: int,
        check: Check | None = None,
    ) -> None:
        super().__init__(caller)
        self._background, self._waiters, self._window, self._check = background, waiters, window, check

    async def wait(self, *, track_id: str, deposit: str | None = None, timeout: float = WAIT_SECONDS) -> Outcome:
        """Wait until the bank has decided a transfer.

        Args:
            track_id: the transfer's own id.
            deposit: the paying deposit account; all calls with the same deposit share one request per poll.
            timeout: maximum seconds to wait.

        Returns:
            Succeeded or Failed once the bank says so; Pending or Unknown when the timeout expires.

        Raises:
            StatusError: Paystar refuses the status check (such as IpNotAllowed); the transfer is unaffected.
            InvalidValue: ``timeout`` is not above 0, or a value is not valid.

        Source: GET /bank-transfer/settlement-requests
        """
        track_id = _TRACK_ID.convert(track_id, "track_id")  # None would look all transfers up
        FindTransfers(deposit=deposit)  # raises for a value that cannot be looked up
        waiters = self._waiters()

        async def fetch_by_track_id(track_ids: frozenset[str]) -> Sequence[Settlement]:
            return await self.find(track_id=next(iter(track_ids)))

        async def fetch_by_deposit(track_ids: frozenset[str]) -> Sequence[Settlement]:
            return await self._find_newest(deposit, track_ids)

        list_key, fetch = ("track_id", track_id), fetch_by_track_id
        if deposit:
            list_key, fetch = ("deposit", deposit), fetch_by_deposit
        return await waiters.wait(
            list_key, fetch, _has_track_id, track_id=track_id, timeout=timeout, interval=PollInterval()
        )

    async def _find_newest(self, deposit: str | None, track_ids: frozenset[str]) -> list[Settlement]:
        """Return the newest entries of a deposit's list, as far back as needed to find all track_ids."""
        entries: list[Settlement] = []
        missing = set(track_ids)
        page_stream = pages(
            lambda skip: self.find(deposit=deposit, limit=PAGE_SIZE, skip=skip or None),
            max_pages=MAX_WAIT_PAGES,
            complete_below=PAGE_SIZE + 1,
        )
        async with aclosing(page_stream):
            async for page in page_stream:
                entries += page
                missing -= {entry.track_id for entry in page}
                if not missing:
                    break
        return entries

    async def iterate(
        self, *, deposit: str | None = None, page: int = 100, timeout: float | None = None
    ) -> AsyncGenerator[Settlement, None]:
        """Yield the transfer requests, newest first, each once.

        Only an entry that was failed, and has another status on a later page, is yielded twice.

        Args:
            deposit: only transfers from this deposit account.
            page: entries per request, 1–500.
            timeout: seconds one page may take; the client's timeout by default.

        Raises:
            InvalidValue: a value is not valid; nothing was sent.
            StatusError, NotSent, NoResponse, InvalidResponse: a page could not be fetched; earlier entries are valid.

        Source: GET /bank-transfer/settlement-requests
        """
        page = _PAGE.convert(page, "page")
        page_stream = pages(
            lambda skip: self.find(deposit=deposit, limit=page, skip=skip or None, timeout=timeout),
            complete_below=page,
        )
        async with aclosing(page_stream):
            async for entries in page_stream:
                for entry in entries:
                    yield entry

    async def batch(
        self, transfers: Iterable[Transfer] | AsyncIterable[Transfer], chunk: int = 20
    ) -> AsyncGenerator[Outcome, None]:
        """Send many transfers in chunks, several at once, and yield the outcome of each as it becomes known.

        Nothing is stored: use ``payouts`` for transfers that must survive a crash. A chunk that fails stops no other
        chunk. A track_id is sent once: a later copy is Unknown. Leaving the loop early sends no further chunk; chunks
        in flight complete. An error of the source is raised after the outcomes.

        Args:
            transfers: any iterable or async iterable, read only as fast as chunks are sent.
            chunk: transfers in one call, 1 or more.

        Yields:
            Succeeded, Failed, Pending or Unknown, in the order they become known. Check an Unknown transfer with
            ``wait`` before you send it again.

        Raises:
            InvalidValue: ``chunk`` is below 1, or an item is not a Transfer; this item and later ones were not sent.

        Source: POST /bank-transfer/v2/settlement
        """
        groups = Chunker(transfers, chunk, self._check)
        background = self._background()
        done, ended = anyio.create_memory_object_stream[list[Outcome]](self._window)
        running = 0

        async def settle(group: list[Transfer]) -> None:
            result: list[Outcome] = []
            try:
                result = await self._outcomes(group)
            finally:
                result = result or [
                    Unknown(track_id=transfer.track_id, reason="the call was cancelled") for transfer in group
                ]
                # The buffer has room for every running group; a consumer that left receives nothing.
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    done.send_nowait(result)

        with closing(groups), done, ended:
            while groups.has_more or running:
                if groups.has_more and running < self._window and not ended.statistics().current_buffer_used:
                    group, rejected = await groups.next()
                    if group:
                        background.start(partial(settle, group))
                        running += 1
                    for outcome in rejected:
                        yield outcome
                    continue
                result = await ended.receive()
                running -= 1
                for outcome in result:
                    yield outcome
        if groups.failure is not None:
            raise groups.failure

    async def _outcomes(self, group: list[Transfer]) -> list[Outcome]:
        """Send one group and return the outcome of each transfer."""
        try:
            entries = await self.settle(transfers=group)
        except PaystarError as error:
            return [outcome_of_error(transfer.track_id, error) for transfer in group]
        except Exception as error:
            # A foreign error, such as of a user middleware: whether the call was sent is unknown.
            reason = f"the call ended with {type(error).__name__}"
            return [Unknown(track_id=transfer.track_id, reason=reason) for transfer in group]
        return match_outcomes(group, entries)


class Wallets(WalletCalls):
    """Wallet payouts: their endpoints and ``wait``.

    Args:
        caller: the client.
        waiters: returns the waiters of the running event loop.
        hashid: the wallet's hashid.
    """

    def __init__(self, caller: Caller, *, waiters: Callable[[], Waiters], hashid: str) -> None:
        super().__init__(caller)
        self._waiters, self._hashid = waiters, hashid

    async def wait(self, *, track_id: str, timeout: float = WAIT_SECONDS) -> Outcome:
        """Wait until the bank has decided a wallet transfer.

        Args:
            track_id: the transfer's own id.
            timeout: maximum seconds to wait.

        Returns:
            Succeeded or Failed once the bank says so; Pending or Unknown when the timeout expires.

        Raises:
            StatusError: Paystar refuses the status check; the transfer is unaffected.

        Source: GET /wallet/settlement-requests
        """
        FindWalletTransfers(track_id=track_id)  # raises for values that cannot be looked up
        waiters = self._waiters()

        async def fetch(track_ids: frozenset[str]) -> Sequence[Settlement]:
            return await self.find(track_id=next(iter(track_ids)))

        def matches(entry: Settlement, track_id: str) -> bool:
            stored = entry.track_id  # None proves nothing, even in the response to a query for this track_id
            return stored is not None and track_id in (stored, parse_wallet_track_id(stored, self._hashid))

        return await waiters.wait(
            ("wallet", track_id), fetch, matches, track_id=track_id, timeout=timeout, interval=PollInterval()
        )
