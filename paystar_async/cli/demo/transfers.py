"""How one transfer is sent by hand so that it is paid once, whatever the network does to the answers.

``payouts`` does it for many, and survives its own death. QUIET is a quarter of an hour where a real bank is behind it.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from paystar_async import Paystar, WalletTransfer
from paystar_async.errors import PaystarError
from paystar_async.models.transfers import Settlement
from paystar_async.outcomes import Outcome, Unknown

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


async def pay_from_wallet(paystar: Paystar, transfer: WalletTransfer) -> Outcome:
    """Send one transfer from the wallet, whose answer says nothing of what becomes of it, and follow it to its end."""
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
