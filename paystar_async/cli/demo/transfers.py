"""A single transfer sent without ``payouts``, so that it is paid once whatever happens to the responses.

``payouts`` does the same for many transfers, and survives a crash. With a real bank, QUIET_WINDOW_SECONDS is a quarter
of an hour.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from paystar_async import Paystar, WalletTransfer
from paystar_async.errors import PaystarError
from paystar_async.models.transfers import Settlement
from paystar_async.outcomes import Outcome, Unknown

QUIET_WINDOW_SECONDS = 2.0
"""Seconds after which a request that is still in flight will not arrive any more."""
REQUIRED_NOT_FOUNDS = 3
"""How often the bank must not find a transfer before it counts as absent."""
MAX_CHECKS = 4 * REQUIRED_NOT_FOUNDS
CHECK_INTERVAL_SECONDS = 0.5
WAIT_TIMEOUT_SECONDS = 60.0
MAX_SENDS = 12


class FindTransfer(Protocol):
    """A call that looks up a transfer at the bank."""

    def __call__(self, *, track_id: str) -> Awaitable[Sequence[Settlement]]:
        """Return the bank's transfers with this track_id."""
        ...


async def pay_from_wallet(paystar: Paystar, transfer: WalletTransfer) -> Outcome:
    """Send one transfer from the wallet and wait for its outcome, which the response itself does not contain."""
    for _ in range(MAX_SENDS):
        try:
            await paystar.wallet.settle(transfers=[transfer])
        except PaystarError as error:
            if error.executed == "no" or await _is_absent(paystar.wallet.find, transfer.track_id):
                continue
        waiting = paystar.wallet.wait(track_id=transfer.track_id, timeout=WAIT_TIMEOUT_SECONDS)
        return await _outcome_or_unknown(transfer.track_id, waiting)
    return Unknown(track_id=transfer.track_id, reason="it could not be sent")


async def _is_absent(find: FindTransfer, track_id: str) -> bool:
    """Return True if the bank repeatedly does not find a transfer whose call has ended."""
    await asyncio.sleep(QUIET_WINDOW_SECONDS)
    not_founds = 0
    for _ in range(MAX_CHECKS):
        try:
            if await find(track_id=track_id):
                return False
            not_founds += 1
        except PaystarError:
            pass  # a failed lookup does not prove that the transfer is absent
        if not_founds == REQUIRED_NOT_FOUNDS:
            return True
        await asyncio.sleep(CHECK_INTERVAL_SECONDS)
    return False


async def _outcome_or_unknown(track_id: str, waiting: Awaitable[Outcome]) -> Outcome:
    try:
        return await waiting
    except PaystarError as error:
        return Unknown(track_id=track_id, reason="its status could not be looked up", error=error)
