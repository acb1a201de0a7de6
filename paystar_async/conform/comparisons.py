"""Comparisons between calls: facts that no single response shows, such as the order of a list.

Ids are remembered as hashes, in memory only. A fact is a name and a word of a closed set, never a value.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from attrs import define, field

from paystar_async.endpoint import KEY_REFUSALS, Request
from paystar_async.errors import AlreadyVerified, PaystarError, StatusError
from paystar_async.models.gateway import (
    Created,
    CreatePayment,
    GatewayStatus,
    GatewayTransaction,
    InquirePayment,
    VerifyPayment,
)
from paystar_async.models.gateway import Verified as VerifiedPayment
from paystar_async.models.identity import MatchCard, MatchIban
from paystar_async.models.transfers import FindTransfers, Settle, Settlement, Transfer
from paystar_async.models.wallet import Accepted, FindWalletTransfers, SettleWallet, WalletTransfer
from paystar_async.runtime.clock import Clock
from paystar_async.values.dates import TEHRAN_OFFSET, parse_tehran
from paystar_async.values.shapes import list_in

V = TypeVar("V")

MAX_REMEMBERED = 1000
"""Track ids, orders and payments that are remembered, each."""
PAYABLE_SECONDS = 1_800.0
"""Seconds after its creation until which a payment is made, as ``payments`` assumes."""
LISTED_SECONDS = 60.0
"""Seconds after which an accepted transfer is listed."""
_TOLERANCE_SECONDS = 120.0
_TEN_TIMES = 10
Facts = dict[str, str]


@define
class _RefusedTransfer:
    kind: Literal["refusal", "key refusal"]
    refused_at: float


@define
class _SentTransfer:
    """A transfer that was sent: hashes of its contents and of its hashid, and the time."""

    contents: int
    hashid: int | None
    sent_at: float


@define
class _CreatedPayment:
    """A payment that was created: its amount in Rial, and whether it was verified."""

    amount: int
    created_at: float
    uses_default_method: bool
    is_verified: bool = False
    has_returned: bool = False
    unpaid_until: float = 0.0


@define
class Comparisons:
    """Compares the calls of one process.

    Args:
        clock: the time at which calls are sent.
    """

    clock: Clock
    _refused: dict[int, _RefusedTransfer] = field(factory=dict[int, _RefusedTransfer], init=False)
    _sent: dict[int, _SentTransfer] = field(factory=dict[int, _SentTransfer], init=False)
    _orders: dict[int, int] = field(factory=dict[int, int], init=False)
    _payments: dict[int, _CreatedPayment] = field(factory=dict[int, _CreatedPayment], init=False)
    _first_page: tuple[int, ...] = field(default=(), init=False)

    def compare(self, request: Request[Any], value: object, error: BaseException | None) -> Facts:
        """Return the facts of a call.

        Args:
            request: the request.
            value: the response model; None if the call failed.
            error: the error of a call that failed.
        """
        items = list_in(value)
        match request.value:
            case Settle() | SettleWallet() as call:
                return self._compare_transfers(call.transfers, value, error)
            case FindTransfers(track_id=None) as call if items is not None:
                return self._compare_list(call, items)
            case FindTransfers() | FindWalletTransfers() as call if items is not None:
                return self._compare_lookup(str(call.track_id), request.account, items)
            case CreatePayment() as call:
                return self._compare_order(call, value, error)
            case VerifyPayment() as call:
                return self._compare_verification(call, value, error)
            case InquirePayment() as call:
                return self._compare_inquiry(call, value)
            case MatchCard() | MatchIban() if getattr(value, "is_matched", False):
                return {"birth date": "matched"}
            case _:
                return {}

    def take_default_method(self, ref_num: object) -> bool | None:
        """Return whether a payment was created without ``callback_method``; None if unknown, or returned before."""
        payment = self._payments.get(hash(ref_num)) if isinstance(ref_num, str) else None
        if payment is None or payment.has_returned:
            return None
        payment.has_returned = True
        return payment.uses_default_method

    def _compare_transfers(
        self, transfers: Sequence[Transfer] | Sequence[WalletTransfer], value: object, error: BaseException | None
    ) -> Facts:
        if value is None:
            refused = _RefusedTransfer(
                "key refusal" if isinstance(error, KEY_REFUSALS) else "refusal", self.clock.time()
            )
            for transfer in transfers:
                if isinstance(error, StatusError) and hash(transfer.track_id) not in self._sent:
                    _remember(self._refused, hash(transfer.track_id), refused)
                else:
                    self._refused.pop(hash(transfer.track_id), None)
            return {}
        facts: Facts = _fee(transfers, value) if isinstance(value, Accepted) else {}
        items: Mapping[str | None, Settlement] = {}
        if isinstance(value, list):
            settlements = cast("list[Settlement]", value)
            items = {item.track_id: item for item in settlements}
        for transfer in transfers:
            key, item = hash(transfer.track_id), items.get(transfer.track_id)
            self._refused.pop(key, None)
            hashid = hash(item.hashid) if item is not None and item.hashid else None
            previous = self._sent.get(key)
            if previous is None:
                _remember(self._sent, key, _SentTransfer(hash(transfer), hashid, self.clock.time()))
            elif item is not None and previous.contents == hash(transfer):
                is_first = hashid is not None and hashid == previous.hashid
                facts["repeated track_id"] = "first result" if is_first else "another result"
            elif item is not None:
                facts["changed transfer"] = "failed" if item.status == "failed" else "not failed"
        return facts

    def _compare_list(self, call: FindTransfers, items: list[Any]) -> Facts:
        facts: Facts = {}
        order = _order(_times(items))
        if order is not None:
            facts["order"] = order
        if call.limit is not None and items:
            facts["limit"] = "kept" if len(items) <= call.limit else "exceeded"
        page = tuple(hash(item.hashid) for item in items)
        if not call.skip:
            self._first_page = page
        elif page and self._first_page:
            facts["skip"] = "ignored" if page[0] == self._first_page[0] else "kept"
        return facts

    def _compare_lookup(self, track_id: str, account: str, items: list[Any]) -> Facts:
        facts: Facts = {}
        refused = self._refused.get(hash(track_id))
        if refused is not None and (items or self._is_listed_by_now(refused.refused_at)):
            facts[f"after {refused.kind}"] = "found" if items else "absent"
        for item in items:
            stored_form = f"{account}*{track_id}*"
            is_stored_form = isinstance(item.track_id, str) and item.track_id.startswith(stored_form)
            form = "as sent" if item.track_id == track_id else "stored form" if is_stored_form else "other"
            facts["track_id"] = form
        if len({item.hashid for item in items if item.status in ("success", "pending")}) > 1:
            facts["repeated track_id"] = "paid again"
        sent = self._sent.get(hash(track_id))
        if sent is not None and self._is_listed_by_now(sent.sent_at):
            facts["listed"] = "found" if items else "missing"
        if sent is not None and items and (zone := self._zone(_time_text(items[0].extra), sent.sent_at)):
            facts["zone"] = zone
        return facts

    def _is_listed_by_now(self, since: float) -> bool:
        """Return True if a transfer that was accepted at a time is listed, if the service lists it as assumed."""
        return self.clock.time() - since > LISTED_SECONDS

    def _compare_order(self, call: CreatePayment, value: object, error: BaseException | None) -> Facts:
        facts: Facts = {}
        key = hash(call.order_id)
        previous = self._orders.get(key)
        if isinstance(value, Created):
            if previous is not None:
                facts["repeated order_id"] = (
                    "same transaction" if previous == hash(value.ref_num) else "new transaction"
                )
            if value.payment_amount is not None:
                facts["payment_amount"] = _ratio(value.payment_amount, call.amount)
            _remember(self._orders, key, hash(value.ref_num))
            payment = _CreatedPayment(call.amount, self.clock.time(), call.callback_method is None)
            _remember(self._payments, hash(value.ref_num), payment)
        elif previous is not None and isinstance(error, StatusError):
            facts["repeated order_id"] = "refused"
        return facts

    def _compare_verification(self, call: VerifyPayment, value: object, error: BaseException | None) -> Facts:
        facts: Facts = {}
        payment = self._payments.get(hash(call.ref_num))
        if isinstance(value, VerifiedPayment):
            facts["price"] = _ratio(value.price, call.amount)
            if payment is not None and payment.unpaid_until > payment.created_at + PAYABLE_SECONDS:
                facts["paid"] = "late"
        if payment is not None and payment.is_verified and (value is not None or isinstance(error, PaystarError)):
            is_refused = isinstance(error, AlreadyVerified)
            facts["second verify"] = "already verified" if is_refused else "other"
        if payment is not None and value is not None:
            payment.is_verified = True
        return facts

    def _compare_inquiry(self, call: InquirePayment, value: object) -> Facts:
        facts: Facts = {"signed": "no" if call.amount is None else "yes"}
        if isinstance(value, GatewayTransaction):
            payment = self._payments.get(hash(call.ref_num))
            if payment is not None and value.status is GatewayStatus.INIT:
                payment.unpaid_until = self.clock.time()
            amount = call.amount or (payment and payment.amount)
            if value.payment_amount is not None and amount:
                facts["payment_amount"] = _ratio(value.payment_amount, amount)
            if payment is not None and (zone := self._zone(value.payment_date, payment.created_at)):
                facts["zone"] = zone
        return facts

    def _zone(self, text: object, since: float) -> str | None:
        """Return the time zone in which a date lies between ``since`` and now, or None."""
        moment = parse_tehran(text)
        if moment is None:
            return None
        earliest, latest = since - _TOLERANCE_SECONDS, self.clock.time() + _TOLERANCE_SECONDS
        if earliest <= moment.timestamp() <= latest:
            return "tehran"
        return "utc" if earliest <= moment.timestamp() + TEHRAN_OFFSET.total_seconds() <= latest else None


def _remember(memory: dict[int, V], key: int, value: V) -> None:
    """Store a value, and forget the oldest one beyond the limit."""
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


def _fee(transfers: Sequence[Transfer] | Sequence[WalletTransfer], value: Accepted) -> Facts:
    if len(transfers) != 1 or len(value.created_settlements) != 1:
        return {}
    charged = value.created_settlements[0].amount_with_wage
    return {} if charged is None else {"amount_with_wage": _ratio(charged, transfers[0].amount)}


def _ratio(reported: int, amount: int) -> str:
    if reported == amount:
        return "equal"
    return "less" if reported < amount else "ten times" if reported >= amount * _TEN_TIMES else "more"


def _time_text(extra: Mapping[str, object]) -> str | None:
    """Return the first date and time of an item's further fields, as text."""
    name = _time_field(extra)
    return None if name is None else str(extra[name])


def _time_field(extra: Mapping[str, object]) -> str | None:
    return next((name for name, text in extra.items() if parse_tehran(text)), None)


def _times(items: Sequence[Any]) -> list[str]:
    """Return the dates and times of a list's items, as texts; which field has them, the first items show."""
    name = next((name for item in items[:3] if (name := _time_field(item.extra)) is not None), None)
    return [text for item in items if isinstance(text := item.extra.get(name), str)]


def _order(times: list[str]) -> str | None:
    if len(set(times)) < 2:
        return None
    if times == sorted(times, reverse=True):
        return "newest first"
    return "oldest first" if times == sorted(times) else "no order"
