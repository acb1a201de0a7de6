"""Payouts for programs without an event loop."""

from collections.abc import Sequence

from paystar_async.blocking.runner import Runner, blocking, blocking_iterator, caller_source
from paystar_async.payouts.batch import Batch
from paystar_async.payouts.models import Policy, ProductName
from paystar_async.payouts.service import Payouts
from paystar_async.payouts.validation import Plan, Source


class BlockingBatch:
    """A batch of transfers that were submitted together; all of its state is in the ledger.

    Attributes:
        id: the batch's id.
        product: ``bank`` transfers or settlements of the ``wallet``.
        count: the number of transfers.
        amount: the sum of the transfers, in Rial.
        policy: the policy by which the batch is paid.
        created_at: the time of submission, in the ledger's time (seconds since 1970).
    """

    def __init__(self, flow: Batch, runner: Runner) -> None:
        self._flow, self._runner = flow, runner
        self.id: str = flow.id
        self.product: ProductName = flow.product
        self.count: int = flow.count
        self.amount: int = flow.amount
        self.policy: Policy = flow.policy
        self.created_at: float = flow.created_at

    def __repr__(self) -> str:
        return f"Blocking{self._flow!r}"

    outcomes = blocking_iterator(Batch.outcomes)
    wait = blocking(Batch.wait)
    report = blocking(Batch.report)
    transfers = blocking_iterator(Batch.transfers)
    export = blocking(Batch.export)


class BlockingPayouts:
    """Batches of transfers, recorded before the first byte is sent and until each result is known.

    They are paid in the background while this process runs, until the client is closed; ``recover`` continues them.
    """

    def __init__(self, flow: Payouts, runner: Runner) -> None:
        self._flow, self._runner = flow, runner

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._runner.client!r}>"

    def plan(self, transfers: Source, *, sheet: str | None = None) -> Plan:
        """Read and check all transfers, checksums too; nothing is stored or sent.

        Args:
            transfers: a CSV or XLSX file with the fields of ``Transfer`` or ``WalletTransfer`` as its columns, or an
                iterable of them, or of mappings of their fields, read by the calling thread.
            sheet: the name of the sheet to read; needed where several sheets of a workbook hold transfers.

        Returns:
            The number of transfers, their sum in Rial, and all errors by row, field and reason.

        Raises:
            InvalidValue: the file cannot be read, a column is unknown, missing or hidden, or a sheet has to be chosen.
        """
        source = caller_source(transfers)
        return self._runner.run(lambda: self._flow.plan(source or transfers, sheet=sheet), source=source)

    def submit(
        self,
        transfers: Source,
        *,
        batch_id: str,
        policy: Policy | None = None,
        planned: Plan | None = None,
        sheet: str | None = None,
    ) -> BlockingBatch:
        """Record a batch, completely or not at all, and begin to pay it.

        Submitting again, after a crash or an interruption, is safe: the same transfers under the same ``batch_id``
        return the existing batch. A transfer that is identical to one of another batch is the same transfer, and is
        paid once.

        Args:
            transfers: as in ``plan``; Transfer or WalletTransfer, never both. Read once, and never all in memory.
            batch_id: your id of the batch, 1 to 200 characters, never used for another batch.
            policy: the policy by which the batch is paid; by default that of the existing batch, or ``Policy()``.
            planned: the approved result of ``plan``; transfers that changed since are rejected.
            sheet: the name of the sheet to read; needed where several sheets of a workbook hold transfers.

        Returns:
            The recorded batch; ``outcomes()`` yields its results.

        Raises:
            InvalidRows: rows are not valid; nothing was sent.
            InvalidValue: the source is not a file or iterable, ``batch_id`` is recorded with other contents, or a value
                is not valid; nothing was sent.
            TrackIdConflict: a track_id is on record with other contents; nothing was sent.
            ConfigurationError: no database, no account to pay from, or an engine without ``before_send`` support;
                nothing was sent.
            StorageError: the ledger cannot be used. Nothing was sent; submit it again.

        Source: POST /bank-transfer/v2/settlement
        """
        source = caller_source(transfers)
        batch = self._runner.run(
            lambda: self._flow.submit(
                source or transfers, batch_id=batch_id, policy=policy, planned=planned, sheet=sheet
            ),
            interrupted="payouts.submit was interrupted: the batch may be recorded and paid; submit the same transfers "
            "under the same batch_id to continue it",
            source=source,
        )
        return BlockingBatch(batch, self._runner)

    def batch(self, batch_id: str) -> BlockingBatch:
        """Return a batch that was submitted before, by any process.

        Args:
            batch_id: the batch's id.

        Raises:
            InvalidValue: there is no such batch, or ``batch_id`` is not a valid id.
            StorageError: the ledger cannot be read.
        """
        return BlockingBatch(self._runner.run(lambda: self._flow.batch(batch_id)), self._runner)

    def batches(self, limit: int = 100) -> Sequence[BlockingBatch]:
        """Return the recorded batches, newest first.

        Args:
            limit: maximum number of batches.

        Raises:
            InvalidValue: ``limit`` is below 1.
            StorageError: the ledger cannot be read.
        """
        batches = self._runner.run(lambda: self._flow.batches(limit))
        return [BlockingBatch(batch, self._runner) for batch in batches]

    reconcile = blocking(Payouts.reconcile)
    advance = blocking(Payouts.advance)
    recover = blocking(Payouts.recover)
    now = blocking(Payouts.now)
    pause = blocking(Payouts.pause)
    resume = blocking(Payouts.resume)
    holds = blocking(Payouts.holds)
    totals = blocking(Payouts.totals)
    review = blocking(Payouts.review)
    resolve = blocking(Payouts.resolve)
    find = blocking(Payouts.find)
    history = blocking(Payouts.history)
