"""A bank with a list, and batches that are compared with it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from attrs import evolve

from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settlement, TransferStatus
from paystar_async.models.wallet import FindWalletTransfers
from paystar_async.payouts import reconcile
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy
from paystar_async.payouts.reconcile import Reconciliation
from paystar_async.response import Response
from tests.payouts.bank import FakeBank, PayoutFixture, each
from tests.payouts.bank import transfer as stored_transfer


def change_entry(entry: Settlement, **fields: Any) -> Settlement:
    changed: Settlement = evolve(cast("Any", entry), **fields)
    return changed


def listed(status: str, hashid: str | None) -> Settlement:
    return Settlement(track_id="t-00000", status=TransferStatus(status), hashid=hashid)


class BankWithList(FakeBank):
    """A bank that keeps a list, newest first, each payment with its own hashid.

    Attributes:
        entries: the list.
        unlisted: track_ids the list does not show, though they can be looked up.
        is_without_hashids: whether payments get no hashid.
        filters: whether a look-up gives the entries of its track_id alone.
        queries: the requests for the list, by skipped entries, and the look-ups, by track_id.
        max_at_once: the largest number of concurrent look-ups.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Settlement] = []
        self.unlisted: set[str] = set()
        self.queries: list[int | str] = []
        self.failure: Exception | None = None
        self.filters, self.is_without_hashids = True, False
        self.on_look_up: Callable[[], Awaitable[object]] | None = None
        self.active_look_ups = self.max_at_once = 0

    def pay(self, track_id: str, hashid: str | None = "own", **fields: Any) -> Settlement:
        """Add a payment by any payer to the list."""
        values = dict[str, Any](status=self.status, ref_code=f"r{len(self.entries)}") | fields
        if hashid == "own":
            hashid = None if self.is_without_hashids else f"h{len(self.entries)}"
        self.entries.insert(0, Settlement(track_id=track_id, hashid=hashid, **values))
        return self.entries[0]

    def execute(self, values: Sequence[AnyTransfer], status: TransferStatus | None = None) -> list[Settlement]:
        return [self.pay(value.track_id, status=status or self.status) for value in values]

    async def deliver(
        self, value: Call[Any], timeout: float | None, before_send: Callable[[], None] | None = None, /
    ) -> Response[Any]:
        if not isinstance(value, FindTransfers | FindWalletTransfers):
            return await super().deliver(value, timeout, before_send)
        if value.track_id is not None:
            self.queries.append(value.track_id)
            self.active_look_ups += 1
            self.max_at_once = max(self.max_at_once, self.active_look_ups)
            await asyncio.sleep(0)
            self.active_look_ups -= 1
            if self.failure is not None:
                raise self.failure
            if self.on_look_up is not None:
                await self.on_look_up()
            entries = [entry for entry in self.entries if not self.filters or entry.track_id == value.track_id]
        else:
            assert isinstance(value, FindTransfers)
            self.queries.append(value.skip or 0)
            visible = [entry for entry in self.entries if entry.track_id not in self.unlisted]
            entries = visible[value.skip or 0 :][: value.limit]
            if self.on_find is not None:
                await self.on_find()
        return Response(value=entries, status=1, message="", http_status=200, headers={}, body=b"")


async def run_reconcile(payout: PayoutFixture) -> Reconciliation:
    """Compare the transfers of the last hour."""
    runtime: Any = SimpleNamespace(ledger=payout.ledger, channels={"x": payout.channel})
    return await reconcile.reconcile(runtime, 3600)


async def plan_batch(payout: PayoutFixture, batch_id: str, values: Sequence[AnyTransfer], **policy: Any) -> None:
    await insert_batch(payout.ledger, payout.channel, batch_id, each(values), policy=Policy(**policy))


async def plan_and_send(payout: PayoutFixture, batch_id: str, values: Sequence[AnyTransfer], **policy: Any) -> None:
    """Insert a batch and advance each of its chunks once."""
    await plan_batch(payout, batch_id, values, **policy)
    for chunk in await payout.chunks(batch_id):
        await payout.worker.advance(chunk)


def transfers_numbered(*chosen: int) -> list[AnyTransfer]:
    return [stored_transfer(number) for number in chosen]


def mismatches(result: Reconciliation, field: str) -> dict[str, tuple[str, str]]:
    return {
        mismatch.track_id: (mismatch.ledger, mismatch.bank) for mismatch in result.mismatches if mismatch.field == field
    }
