"""The only thing that moves money: one step of one chunk, safe to call twice, at once, from anywhere."""

from collections.abc import Callable, Iterable, Sequence

from paystar_async.background import Background
from paystar_async.clock import Clock
from paystar_async.events import OnEvent
from paystar_async.payouts.ledger import Ledger
from paystar_async.payouts.product import Product

CALL_SECONDS = 30.0
FENCE_SECONDS = 5.0
MARGIN_SECONDS = 5.0


class Advancer:
    """Brings chunks forward: claim, send, record – or ask, record.

    Args:
        ledger: where everything is on record.
        products: what can be paid out here.
        clock: what time it is.
        background: gives whose jobs the steps are; cancelling a caller does not stop them.
        fences: whether the engine calls back right before the first byte; without that nothing is sent.
        notify: told when Paystar refuses everything, or there is no money; once each.
        timeout: seconds one call may take.
        fence: seconds after a claim within which its first byte may leave.
        margin: seconds a claim lasts beyond that.
    """

    def __init__(
        self,
        ledger: Ledger,
        products: Iterable[Product],
        clock: Clock,
        background: Callable[[], Background],
        fences: Callable[[], bool],
        notify: OnEvent,
        *,
        timeout: float = CALL_SECONDS,
        fence: float = FENCE_SECONDS,
        margin: float = MARGIN_SECONDS,
    ) -> None:
        raise NotImplementedError

    async def advance(self, chunk_id: str) -> float | None:
        """Do what is due for a chunk, if anything is.

        Args:
            chunk_id: which.

        Returns:
            When to call again, in the ledger's time; None: there is nothing more to do, or not before ``resume``.

        Raises:
            ConfigurationError: the chunk's account is not configured here, or the engine cannot be fenced.
            StorageError: the ledger cannot be used; nothing was sent that is not on record. Call again.
        """
        raise NotImplementedError

    async def due(self, limit: int = 100) -> Sequence[tuple[str, float]]:
        """Chunks of the accounts that are configured here, and when each is due in the ledger's time."""
        raise NotImplementedError

    async def now(self) -> float:
        """The ledger's time."""
        raise NotImplementedError
