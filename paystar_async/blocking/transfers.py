"""Transfers, wallet and keys for programs without an event loop."""

from collections.abc import AsyncIterable, Generator, Iterable

from paystar_async.blocking.runner import Runner, blocking, blocking_iterator, caller_source
from paystar_async.blocking.services import (
    BlockingCaller,
    BlockingKeysCalls,
    BlockingTransfersCalls,
    BlockingWalletCalls,
)
from paystar_async.key_service import Keys
from paystar_async.models.transfers import Transfer
from paystar_async.outcomes import Outcome
from paystar_async.transfers import Transfers, Wallets


class BlockingTransfers(BlockingTransfersCalls):
    """Bank transfers: their endpoints, and ``wait``, ``iterate`` and ``batch``."""

    def __init__(self, caller: BlockingCaller, flow: Transfers, runner: Runner) -> None:
        super().__init__(caller)
        self._flow, self._runner = flow, runner

    wait = blocking(Transfers.wait)
    iterate = blocking_iterator(Transfers.iterate)

    def batch(
        self, transfers: Iterable[Transfer] | AsyncIterable[Transfer], chunk: int = 20
    ) -> Generator[Outcome, None, None]:
        """Send many transfers in chunks, several at once, and yield the outcome of each as it becomes known.

        Nothing is stored: use ``payouts`` for transfers that must survive a crash. A chunk that fails stops no other
        chunk. A track_id is sent once: a later copy is Unknown. Leaving the loop early sends no further chunk; chunks
        in flight complete. An error of the source is raised after the outcomes.

        Args:
            transfers: any iterable, read by the calling thread, and only as fast as chunks are sent.
            chunk: transfers in one call, 1 or more.

        Yields:
            Succeeded, Failed, Pending or Unknown, in the order they become known. Check an Unknown transfer with
            ``wait`` before you send it again.

        Raises:
            InvalidValue: ``chunk`` is below 1, or an item is not a Transfer; this item and later ones were not sent.

        Source: POST /bank-transfer/v2/settlement
        """
        source = caller_source(transfers)
        return self._runner.iterate(
            self._flow.batch(source or transfers, chunk),
            interrupted="transfers.batch was interrupted: transfers without an outcome may have been executed; "
            "look them up with transfers.find before you send them again",
            source=source,
        )


class BlockingWallet(BlockingWalletCalls):
    """Wallet payouts: their endpoints and ``wait``."""

    def __init__(self, caller: BlockingCaller, flow: Wallets, runner: Runner) -> None:
        super().__init__(caller)
        self._flow, self._runner = flow, runner

    wait = blocking(Wallets.wait)


class BlockingKeys(BlockingKeysCalls):
    """The keys that are valid for 24 hours: refreshed or replaced by hand, besides the refreshes of the client."""

    def __init__(self, caller: BlockingCaller, flow: Keys, runner: Runner) -> None:
        super().__init__(caller)
        self._flow, self._runner = flow, runner

    replace = blocking(Keys.replace)
