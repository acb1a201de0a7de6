"""The ledger beside the bank's own list: what only one of them has, and what they say differently."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta

from attrs import frozen

from paystar_async.clock import checked_seconds
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.decide import is_another
from paystar_async.payouts.desk import Desk
from paystar_async.payouts.product import Product
from paystar_async.payouts.records import TransferRecord
from paystar_async.payouts.states import State
from paystar_async.storage.database import Parameters, Value
from paystar_async.values.money import read_answer

PAGE = 500
STALE = 3
"""Pages of the bank's list in a row with nothing on them that was sent lately; from there on it is asked one by one."""
CALL_SECONDS = 30.0

_RECENT = """
    SELECT track_id FROM paystar_payout_transfers
    WHERE product = :product AND account = :account AND deposit = :deposit AND attempt > 0
        AND changed_at >= :since AND track_id > :after
    ORDER BY track_id LIMIT :most
"""
_DOUBTED = _RECENT.replace("attempt > 0", "doubts > 0")
"""Of what was sent again the first attempt may have paid as well, far down the list."""
_DEPOSITS = """
    SELECT DISTINCT deposit FROM paystar_payout_transfers
    WHERE product = :product AND account = :account AND attempt > 0 AND changed_at >= :since
    ORDER BY deposit
"""
_SAID: Mapping[str, frozenset[State]] = {
    TransferStatus.SUCCESS: frozenset({State.SUCCESS}),
    TransferStatus.FAILED: frozenset({State.FAILED, State.REVERSED}),
    TransferStatus.PENDING: frozenset({State.PENDING}),
}


@frozen(kw_only=True)
class Mismatch:
    """A transfer of which the ledger and the bank say different things.

    Attributes:
        track_id: the transfer's own id.
        field: what they differ in: ``status``, ``amount``, or ``payment``: the bank has paid it under a second name.
        ledger: what the ledger says.
        bank: what the bank says.
    """

    track_id: str
    field: str
    ledger: str
    bank: str


@frozen(kw_only=True)
class Reconciliation:
    """What came of comparing the ledger with the bank's list.

    Attributes:
        compared: how many transfers both have.
        learned: how many of them the bank had decided and the ledger did not know yet; now it does.
        orphans: what the bank has and the ledger has not: somebody else pays from the same account.
        mismatches: what they say differently, after the ledger has learned.
        missing: track_ids that were sent, by the ledger, and that the bank does not list.
    """

    compared: int
    learned: int
    orphans: tuple[Settlement, ...]
    mismatches: tuple[Mismatch, ...]
    missing: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether both say the same."""
        return not (self.orphans or self.mismatches or self.missing)


async def reconcile(desk: Desk, window: timedelta | float) -> Reconciliation:
    """Compare all that was sent in the last ``window`` seconds."""
    seconds = checked_seconds("window", window.total_seconds() if isinstance(window, timedelta) else window)
    since = await desk.ledger.now() - seconds
    compared = learned = 0
    orphans: list[Settlement] = []
    mismatches: list[Mismatch] = []
    missing: list[str] = []
    for product in desk.products.values():
        of_account: dict[str, Value] = {"product": product.name, "account": product.account, "since": since}
        for row in await desk.ledger.tables.fetch(_DEPOSITS, of_account):
            deposit = row["deposit"]
            of_deposit = {**of_account, "deposit": deposit}
            sent, again = await _sent(desk, of_deposit, _RECENT), await _sent(desk, of_deposit, _DOUBTED)
            count = len(sent)
            older: list[Settlement] = []
            paid: dict[str, str] = {}
            async for found in _found(product, deposit, sent, again):
                told = await _compare(desk, product, found, sent, paid)
                learned += told.learned
                mismatches += told.mismatches
                # The list has no times: what stands before one of ours in it is newer than that.
                if told.newer is not None:
                    orphans += older + list(told.unknown[: told.newer])
                    older.clear()
                older += told.unknown[told.newer or 0 :]
            compared += count - len(sent)
            missing += sorted(sent)
    return Reconciliation(
        compared=compared,
        learned=learned,
        orphans=tuple(orphans),
        mismatches=tuple(dict.fromkeys(mismatches)),
        missing=tuple(missing),
    )


async def _sent(desk: Desk, of_deposit: Parameters, sql: str) -> set[str]:
    """The track_ids of what was sent from a deposit account lately."""
    sent: set[str] = set()
    after = ""
    while rows := await desk.ledger.tables.fetch(sql, {**of_deposit, "after": after, "most": PAGE}):
        sent |= {row["track_id"] for row in rows}
        after = rows[-1]["track_id"]
    return sent


async def _found(
    product: Product, deposit: str, sent: set[str], again: set[str]
) -> AsyncGenerator[Sequence[Settlement], None]:
    """What the bank has, newest first, as far as it goes on about what was sent; then the rest one by one."""
    skip = stale = 0
    page: set[str | None] = set()
    while sent and stale < STALE and (found := await product.list(deposit, PAGE, skip, CALL_SECONDS)):
        before = len(sent)
        # Whatever is paid meanwhile moves the list on: what ended one page then begins the next.
        if fresh := [one for one in found if one.hashid is None or one.hashid not in page]:
            yield fresh
        page = {one.hashid for one in found}
        stale = stale + 1 if len(sent) == before else 0
        skip += len(found)
    for track_id in sorted(sent | again):
        if found := await product.find(track_id, CALL_SECONDS):
            yield found


@frozen
class _Told:
    learned: int
    mismatches: Sequence[Mismatch]
    unknown: Sequence[Settlement]
    newer: int | None
    """How many of the unknown ones stand before the last one that was sent lately; None where there is no such one."""


async def _compare(
    desk: Desk, product: Product, found: Sequence[Settlement], sent: set[str], paid: dict[str, str]
) -> _Told:
    """One page of the bank's list beside the ledger, which learns from it first."""
    names = {product.own(one.track_id) for one in found if one.track_id}
    records = await desk.ledger.known(product.name, product.account, names)
    learned = await desk.ledger.learn(product, [*found, *await _elsewhere(product, found, records)])
    records = await desk.ledger.known(product.name, product.account, names)
    unknown: list[Settlement] = []
    mismatches: list[Mismatch] = []
    newer: int | None = None
    for one in found:
        record = records.get(product.own(one.track_id)) if one.track_id else None
        if record is None:
            unknown.append(one)
            continue
        mismatches += _differences(record, one, paid)
        if record.track_id in sent and not is_another(record.hashid, one):
            sent.discard(record.track_id)
            newer = len(unknown)
    return _Told(len(learned), mismatches, unknown, newer)


async def _elsewhere(
    product: Product, found: Sequence[Settlement], records: Mapping[str, TransferRecord]
) -> Sequence[Settlement]:
    """All that the bank has under the track_ids of which a page says "failed": another page may say otherwise."""
    failed = {product.own(one.track_id) for one in found if one.track_id and one.status == TransferStatus.FAILED}
    news = [name for name in sorted(failed & records.keys()) if records[name].state not in _SAID[TransferStatus.FAILED]]
    return [entry for name in news for entry in await product.find(name, CALL_SECONDS)]


def _differences(record: TransferRecord, entry: Settlement, paid: dict[str, str]) -> Sequence[Mismatch]:
    told: list[Mismatch] = []
    name, alive = record.hashid, entry.status != TransferStatus.FAILED
    if name is None and alive and entry.hashid is not None:
        name = paid.setdefault(record.track_id, entry.hashid)
    if is_another(name, entry):
        if not alive:
            return ()  # an attempt of which nothing came
        return [Mismatch(track_id=record.track_id, field="payment", ledger=str(name), bank=str(entry.hashid))]
    if record.state not in _SAID.get(entry.status, frozenset()):
        told.append(
            Mismatch(track_id=record.track_id, field="status", ledger=record.state.value, bank=entry.status.value)
        )
    said = entry.extra.get("amount")
    try:
        amount = record.amount if said is None else read_answer(said)
    except ValueError:
        amount = record.amount  # no amount that anybody could read
    if amount != record.amount:
        told.append(Mismatch(track_id=record.track_id, field="amount", ledger=str(record.amount), bank=str(amount)))
    return told
