"""Transfers beyond the single call: wait for the bank, walk its list, send many at once."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing, closing, suppress
from functools import partial

import anyio

from paystar_async.background import Background
from paystar_async.batching import Check, Groups, matched, without_answer
from paystar_async.errors import PaystarError
from paystar_async.listing import PAGE_SIZE, own_track_id, pages
from paystar_async.models.transfers import FindTransfers, Settlement, Transfer
from paystar_async.models.wallet import FindWalletTransfers
from paystar_async.outcomes import Outcome, Unknown
from paystar_async.polling import Pace, Watches
from paystar_async.services import Caller, TransfersCalls, WalletCalls

MAX_WAIT_PAGES = 10
WAIT_SECONDS = 120.0

Flows = Callable[[], tuple[Background, Watches]]


def _is_about(entry: Settlement, track_id: str) -> bool:
    return entry.track_id == track_id


class Transfers(TransfersCalls):
    """Bank transfers: the rows, and ``wait``, ``iterate`` and ``batch`` above them."""

    def __init__(self, caller: Caller, flows: Flows, window: int, check: Check | None = None) -> None:
        super().__init__(caller)
        self._flows, self._window, self._check = flows, window, check

    async def wait(self, *, track_id: str, deposit: str | None = None, timeout: float = WAIT_SECONDS) -> Outcome:
        """Wait until the bank has decided a transfer.

        Args:
            track_id: the transfer's own id.
            deposit: the deposit account it left; all who wait on the same one share one call per look.
            timeout: seconds to wait at the most.

        Returns:
            Succeeded or Failed once the bank says so; Pending or Unknown when the time is up before.

        Raises:
            StatusError: Paystar refuses to tell (an address not on the whitelist, say); the transfer is as it was.
            InvalidValue: ``timeout`` is not above 0, or a value does not have its shape.

        Source: GET /bank-transfer/settlement-requests
        """
        FindTransfers(track_id=track_id, deposit=deposit)  # refuses what could not be asked about
        _, watches = self._flows()

        async def by_track_id(wanted: frozenset[str]) -> Sequence[Settlement]:
            return await self.find(track_id=next(iter(wanted)))

        async def by_deposit(wanted: frozenset[str]) -> Sequence[Settlement]:
            return await self._newest(deposit, wanted)

        name, look = (("deposit", deposit), by_deposit) if deposit else (("track_id", track_id), by_track_id)
        return await watches.wait(name, look, _is_about, track_id=track_id, timeout=timeout, pace=Pace())

    async def _newest(self, deposit: str | None, wanted: frozenset[str]) -> list[Settlement]:
        """Return the newest transfers of a deposit, as far back as it takes to meet all that are wanted."""
        entries: list[Settlement] = []
        missing = set(wanted)
        walk = pages(
            lambda skip: self.find(deposit=deposit, limit=PAGE_SIZE, skip=skip or None),
            max_pages=MAX_WAIT_PAGES,
            whole_below=PAGE_SIZE + 1,
        )
        async with aclosing(walk) as walked:
            async for page in walked:
                entries += page
                missing -= {entry.track_id for entry in page}
                if not missing:
                    break
        return entries

    async def iterate(
        self, *, deposit: str | None = None, page: int = 100, timeout: float | None = None
    ) -> AsyncGenerator[Settlement, None]:
        """Walk the list of transfer requests, newest first, each one once.

        Only an entry that was failed, and that a later page shows as anything else, comes a second time.

        Args:
            deposit: only those leaving this deposit account.
            page: how many are asked for at once, 1–500.
            timeout: seconds one page may take; the client's own by default.

        Raises:
            StatusError, NotSent, Unanswered, BadAnswer: a page could not be had; what was given so far holds.

        Source: GET /bank-transfer/settlement-requests
        """
        walk = pages(
            lambda skip: self.find(deposit=deposit, limit=page, skip=skip or None, timeout=timeout),
            whole_below=page,
        )
        async with aclosing(walk) as walked:
            async for entries in walked:
                for entry in entries:
                    yield entry

    async def batch(
        self, transfers: Iterable[Transfer] | AsyncIterable[Transfer], chunk: int = 20
    ) -> AsyncGenerator[Outcome, None]:
        """Send many transfers in chunks, several at once, and give each one's own outcome as it comes.

        Nothing is kept: what must survive a crash goes through ``payouts``. Whatever happens to one chunk, the
        others go on. A track_id is sent once: a copy further down is told as Unknown. Leaving the loop early sends
        nothing more; what is in flight is still sent. What the source raises is raised here, after the outcomes.

        Args:
            transfers: any iterable or async iterable; it is read only as fast as the bank takes it.
            chunk: transfers in one call, 1 or more.

        Yields:
            Succeeded, Failed, Pending or Unknown, in the order they become known. Ask about Unknown with ``wait``
            before you send it again.

        Raises:
            InvalidValue: ``chunk`` is below 1, or an item is no Transfer; that one and what is behind it was not sent.

        Source: POST /bank-transfer/v2/settlement
        """
        groups = Groups(transfers, chunk, self._check)
        background, _ = self._flows()
        done, ended = anyio.create_memory_object_stream[list[Outcome]](self._window)
        running = 0

        async def settle(group: list[Transfer]) -> None:
            result: list[Outcome] = []
            try:
                result = await self._outcomes(group)
            finally:
                result = result or [Unknown(track_id=one.track_id, reason="it was broken off") for one in group]
                # There is room for every group under way; a loop that was left listens no more.
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    done.send_nowait(result)

        with closing(groups), done, ended:
            while groups.more or running:
                if groups.more and running < self._window and not ended.statistics().current_buffer_used:
                    group, refused = await groups.next()
                    if group:
                        background.start(partial(settle, group))
                        running += 1
                    for outcome in refused:
                        yield outcome
                    continue
                result = await ended.receive()
                running -= 1
                for outcome in result:
                    yield outcome
        if groups.failure is not None:
            raise groups.failure

    async def _outcomes(self, group: list[Transfer]) -> list[Outcome]:
        """What became of each transfer of one call."""
        try:
            entries = await self.settle(transfers=group)
        except PaystarError as error:
            return [without_answer(one.track_id, error) for one in group]
        except Exception as error:
            # Not ours – a ring's, say – and nobody knows how far the call had come.
            reason = f"the call ended with {type(error).__name__}"
            return [Unknown(track_id=one.track_id, reason=reason) for one in group]
        return matched(group, entries)


class Wallets(WalletCalls):
    """Wallet payouts: the rows, and ``wait`` above them."""

    def __init__(self, caller: Caller, flows: Flows, hashid: str) -> None:
        super().__init__(caller)
        self._flows, self._hashid = flows, hashid

    async def wait(self, *, track_id: str, timeout: float = WAIT_SECONDS) -> Outcome:
        """Wait until the bank has decided a wallet transfer.

        Args:
            track_id: the transfer's own id.
            timeout: seconds to wait at the most.

        Returns:
            Succeeded or Failed once the bank says so; Pending or Unknown when the time is up before.

        Raises:
            StatusError: Paystar refuses to tell; the transfer is as it was.

        Source: GET /wallet/settlement-requests
        """
        FindWalletTransfers(track_id=track_id)  # refuses what could not be asked about
        _, watches = self._flows()

        async def look(wanted: frozenset[str]) -> Sequence[Settlement]:
            return await self.find(track_id=next(iter(wanted)))

        def matches(entry: Settlement, track_id: str) -> bool:
            stored = entry.track_id  # None vouches for nothing, even in the response to a query for it
            return stored is not None and track_id in (stored, own_track_id(stored, self._hashid))

        return await watches.wait(("wallet", track_id), look, matches, track_id=track_id, timeout=timeout, pace=Pace())
