"""Compare the transfers of one deposit account with the bank's entries."""

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
"""The ledger states that agree with a status at the bank."""
_UNSENT = frozenset({TransferState.PLANNED, TransferState.PAUSED_FUNDS})
_AT_BANK = frozenset({TransferState.SUCCESS, TransferState.REVERSED, TransferState.PENDING})
_MAYBE_AT_BANK = frozenset({TransferState.UNKNOWN, TransferState.NOT_ACCEPTED, TransferState.NEEDS_REVIEW})
_BY_HASHID = """
SELECT hashid, MIN(track_id) AS track_id, COUNT(*) AS owners FROM paystar_payout_transfers
WHERE product = :product AND account = :account AND hashid IN ({hashids}) GROUP BY hashid
"""


@frozen(kw_only=True)
class Mismatch:
    """A difference between the ledger and the bank about one transfer.

    Attributes:
        track_id: the transfer's own id.
        field: ``status``, ``amount``, or ``payment`` if the bank has paid this track_id twice.
        ledger: the ledger's value; for ``payment``, the hashid of the first payment, recorded or listed.
        bank: the bank's value; for ``payment``, the hashid of the second payment.
    """

    track_id: str
    field: str
    ledger: str
    bank: str


@define
class Scope:
    """The transfers of a deposit account that are in the window, or undecided.

    Attributes:
        since: start of the window, in the ledger's time.
        horizon: earliest possible payment of these transfers: an undecided transfer may be paid since it was planned.
        unseen: track_ids not yet seen in a response of the bank.
        listed: track_ids that the bank has according to the ledger.
        sent: track_ids that may be at the bank, so that their absence is reported.
        unsent: track_ids that were not sent according to the ledger.
        recent: track_ids of transfers that changed in the window.
        resent: track_ids with more than one attempt: an entry of one attempt says nothing about the others.
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
        """Add a transfer of the ledger."""
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
    """A comparison of a deposit account's transfers with the bank's list, which is added newest first.

    Attributes:
        ledger: the ledger, which is updated from each page before the comparison.
        channel: the payout channel of the transfers.
        scope: the transfers to compare.
        learned: number of transfers that the bank had decided and the ledger did not know.
        orphans: entries of the window that are not in the ledger.
        undated: number of further entries not in the ledger; whether they are in the window is unknown.
        mismatches: differences between ledger and bank.
        complete: whether an entry older than the horizon was seen, so that the list has no more of the window.
        doubtful: track_ids with an entry that may be another payment than the recorded one.
        failed: failed entries by track_id, kept back until another page can no longer contradict them.
    """

    ledger: LedgerDatabase
    channel: PayoutChannel
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
    _is_in_window: bool = True
    _has_recent: bool = False

    async def add_page(self, page: Sequence[Settlement], asked_at: float) -> None:
        """Add a page of the bank's list, requested at ``asked_at`` in the ledger's time."""
        for entries_of_page in split(page, PAGE_SIZE):
            piece = await self._attribute(entries_of_page)
            records = await self._records(piece)
            for entry in piece:
                self._add_entry(entry, self._record(records, entry))
            self._keep_failed_back(piece, records)
            entries = [entry for entry in piece if self._name(entry) not in self.failed]
            await self._update_ledger(entries, records, asked_at)

    async def add_look_ups(self, entries_by_track_id: Mapping[str, Sequence[Settlement]], asked_at: float) -> None:
        """Add all entries that the bank has of single track_ids, requested at ``asked_at`` or later."""
        entries: list[Settlement] = []
        for name, response in entries_by_track_id.items():
            own = [
                entry for entry in await self._attribute(response) if self._name(entry) == name
            ]  # entries of other transfers were not requested
            entries += [entry for entry in self.failed.pop(name, []) if entry not in own] + own
        records = await self._records(entries)
        alive: dict[str, Settlement] = {}
        for entry in entries:
            self._note_entry(entry, self._record(records, entry), alive)
        await self._update_ledger(entries, records, asked_at)

    async def end(self, asked_at: float, *, is_complete: bool) -> None:
        """Decide the entries that were kept back until the list ended.

        Args:
            asked_at: when the last page was requested.
            is_complete: whether the list was read to its end, so that every entry of each track_id was seen.
        """
        if not self._is_in_window or not self._has_recent:
            self.orphans += self._newest_unknown
        else:
            self.undated += len(self._newest_unknown)
        if is_complete:
            for names in split(list(self.failed), PAGE_SIZE):
                candidates = [entry for name in names for entry in (*self.failed.pop(name), self._alive.get(name))]
                entries = [entry for entry in candidates if entry is not None]
                await self._update_ledger(entries, await self._records(entries), asked_at)

    @property
    def done(self) -> bool:
        """Return True if no later page can hold an entry of the window."""
        return self.complete and not self.scope.listed & self.scope.unseen

    def _name(self, entry: Settlement) -> str | None:
        return self.channel.sent_track_id(entry.track_id) if entry.track_id else None

    def _record(self, records: Mapping[str, TransferRecord], entry: Settlement) -> TransferRecord | None:
        name = self._name(entry)
        return records.get(name) if name is not None else None

    async def _attribute(self, entries: Sequence[Settlement]) -> Sequence[Settlement]:
        """Return the entries, with missing track_ids filled in by unique recorded hashids."""
        hashids = {entry.hashid for entry in entries if entry.hashid and not entry.track_id}
        if not hashids:
            return entries
        parameters: dict[str, Value] = {f"hashid{number}": hashid for number, hashid in enumerate(sorted(hashids))}
        rows = await self.ledger.fetch(
            _BY_HASHID.format(hashids=", ".join(f":{name}" for name in parameters)),
            {**parameters, "product": self.channel.name, "account": self.channel.account},
        )
        owners: dict[str, str] = {row["hashid"]: row["track_id"] for row in rows if row["owners"] == 1}
        return [
            entry if entry.track_id or entry.hashid not in owners else _with_track_id(owners[entry.hashid], entry)
            for entry in entries
        ]

    async def _records(self, entries: Iterable[Settlement]) -> Mapping[str, TransferRecord]:
        names = {name for entry in entries if (name := self._name(entry)) is not None}
        return await queries.transfers(self.ledger, self.channel.name, self.channel.account, names)

    def _add_entry(self, entry: Settlement, record: TransferRecord | None) -> None:
        """Decide from the recorded entries around it whether an entry is in the window: the list has no times."""
        self._note_entry(entry, record, self._alive)
        if record is None:
            if self._is_in_window:
                self._newest_unknown.append(entry)
        elif record.state in FINAL and record.changed_at < self.scope.since:
            if _is_payment(record, entry):  # all later entries are older
                self._is_in_window = False
                self.complete = self.complete or record.changed_at < self.scope.horizon
            elif entry.status != TransferStatus.FAILED:
                self.doubtful.add(record.track_id)
        elif (
            record.track_id in self.scope.recent
            and self._is_in_window
            and not is_different_payment(record.hashid, entry)
        ):
            self._has_recent = True
            self.orphans += self._newest_unknown
            self._newest_unknown.clear()

    def _note_entry(self, entry: Settlement, record: TransferRecord | None, alive: dict[str, Settlement]) -> None:
        """Note that the bank has a transfer, and report a second payment of the same track_id."""
        name = self._name(entry)
        if name is None:
            return
        if record is not None and not is_different_payment(record.hashid, entry):
            self.scope.unseen.discard(name)
        if entry.status == TransferStatus.FAILED:
            return
        first = alive.get(name)
        if first is None:
            # A copy without the other fields: it stays in memory until the list ends.
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
            mismatch = Mismatch(track_id=name, field="payment", ledger=paid_before, bank=_payment_name(entry))
            self.mismatches.append(mismatch)

    def _keep_failed_back(self, page: Sequence[Settlement], records: Mapping[str, TransferRecord]) -> None:
        """Keep failed entries of a page back while another page may contradict them."""
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

    async def _update_ledger(
        self, entries: Sequence[Settlement], before: Mapping[str, TransferRecord], asked_at: float
    ) -> None:
        """Update the ledger from the bank's entries, then compare both."""
        changed = await observations.apply_observations(self.ledger, self.channel, entries) if entries else ()
        self.learned += len(changed)
        after = await self._records(entries) if changed else before
        for entry in entries:
            record = self._record(after, entry)
            if record is not None:
                self.mismatches += _differences(before.get(record.track_id, record), record, entry, asked_at)


def is_listed(record: TransferRecord) -> bool:
    """Return True if the bank has a transfer according to the ledger."""
    return record.state in _AT_BANK or (record.state is TransferState.FAILED and bool(record.hashid))


def is_sent(record: TransferRecord) -> bool:
    """Return True if the bank may have a transfer, so that its absence is reported."""
    return is_listed(record) or (record.attempt > 0 and record.state in _MAYBE_AT_BANK)


def _is_payment(record: TransferRecord, entry: Settlement) -> bool:
    """Return True if an entry is the recorded payment, by its hashid or else its ref_code."""
    if not record.hashid and not entry.hashid:
        return record.ref_code is not None and record.ref_code == entry.ref_code
    return record.hashid == entry.hashid


def _with_track_id(track_id: str, entry: Settlement) -> Settlement:
    entry_with_track_id: Settlement = evolve(cast("Any", entry), track_id=track_id)
    return entry_with_track_id


def _payment_name(entry: Settlement) -> str:
    return entry.hashid or entry.ref_code or "a payment without a hashid"


def _differences(
    before: TransferRecord, record: TransferRecord, entry: Settlement, asked_at: float
) -> Sequence[Mismatch]:
    """Return the differences between ledger and bank about a transfer.

    Args:
        before: the transfer before the ledger was updated from the entry.
        record: the transfer now.
        entry: the bank's entry.
        asked_at: when the entry was requested; later changes in the ledger are newer than the entry.
    """
    if is_different_payment(record.hashid, entry):
        return ()  # a second payment is reported elsewhere, and a failed attempt is not a difference
    state = _contradicted(before, record, entry) if before.changed_at <= asked_at else None
    bank = str(entry.status.value)
    differences = [] if state is None else [("status", state.value, bank)]
    listed_amount = entry.extra.get("amount")
    try:
        amount = record.amount if listed_amount is None else parse_amount(listed_amount)
    except ValueError:
        amount = record.amount  # the listed amount is not a number
    if amount != record.amount:
        differences.append(("amount", str(record.amount), str(amount)))
    return [
        Mismatch(track_id=record.track_id, field=name, ledger=ledger, bank=bank) for name, ledger, bank in differences
    ]


def _contradicted(before: TransferRecord, record: TransferRecord, entry: Settlement) -> TransferState | None:
    """Return the state in the ledger that an entry contradicts, or None."""
    if TransferState.SENDING in (before.state, record.state):
        return None  # the sender will record the result
    if before.state in _UNSENT:
        # A transfer to be sent again may have an earlier failed attempt.
        return None if before.attempt and entry.status == TransferStatus.FAILED else before.state
    return None if record.state in SAME.get(entry.status, frozenset()) else record.state
