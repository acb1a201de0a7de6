"""Payments for programs without an event loop."""

from collections.abc import Generator
from contextlib import contextmanager

from paystar_async.blocking.runner import Runner, blocking
from paystar_async.payments.service import SWEEP_SECONDS, Payments
from paystar_async.values.numbers import require_seconds


class BlockingPayments:
    """The payments of a shop, above the gateway's endpoints.

    ``on_verified`` takes the same handlers as ``Paystar.payments.on_verified``: a plain function is called in another
    thread, and may use the blocking client.
    """

    def __init__(self, flow: Payments, runner: Runner) -> None:
        self._flow, self._runner = flow, runner
        self.on_verified = flow.on_verified

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._runner.client!r}>"

    start = blocking(Payments.start)
    confirm = blocking(Payments.confirm)
    find = blocking(Payments.find)
    orders = blocking(Payments.orders)
    totals = blocking(Payments.totals)
    sweep = blocking(Payments.sweep)
    run = blocking(Payments.run)

    @contextmanager
    def sweeping(self, *, every: float = SWEEP_SECONDS) -> Generator[None, None, None]:
        """Sweep in the background for the length of a ``with``, or until the client closes.

        Args:
            every: seconds between two passes.

        Raises:
            ConfigurationError: no ``database=`` or no gateway is configured.
            InvalidValue: ``every`` is not above 0.
        """
        sweeper = self._flow.sweeping(every=require_seconds("every", every))
        self._runner.run(sweeper.__aenter__)
        try:
            yield
        finally:
            self._runner.run(lambda: sweeper.__aexit__(None, None, None))
