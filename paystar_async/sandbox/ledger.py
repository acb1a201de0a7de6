"""The book transfers are entered in: who has how much, what was asked for, and what became of it."""

import random
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from attrs import define, frozen

from paystar_async.clock import Clock
from paystar_async.models.base import fields_of
from paystar_async.models.transfers import Transfer
from paystar_async.models.wallet import WalletTransfer
from paystar_async.sandbox.clock import jalali_text, tehran
from paystar_async.sandbox.responses import Refusal
from paystar_async.sandbox.settings import Settings

Asked = TypeVar("Asked", Transfer, WalletTransfer)

INSUFFICIENT = 9
_LETTERS = string.digits + string.ascii_lowercase
_FAILING_ENDING = 999


def short_name(dice: random.Random, length: int = 10) -> str:
    """A name such as the service gives: digits and small letters."""
    return "".join(dice.choices(_LETTERS, k=length))


@define(kw_only=True, eq=False)
class Entry(Generic[Asked]):
    """One executed transfer: what was asked for, which number it had in its request, and how far it is."""

    hashid: str
    account: str
    asked: Asked
    number: int
    at: float
    status: str = "pending"
    message: str = "در انتظار پردازش بانک"
    ref_code: str | None = None

    @cached_property
    def sent(self) -> Mapping[str, object]:
        """What was asked for, field by field."""
        return {one.name: getattr(self.asked, one.name) for one in fields_of(type(self.asked))}

    @property
    def fails(self) -> bool:
        """Whether the bank will turn it down: an amount that ends in 999 asks for that."""
        return self.asked.amount % 1000 == _FAILING_ENDING


@frozen(kw_only=True)
class Line:
    """What the ledger holds of a track_id.

    Attributes:
        count: how often it was executed; more than 1 is money paid twice.
        requests: how often it was asked for.
        amount: Rial, of one execution.
        account: where the money left: a deposit account or the wallet.
        status: what became of it.
    """

    count: int
    requests: int
    amount: int
    account: str
    status: str


class TransferLedger(Generic[Asked]):
    """Transfers, and the accounts they leave.

    Args:
        clock: when things settle.
        settings: how long they take, and what an account opens with.
        dice: where names and bank references come from.
        opening: Rial in an account when it is first used.
    """

    def __init__(
        self, clock: Clock, settings: Settings, dice: random.Random, opening: Callable[[Settings], int]
    ) -> None:
        self._clock, self._settings, self._dice, self._opening = clock, settings, dice, opening
        self._balances: dict[str, int] = {}
        self._entries: list[Entry[Asked]] = []
        self._by_account: defaultdict[str, list[Entry[Asked]]] = defaultdict(list)
        self._by_track_id: defaultdict[str, list[Entry[Asked]]] = defaultdict(list)
        self._requests: Counter[str] = Counter()
        self._open: list[tuple[float, int, Entry[Asked]]] = []
        self._order = count()

    def balance(self, account: str) -> int:
        """Rial in an account; the first look opens it."""
        self._settle()
        return self._balances.setdefault(account, self._opening(self._settings))

    def set_balance(self, account: str, amount: int) -> None:
        """Put so many Rial into an account."""
        self._balances[account] = amount

    def has(self, account: str) -> bool:
        """Whether the account was opened."""
        return account in self._balances

    def accounts(self) -> Mapping[str, int]:
        """The accounts that were opened, with the Rial in each."""
        self._settle()
        return dict(self._balances)

    def times(self, track_id: str) -> int:
        """How often a track_id was executed."""
        return len(self._by_track_id.get(track_id, ()))

    def first(self, track_id: str) -> Entry[Asked] | None:
        """The first transfer of this track_id."""
        self._settle()
        entries = self._by_track_id.get(track_id)
        return entries[0] if entries else None

    def newest(self, account: str | None = None, track_id: str | None = None) -> Iterator[Entry[Asked]]:
        """The transfers of an account, of a track_id, of both or all; newest first."""
        self._settle()
        if track_id is not None:
            chosen = self._by_track_id.get(track_id, [])
            return (entry for entry in reversed(chosen) if account in (None, entry.account))
        return reversed(self._entries if account is None else self._by_account.get(account, []))

    def ledger(self) -> Iterator[tuple[str, Line]]:
        """What was executed, by track_id."""
        self._settle()
        for track_id, entries in list(self._by_track_id.items()):
            yield (
                track_id,
                Line(
                    count=len(entries),
                    requests=self._requests[track_id],
                    amount=entries[0].asked.amount,
                    account=entries[0].account,
                    status=entries[-1].status,
                ),
            )

    def enter(self, asked: Sequence[Asked], account_of: Callable[[Asked], str]) -> list[Entry[Asked] | None]:
        """Execute transfers, all of the new ones or none; raises Refusal when an account does not cover them.

        With ``partial_execution`` those before the one that is not covered are executed all the same.


        A track_id that is known answers with its first transfer, and is not paid again.

        Args:
            asked: the transfers, each with a track_id of its own.
            account_of: the account a transfer leaves.

        Returns:
            For each, its entry; None where its track_id belongs to a transfer with other contents.
        """
        self._requests.update(item.track_id for item in asked)
        fresh = [(number, item) for number, item in enumerate(asked, 1) if self._is_fresh(item)]
        if self._settings.partial_execution:
            for number, item in fresh:
                self._take([(account_of(item), item.amount)])
                self._enter(account_of(item), item, number)
        else:
            self._take((account_of(item), item.amount) for _, item in fresh)
            for number, item in fresh:
                self._enter(account_of(item), item, number)
        self._settle()
        return [self._known(item) for item in asked]

    def make_track_id(self) -> str:
        """Return a name for a transfer that came without a track_id."""
        return short_name(self._dice)

    def _is_fresh(self, item: Asked) -> bool:
        first = self.first(item.track_id)
        return first is None or (self._settings.repeats_execute and first.asked == item)

    def _known(self, item: Asked) -> Entry[Asked] | None:
        first = self._by_track_id[item.track_id][0]
        return first if first.asked == item else None

    def _take(self, needs: Iterable[tuple[str, int]]) -> None:
        total: Counter[str] = Counter()
        for account, amount in needs:
            total[account] += amount
        if any(amount > self.balance(account) for account, amount in total.items()):
            raise Refusal(INSUFFICIENT)
        for account, amount in total.items():
            self._balances[account] -= amount

    def _enter(self, account: str, item: Asked, number: int) -> None:
        entry = Entry[Asked](
            hashid=short_name(self._dice),
            account=account,
            asked=item,
            number=number,
            at=self._clock.time(),
        )
        self._entries.append(entry)
        self._by_account[account].append(entry)
        self._by_track_id[item.track_id].append(entry)
        heappush(self._open, (self._clock.monotonic() + self._settings.settle_seconds, next(self._order), entry))

    def _settle(self) -> None:
        """Bring to an end what is due: there is no clockwork, whoever looks moves the hands."""
        now = self._clock.monotonic()
        while self._open and self._open[0][0] <= now:
            entry = heappop(self._open)[2]
            if entry.fails:
                entry.status, entry.message = "failed", "انتقال توسط بانک مقصد برگشت داده شد"
                self._balances[entry.account] += entry.asked.amount
            else:
                entry.status, entry.message = "success", "انتقال با موفقیت انجام شد"
                entry.ref_code = "".join(self._dice.choices(string.digits, k=12))


_MONTH = 30 * 86_400

StatementLine = tuple[float, dict[str, object]]
"""When it was, and the line itself."""


def statement(lines: Iterable[StatementLine], first: str, last: str) -> list[dict[str, object]]:
    """The lines from one day to another, both included, oldest first; days are Gregorian ``YYYY-MM-DD``."""
    return [line for at, line in sorted(lines, key=lambda line: line[0]) if first <= f"{tehran(at):%Y-%m-%d}" <= last]


def debits(entries: Iterable[Entry[Transfer]]) -> Iterator[StatementLine]:
    """What went out; a transfer that came back is not in it."""
    for entry in entries:
        if entry.status != "failed":
            note = f"انتقال {entry.asked.track_id}"
            yield entry.at, _line(entry.at, debit=entry.asked.amount, trace=entry.hashid, note=note)


def earlier_credits(dice: random.Random, opened_at: float) -> Iterator[StatementLine]:
    """Three sums that came in during the month before."""
    for number in range(1, 4):
        at = opened_at - dice.uniform(0, _MONTH)
        yield at, _line(at, credit=dice.randrange(1_000_000, 500_000_000, 10_000), trace=f"seed{number}", note="واریز")


def _line(at: float, *, trace: str, note: str, credit: int = 0, debit: int = 0) -> dict[str, object]:
    return {
        "credit_amount": credit,
        "debit_amount": debit,
        "transaction_trace": trace,
        "transaction_date_time": jalali_text(at),
        "additional": {"additionalInfo2": note},
    }
