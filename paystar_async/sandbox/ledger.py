"""The sandbox ledger: executed transfers, account balances and statements."""

import random
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from attrs import define, frozen

from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.runtime.clock import Clock
from paystar_async.sandbox.clock import format_jalali, to_tehran
from paystar_async.sandbox.responses import Refusal
from paystar_async.sandbox.settings import Settings

AnyTransfer = TypeVar("AnyTransfer", Transfer, WalletTransfer)

INSUFFICIENT_BALANCE = 9
_ID_CHARACTERS = string.digits + string.ascii_lowercase
_FAILING_REMAINDER = 999


def random_id(rng: random.Random, length: int = 10) -> str:
    """Return an id such as Paystar issues: digits and lowercase letters."""
    return "".join(rng.choices(_ID_CHARACTERS, k=length))


@define(kw_only=True, eq=False)
class LedgerEntry(Generic[AnyTransfer]):
    """An executed transfer.

    Attributes:
        hashid: the bank's id of the transfer.
        account: the account that paid: a deposit account or the wallet.
        transfer: the transfer as requested.
        position: its position in its request, from 1.
        executed_at: seconds since 1970.
        status: ``pending``, ``success`` or ``failed``.
        message: text for the status.
        ref_code: the bank's reference, once the transfer has succeeded.
    """

    hashid: str
    account: str
    transfer: AnyTransfer
    position: int
    executed_at: float
    status: str = "pending"
    message: str = "در انتظار پردازش بانک"
    ref_code: str | None = None

    @cached_property
    def transfer_fields(self) -> Mapping[str, object]:
        """The transfer as a mapping of its fields."""
        return {
            model_field.name: getattr(self.transfer, model_field.name) for model_field in fields_of(type(self.transfer))
        }

    @property
    def will_fail(self) -> bool:
        """True if the bank will return the transfer: its amount ends in 999."""
        return self.transfer.amount % 1000 == _FAILING_REMAINDER


@frozen(kw_only=True)
class LedgerLine:
    """The ledger's summary of one track_id.

    Attributes:
        count: executions; more than 1 is money paid twice.
        requests: requests that named the track_id.
        amount: Rial, of one execution.
        account: the account that paid: a deposit account or the wallet.
        status: status of the last execution.
    """

    count: int
    requests: int
    amount: int
    account: str
    status: str


class TransferLedger(Generic[AnyTransfer]):
    """Executed transfers and the accounts that pay them.

    Args:
        clock: clock for settlement.
        settings: settlement time and opening balances.
        rng: source of ids and bank references.
        opening_balance: returns the Rial in an account when it is first used.
    """

    def __init__(
        self, clock: Clock, settings: Settings, rng: random.Random, opening_balance: Callable[[Settings], int]
    ) -> None:
        self._clock, self._settings, self._rng, self._opening_balance = clock, settings, rng, opening_balance
        self._balances: dict[str, int] = {}
        self._entries: list[LedgerEntry[AnyTransfer]] = []
        self._by_account: defaultdict[str, list[LedgerEntry[AnyTransfer]]] = defaultdict(list)
        self._by_track_id: defaultdict[str, list[LedgerEntry[AnyTransfer]]] = defaultdict(list)
        self._requests: Counter[str] = Counter()
        self._pending: list[tuple[float, int, LedgerEntry[AnyTransfer]]] = []
        self._sequence = count()

    def balance(self, account: str) -> int:
        """Return the Rial in an account; the first call opens the account."""
        self._settle_due()
        return self._balances.setdefault(account, self._opening_balance(self._settings))

    def set_balance(self, account: str, amount: int) -> None:
        """Set an account's balance to ``amount`` Rial."""
        self._balances[account] = amount

    def balances(self) -> Mapping[str, int]:
        """Return the open accounts with the Rial in each."""
        self._settle_due()
        return dict(self._balances)

    def execution_count(self, track_id: str) -> int:
        """Return how many times a track_id was executed."""
        return len(self._by_track_id.get(track_id, ()))

    def first_entry(self, track_id: str) -> LedgerEntry[AnyTransfer] | None:
        """Return the first transfer with a track_id, or None."""
        self._settle_due()
        entries = self._by_track_id.get(track_id)
        return entries[0] if entries else None

    def newest(self, account: str | None = None, track_id: str | None = None) -> Iterator[LedgerEntry[AnyTransfer]]:
        """Return an iterator over the transfers of an account, a track_id, both or all, newest first."""
        self._settle_due()
        if track_id is not None:
            entries = self._by_track_id.get(track_id, [])
            return (entry for entry in reversed(entries) if account in (None, entry.account))
        return reversed(self._entries if account is None else self._by_account.get(account, []))

    def lines(self) -> Iterator[tuple[str, LedgerLine]]:
        """Yield each executed track_id with its summary."""
        self._settle_due()
        for track_id, entries in list(self._by_track_id.items()):
            yield (
                track_id,
                LedgerLine(
                    count=len(entries),
                    requests=self._requests[track_id],
                    amount=entries[0].transfer.amount,
                    account=entries[0].account,
                    status=entries[-1].status,
                ),
            )

    def execute(
        self, transfers: Sequence[AnyTransfer], account_of: Callable[[AnyTransfer], str]
    ) -> list[LedgerEntry[AnyTransfer] | None]:
        """Execute transfers: all new ones or none.

        A track_id that was executed before returns its first transfer and is not paid again. With the setting
        ``partial_execution``, the transfers before an uncovered one are executed.

        Args:
            transfers: the transfers, each with another track_id.
            account_of: returns the account that pays a transfer.

        Returns:
            The entry of each transfer; None if its track_id belongs to a transfer with other contents.

        Raises:
            Refusal: an account does not cover the transfers.
        """
        self._requests.update(transfer.track_id for transfer in transfers)
        new_transfers = [
            (position, transfer) for position, transfer in enumerate(transfers, 1) if self._is_new(transfer)
        ]
        if self._settings.partial_execution:
            for position, transfer in new_transfers:
                self._debit([(account_of(transfer), transfer.amount)])
                self._append(account_of(transfer), transfer, position)
        else:
            self._debit((account_of(transfer), transfer.amount) for _, transfer in new_transfers)
            for position, transfer in new_transfers:
                self._append(account_of(transfer), transfer, position)
        self._settle_due()
        return [self._find_same(transfer) for transfer in transfers]

    def decide(self, track_id: str, *, fails: bool) -> bool:
        """Settle the newest transfer with a track_id now, or again; return False if there is no such transfer.

        A transfer that fails after it had succeeded is a transfer that its bank returned.
        """
        entry = next(self.newest(track_id=track_id), None)
        if entry is None:
            return False
        if entry.status == "failed":
            self._balances[entry.account] -= entry.transfer.amount
        self._settle(entry, fails=fails)
        return True

    def make_track_id(self) -> str:
        """Return a track_id for a transfer that came without one."""
        return random_id(self._rng)

    def _is_new(self, transfer: AnyTransfer) -> bool:
        first = self.first_entry(transfer.track_id)
        # assumed (repeated-track-id): the first result is returned.
        return first is None or (self._settings.repeats_execute and first.transfer == transfer)

    def _find_same(self, transfer: AnyTransfer) -> LedgerEntry[AnyTransfer] | None:
        newest = self._by_track_id[transfer.track_id][-1]
        return newest if newest.transfer == transfer else None

    def _debit(self, debits: Iterable[tuple[str, int]]) -> None:
        totals: Counter[str] = Counter()
        for account, amount in debits:
            totals[account] += amount
        if any(amount > self.balance(account) for account, amount in totals.items()):
            raise Refusal(INSUFFICIENT_BALANCE)
        for account, amount in totals.items():
            self._balances[account] -= amount

    def _append(self, account: str, transfer: AnyTransfer, position: int) -> None:
        entry = LedgerEntry[AnyTransfer](
            hashid=random_id(self._rng),
            account=account,
            transfer=transfer,
            position=position,
            executed_at=self._clock.time(),
        )
        self._entries.append(entry)
        self._by_account[account].append(entry)
        self._by_track_id[transfer.track_id].append(entry)
        due_at = self._clock.monotonic() + self._settings.settle_seconds
        heappush(self._pending, (due_at, next(self._sequence), entry))

    def _settle_due(self) -> None:
        """Settle pending transfers that are due; called by every method, since the sandbox runs no timer."""
        now = self._clock.monotonic()
        while self._pending and self._pending[0][0] <= now:
            entry = heappop(self._pending)[2]
            if entry.status == "pending":  # otherwise a test has decided the transfer before
                self._settle(entry, fails=entry.will_fail)

    def _settle(self, entry: LedgerEntry[AnyTransfer], *, fails: bool) -> None:
        if fails:
            entry.status, entry.message, entry.ref_code = "failed", "انتقال توسط بانک مقصد برگشت داده شد", None
            self._balances[entry.account] += entry.transfer.amount
        else:
            entry.status, entry.message = "success", "انتقال با موفقیت انجام شد"
            entry.ref_code = "".join(self._rng.choices(string.digits, k=12))


_MONTH_SECONDS = 30 * 86_400

StatementLine = tuple[float, dict[str, object]]
"""Seconds since 1970, and the line."""


def select_lines(lines: Iterable[StatementLine], first_day: str, last_day: str) -> list[dict[str, object]]:
    """Return the lines between two days, both included, oldest first; days are Gregorian ``YYYY-MM-DD``."""
    return [
        line
        for timestamp, line in sorted(lines, key=lambda line: line[0])
        if first_day <= f"{to_tehran(timestamp):%Y-%m-%d}" <= last_day
    ]


def debit_lines(entries: Iterable[LedgerEntry[Transfer]]) -> Iterator[StatementLine]:
    """Yield a debit for each transfer that was not returned."""
    for entry in entries:
        if entry.status != "failed":
            note = f"انتقال {entry.transfer.track_id}"
            line = _statement_line(entry.executed_at, debit=entry.transfer.amount, trace=entry.hashid, note=note)
            yield entry.executed_at, line


def earlier_credit_lines(rng: random.Random, started_at: float) -> Iterator[StatementLine]:
    """Yield three credits of the month before the sandbox started."""
    for number in range(1, 4):
        timestamp = started_at - rng.uniform(0, _MONTH_SECONDS)
        credit = rng.randrange(1_000_000, 500_000_000, 10_000)
        yield timestamp, _statement_line(timestamp, credit=credit, trace=f"seed{number}", note="واریز")


def _statement_line(timestamp: float, *, trace: str, note: str, credit: int = 0, debit: int = 0) -> dict[str, object]:
    return {
        "credit_amount": credit,
        "debit_amount": debit,
        "transaction_trace": trace,
        "transaction_date_time": format_jalali(timestamp),
        "additional": {"additionalInfo2": note},
    }
