"""How transfers are sent so that none is lost and none is paid twice, whatever the network does to the answers.

Worth copying, with one change: QUIET is a quarter of an hour where a real bank is behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from paystar_async import Paystar, Transfer, WalletTransfer
from paystar_async.errors import PaystarError
from paystar_async.models.transfers import Settlement
from paystar_async.outcomes import Failed, Outcome, Succeeded, Unknown

CHUNK = 5
QUIET = 2.0
"""Seconds in which a request that is still on its way arrives, or never will."""
LOOKS = 3
"""So many times the bank must say that it does not have a transfer, before it is believed."""
PAUSE = 0.5
PATIENCE = 60.0
ROUNDS = 12


class Find(Protocol):
    """Asks the bank for a transfer."""

    def __call__(self, *, track_id: str) -> Awaitable[Sequence[Settlement]]:
        """What the bank has under this track_id."""
        ...


async def pay_all(
    paystar: Paystar,
    transfers: Sequence[Transfer],
    *,
    deposit: str,
    sent: Callable[[], Awaitable[None]],
    settled: Callable[[], None],
) -> tuple[dict[str, Outcome], int]:
    """Send transfers and follow each to its end.

    Args:
        paystar: the client.
        transfers: what is to be paid.
        deposit: the account all of them leave.
        sent: called whenever one was sent for the first time.
        settled: called whenever one has come to its end.

    Returns:
        The end of each by its track_id, and how many had to be sent again.
    """
    ends: dict[str, Outcome] = {}
    rest = {one.track_id: one for one in transfers}
    resent = 0
    for round_ in range(ROUNDS):
        again: list[str] = []

        async def follow(outcome: Outcome, again: list[str] = again) -> None:
            end = await _end_of(paystar, outcome, deposit)
            if end is None:
                again.append(outcome.track_id)
            else:
                ends[outcome.track_id] = end
                settled()

        following: list[asyncio.Task[None]] = []
        async for outcome in paystar.transfers.batch(list(rest.values()), chunk=CHUNK):
            following.append(asyncio.create_task(follow(outcome)))
            if round_ == 0:
                await sent()
        await asyncio.gather(*following)
        rest = {track_id: rest[track_id] for track_id in again}
        if not rest:
            break
        resent += len(rest)
    return ends, resent


async def _end_of(paystar: Paystar, outcome: Outcome, deposit: str) -> Outcome | None:
    """What became of a transfer in the end; None if it surely was never carried out, and is to be sent again."""
    match outcome:
        case Succeeded():
            return outcome
        case Failed(error=PaystarError(executed="no")):
            return None
        case Failed():
            return outcome
        case Unknown() if await _is_absent(paystar.transfers.find, outcome.track_id):
            return None
        case _:
            waiting = paystar.transfers.wait(track_id=outcome.track_id, deposit=deposit, timeout=PATIENCE)
            return await _decided(outcome.track_id, waiting)


async def pay_from_wallet(paystar: Paystar, transfer: WalletTransfer) -> Outcome:
    """The same for one transfer from the wallet, whose answer says nothing of what becomes of it."""
    for _ in range(ROUNDS):
        try:
            await paystar.wallet.settle(transfers=[transfer])
        except PaystarError as error:
            if error.executed == "no" or await _is_absent(paystar.wallet.find, transfer.track_id):
                continue
        waiting = paystar.wallet.wait(track_id=transfer.track_id, timeout=PATIENCE)
        return await _decided(transfer.track_id, waiting)
    return Unknown(track_id=transfer.track_id, reason="it could not be sent")


async def _is_absent(find: Find, track_id: str) -> bool:
    """Whether the bank surely does not have a transfer whose call has ended: it says so again and again."""
    await asyncio.sleep(QUIET)
    said = 0
    for _ in range(4 * LOOKS):
        try:
            if await find(track_id=track_id):
                return False
            said += 1
        except PaystarError:
            pass  # no answer is not the answer that there is nothing
        if said == LOOKS:
            return True
        await asyncio.sleep(PAUSE)
    return False


async def _decided(track_id: str, waiting: Awaitable[Outcome]) -> Outcome:
    try:
        return await waiting
    except PaystarError as error:
        return Unknown(track_id=track_id, reason="the bank does not say", error=error)
