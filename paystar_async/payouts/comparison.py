"""Compare the transfers of one deposit account with what the bank has of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from attrs import define, evolve, field, frozen

from paystar_async.listing import PAGE_SIZE
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.decisions import is_different_payment
from paystar_async.payouts.ledger import observations, queries
from paystar_async.payouts.ledger.session import LedgerDatabase, split
from paystar_async.payouts.models import FINAL, TransferRecord, TransferState
from paystar_async.storage.database import Value
from paystar_async.values.numbers import parse_amount

SAME: Mapping[str, frozenset[TransferState]] = {
    TransferStatus.SUCCESS: frozenset({TransferState.SUCCESS}),
    TransferStatus.FAILED: frozenset({TransferState.FAILED, TransferState.REVERSED}),
    TransferStatus.PENDING: frozenset({TransferState.PENDING}),
}
"""States of the ledger that say the same as a status of the bank."""
_UNSENT = frozenset({TransferState.PLANNED, TransferState.PAUSED_FUNDS})
_AT_BANK = frozenset({TransferState.SUCCESS, TransferState.REVERSED, TransferState.PENDING})
_MAYBE_AT_BANK = frozenset({TransferState.UNKNOWN, TransferState.NOT_ACCEPTED, TransferState.NEEDS_REVIEW})
_BY_HASHID = """
SELECT hashid, MIN(track_id) AS track_id, COUNT(*) AS owners FROM paystar_payout_transfers
WHERE product = :product AND account = :account AND hashid IN ({hashids}) GROUP BY hashid
"""


@frozen(kw_only=True)
class Mismatch:
    """A transfer of which the ledger and the bank say different things.

    Attributes:
        track_id: the transfer's own id.
        field: what they differ in: ``status``, ``amount``, or ``payment``: the bank has paid this track_id twice.
        ledger: what the ledger says; of a ``payment``, the hashid of the first one, on record or on the list.
        bank: what the bank says; of a ``payment``, the hashid of the other one.
    """

    track_id: str
    field: str
    ledger: str
    bank: str


@define
class Scope:
    """The transfers of a deposit account that are in the window, or undecided.

    Attributes:
        since: when the window begins, in the ledger's time.
        horizon: since when payments of these transfers are possible: an undecided one may be paid ever since it was
            planned.
        unseen: track_ids the bank has not shown yet.
        listed: those the ledger says the bank has.
        sent: those that may be at the bank, and whose absence is worth a word.
        unsent: those that were not sent, by the ledger.
        recent: those that changed in the window.
        resent: those with more than one attempt: an entry of one of these says nothing of the others.
    """

    since: float
    horizon: float
    unseen: set[str] = field(factory=set[str])
    listed: set[str] = field(factory=set[str])
    sent: set[str] = field(factory=set[str])
    unsent: set[str] = field(factory=set[str])
    recent: set[str] = field(factory=set[str])
    resent: set[str] = field(factory=set[str])
    count: int = 0

    def add(self, record: TransferRecord, ambiguous_attempts: int) -> None:
        """Take in a transfer on record."""
        name = record.track_id
        self.count += 1
        self.unseen.add(name)
        if record.changed_at >= self.since:
            self.recent.add(name)
        if is_listed(record):
            self.listed.add(name)
        if is_sent(record):
            self.sent.add(name)
        if record.state in _UNSENT:
            self.unsent.add(name)
        if ambiguous_attempts:
            self.resent.add(name)


@define
class Comparison:
    """The transfers of a deposit account beside the bank's list, which is taken in newest first.

    Attributes:
        ledger: what is on record; it learns from each page before it is compared.
        product: what was paid out.
        scope: the transfers to compare.
        learned: how many the bank had decided and the ledger did not know yet.
        orphans: entries of the window that are not on record.
        undated: how many more are not on record, of which nothing tells whether they are in the window.
        mismatches: what ledger and bank say differently.
        complete: whether the list has no more of the window, by an entry that was decided before the horizon.
        doubtful: track_ids of which an entry was seen that may be another payment than the one on record.
    """

    ledger: LedgerDatabase
    product: PayoutChannel
    scope: Scope
    learned: int = 0
    orphans: list[Settlement] = field(factory=list[Settlement])
    undated: int = 0
    mismatches: list[Mismatch] = field(factory=list[Mismatch])
    complete: bool = False
    doubtful: set[str] = field(factory=set[str])
    failed: dict[str, list[Settlement]] = field(factory=dict[str, list[Settlement]])
    _alive: dict[str, Settlement] = field(factory=dict[str, Settlement])
    _newest_unknown: list[Settlement] = field(factory=list[Settlement])
    _within: bool = True
    _anchored: bool = False

    async def add_page(self, page: Sequence[Settlement], asked_at: float) -> None:
        """Take in a page of the bank's list, asked for at ``asked_at`` in the ledger's time."""
        for entries_of_page in split(page, PAGE_SIZE):
            piece = await self._attribute(entries_of_page)
            records = await self._known(piece)
            for entry in piece:
                self._place(entry, self._record(records, entry))
            self._put_off(piece, records)
            entries = [entry for entry in piece if self._name(entry) not in self.failed]
            await self._learn(entries, records, asked_at)

    async def add_found(self, found: Mapping[str, Sequence[Settlement]], asked_at: float) -> None:
        """Take in all that the bank has of single track_ids, asked for at ``asked_at`` or later."""
        entries: list[Settlement] = []
        for name, response in found.items():
            own = [
                entry for entry in await self._attribute(response) if self._name(entry) == name
            ]  # others were not asked for
            entries += [entry for entry in self.failed.pop(name, []) if entry not in own] + own
        records = await self._known(entries)
        alive: dict[str, Settlement] = {}
        for entry in entries:
            self._see(entry, self._record(records, entry), alive)
        await self._learn(entries, records, asked_at)

    async def end(self, asked_at: float, *, whole: bool) -> None:
        """Take in what was put off until the list ended.

        Args:
            asked_at: when the last page was asked for.
            whole: whether the list was walked to its end, so that it has all there is of each track_id.
        """
        if not self._within or not self._anchored:
            self.orphans += self._newest_unknown
        else:
            self.undated += len(self._newest_unknown)
        if whole:
            for names in split(list(self.failed), PAGE_SIZE):
                said = ((*self.failed.pop(name), self._alive.get(name)) for name in names)
                entries = [entry for of_name in said for entry in of_name if entry is not None]
                await self._learn(entries, await self._known(entries), asked_at)

    @property
    def done(self) -> bool:
        """Whether nothing of the window can be behind the last page."""
        return self.complete and not self.scope.listed & self.scope.unseen

    def _name(self, entry: Settlement) -> str | None:
        return self.product.sent_track_id(entry.track_id) if entry.track_id else None

    def _record(self, records: Mapping[str, TransferRecord], entry: Settlement) -> TransferRecord | None:
        name = self._name(entry)
        return records.get(name) if name is not None else None

    async def _attribute(self, entries: Sequence[Settlement]) -> Sequence[Settlement]:
        """Return the entries, each without a track_id under that of the one transfer its hashid is on record for."""
        hashids = {entry.hashid for entry in entries if entry.hashid and not entry.track_id}
        if not hashids:
            return entries
        parameters: dict[str, Value] = {f"hashid{number}": hashid for number, hashid in enumerate(sorted(hashids))}
        rows = await self.ledger.fetch(
            _BY_HASHID.format(hashids=", ".join(f":{name}" for name in parameters)),
            {**parameters, "product": self.product.name, "account": self.product.account},
        )
        owners: dict[str, str] = {row["hashid"]: row["track_id"] for row in rows if row["owners"] == 1}
        return [
            entry if entry.track_id or entry.hashid not in owners else _under(owners[entry.hashid], entry)
            for entry in entries
        ]

    async def _known(self, entries: Iterable[Settlement]) -> Mapping[str, TransferRecord]:
        names = {name for one in entries if (name := self._name(one)) is not None}
        return await queries.transfers(self.ledger, self.product.name, self.product.account, names)

    def _place(self, entry: Settlement, record: TransferRecord | None) -> None:
        """Decide by the entries on record around it whether an entry is in the window: the list has no times."""
        self._see(entry, record, self._alive)
        if record is None:
            if self._within:
                self._newest_unknown.append(entry)
        elif record.state in FINAL and record.changed_at < self.scope.since:
            if _is_payment(record, entry):  # all that is behind it is older
                self._within = False
                self.complete = self.complete or record.changed_at < self.scope.horizon
            elif entry.status != TransferStatus.FAILED:
                self.doubtful.add(record.track_id)
        elif record.track_id in self.scope.recent and self._within and not is_different_payment(record.hashid, entry):
            self._anchored = True
            self.orphans += self._newest_unknown
            self._newest_unknown.clear()

    def _see(self, entry: Settlement, record: TransferRecord | None, alive: dict[str, Settlement]) -> None:
        """Take note that the bank has a transfer, and whether it has paid it before."""
        name = self._name(entry)
        if name is None:
            return
        if record is not None and not is_different_payment(record.hashid, entry):
            self.scope.unseen.discard(name)
        if entry.status == TransferStatus.FAILED:
            return
        first = alive.get(name)
        if first is None:
            # Without what else the bank says of it: this is kept until the list ends.
            alive[name] = Settlement(
                hashid=entry.hashid, track_id=entry.track_id, status=entry.status, ref_code=entry.ref_code
            )
        if record is not None and record.hashid and entry.hashid:
            paid_before = record.hashid if record.hashid != entry.hashid else None
        elif first is not None and not (entry.hashid and entry.hashid == first.hashid):
            paid_before = _payment_name(first)
        else:
            paid_before = None
        if paid_before is not None:
            said = Mismatch(track_id=name, field="payment", ledger=paid_before, bank=_payment_name(entry))
            self.mismatches.append(said)

    def _put_off(self, page: Sequence[Settlement], records: Mapping[str, TransferRecord]) -> None:
        """Keep what the bank says of a transfer back while another page may contradict its "failed"."""
        for entry in page:
            record = self._record(records, entry)
            if record is None or entry.status != TransferStatus.FAILED:
                continue
            if record.state in SAME[TransferStatus.FAILED] or record.state is TransferState.SENDING:
                continue
            if not is_different_payment(record.hashid, entry):
                self.failed.setdefault(record.track_id, [])
        for entry in page:
            if entry.status == TransferStatus.FAILED and (name := self._name(entry)) in self.failed:
                self.failed[name].append(entry)

    async def _learn(
        self, entries: Sequence[Settlement], before: Mapping[str, TransferRecord], asked_at: float
    ) -> None:
        """Let the ledger learn from the bank's entries, then compare both."""
        changed = await observations.apply_observations(self.ledger, self.product, entries) if entries else ()
        self.learned += len(changed)
        after = await self._known(entries) if changed else before
        for entry in entries:
            record = self._record(after, entry)
            if record is not None:
                self.mismatches += _differences(before.get(record.track_id, record), record, entry, asked_at)


def is_listed(record: TransferRecord) -> bool:
    """Return True if the bank has a transfer, by the ledger."""
    return record.state in _AT_BANK or (record.state is TransferState.FAILED and bool(record.hashid))


def is_sent(record: TransferRecord) -> bool:
    """Return True if the bank may have a transfer, by the ledger, so that its absence is worth a word."""
    return is_listed(record) or (record.attempt > 0 and record.state in _MAYBE_AT_BANK)


def _is_payment(record: TransferRecord, entry: Settlement) -> bool:
    """Return True if an entry is the very payment on record, by its hashid or else its ref_code."""
    if not record.hashid and not entry.hashid:
        return record.ref_code is not None and record.ref_code == entry.ref_code
    return record.hashid == entry.hashid


def _under(track_id: str, entry: Settlement) -> Settlement:
    entry_under: Settlement = evolve(cast("Any", entry), track_id=track_id)
    return entry_under


def _payment_name(entry: Settlement) -> str:
    return entry.hashid or entry.ref_code or "one without a hashid"


def _differences(
    before: TransferRecord, record: TransferRecord, entry: Settlement, asked_at: float
) -> Sequence[Mismatch]:
    """Return what ledger and bank say differently of a transfer.

    Args:
        before: the transfer as it was before the ledger learned from the entry.
        record: the transfer as it is now.
        entry: what the bank says.
        asked_at: when the bank was asked; what has changed since is newer than the entry.
    """
    if is_different_payment(record.hashid, entry):
        return ()  # a second payment is reported as such, and a failed attempt comes to nothing
    state = _contradicted(before, record, entry) if before.changed_at <= asked_at else None
    bank = str(entry.status.value)
    found = [] if state is None else [("status", state.value, bank)]
    said = entry.extra.get("amount")
    try:
        amount = record.amount if said is None else parse_amount(said)
    except ValueError:
        amount = record.amount  # no amount that anybody could read
    if amount != record.amount:
        found.append(("amount", str(record.amount), str(amount)))
    return [Mismatch(track_id=record.track_id, field=name, ledger=ledger, bank=bank) for name, ledger, bank in found]


def _contradicted(before: TransferRecord, record: TransferRecord, entry: Settlement) -> TransferState | None:
    """Return the state in the ledger that an entry contradicts, or None."""
    if TransferState.SENDING in (before.state, record.state):
        return None  # whoever sends it will say
    if before.state in _UNSENT:
        # An earlier attempt that failed is why a transfer is to be sent again.
        return None if before.attempt and entry.status == TransferStatus.FAILED else before.state
    return None if record.state in SAME.get(entry.status, frozenset()) else record.state
