"""What is known of each transfer once a call has ended. Pure and total: the one place that decides it.

The base is ``executed``, the table of the errors: what may have had an effect is AMBIGUOUS here, always. A refusal
counts as one only where it is listed below; whatever is not recognised is AMBIGUOUS, too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import cast

from attrs import frozen

from paystar_async import errors
from paystar_async.errors import PaystarError
from paystar_async.models.transfers import Settlement, Transfer, TransferStatus
from paystar_async.models.wallet import Accepted, WalletTransfer
from paystar_async.values.digits import compact
from paystar_async.values.mask import scrub

Value = Transfer | WalletTransfer
Own = Callable[[str], str]
"""Our track_id, given one as the bank keeps it."""


class Verdict(Enum):
    """What is known of one transfer."""

    NOT_SENT = "it provably never left"
    AMBIGUOUS = "it may have been carried out, and nobody has said"
    ITEM = "the bank has said"
    INTEGRITY = "what the bank says contradicts itself or what was sent"
    AUTH = "refused before anything was done: the key"
    HALT = "refused before anything was done: the account"
    FUNDS = "refused before anything was done: no money"
    REJECTED = "refused before anything was done: what was sent"


REFUSALS: Mapping[type[PaystarError], Verdict] = {
    errors.NotSent: Verdict.NOT_SENT,
    errors.StorageError: Verdict.NOT_SENT,  # a key store that is down: there is nothing to sign in with
    errors.StorageUnavailable: Verdict.NOT_SENT,
    errors.StorageCorrupt: Verdict.NOT_SENT,
    errors.SchemaMismatch: Verdict.NOT_SENT,
    errors.ForeignRecord: Verdict.NOT_SENT,
    errors.WrongStorageKey: Verdict.NOT_SENT,
    errors.InvalidToken: Verdict.AUTH,
    errors.ExpiredToken: Verdict.AUTH,
    errors.InvalidRefreshToken: Verdict.AUTH,
    errors.ConfigurationError: Verdict.HALT,
    errors.ApplicationNotFound: Verdict.HALT,
    errors.ApplicationInactive: Verdict.HALT,
    errors.WrongAccessPassword: Verdict.HALT,
    errors.IpNotAllowed: Verdict.HALT,
    errors.ServiceDisabled: Verdict.HALT,
    errors.SettingsMissing: Verdict.HALT,
    errors.InsufficientBalance: Verdict.FUNDS,
    errors.InvalidInput: Verdict.REJECTED,
    errors.InvalidValue: Verdict.REJECTED,
}
"""What each error means whose ``executed`` is "no"; a status of another service, such as the gateway's, is not here."""


@frozen(kw_only=True)
class Known:
    """What is known of one transfer, and why.

    Attributes:
        verdict: what is known.
        reason: why, in words, masked.
        settlement: what the bank said, where it is ITEM.
    """

    verdict: Verdict
    reason: str = ""
    settlement: Settlement | None = None


def classify(result: object, values: Sequence[Value], own: Own) -> Mapping[str, Known]:
    """What is known of each transfer that was to be sent, or was asked about, in one call.

    Args:
        result: the answer's value (a list of Settlement, or Accepted), or whatever was raised.
        values: what was to be sent.
        own: our track_id, given one as the bank keeps it.

    Returns:
        A word on each track_id in ``values``, whatever the result was.
    """
    if isinstance(result, BaseException):
        return dict.fromkeys([one.track_id for one in values], _of_error(result, alone=len(values) == 1))
    if isinstance(result, Accepted):
        # The service took them all, by their ids; each one's fate is told by the inquiry alone.
        return {one.track_id: _accepted(one) for one in values}
    entries = _entries(result)
    if entries is None:
        return dict.fromkeys([one.track_id for one in values], _unread("the answer is no list of transfers"))
    named = _named(entries, values, own)
    return {one.track_id: _of_entries(one, named[one.track_id]) for one in values}


def _of_error(error: BaseException, *, alone: bool) -> Known:
    if not isinstance(error, PaystarError):
        return Known(verdict=Verdict.AMBIGUOUS, reason=f"the call ended with {type(error).__name__}")
    verdict = REFUSALS.get(type(error), Verdict.AMBIGUOUS) if error.executed == "no" else Verdict.AMBIGUOUS
    if alone and isinstance(error, errors.InvalidInput) and any("track_id" in name for name in error.fields):
        verdict = Verdict.INTEGRITY  # it may have one of that name, from another hand, and may have paid it
    return Known(verdict=verdict, reason=scrub(str(error.args[0]) if error.args else type(error).__name__))


def _accepted(value: Value) -> Known:
    if isinstance(value, Transfer):
        return _unread("the answer does not mention it")
    return Known(verdict=Verdict.ITEM, settlement=Settlement(track_id=value.track_id, status=TransferStatus.PENDING))


def _unread(reason: str) -> Known:
    return Known(verdict=Verdict.AMBIGUOUS, reason=reason)


def _entries(result: object) -> list[Settlement] | None:
    if not isinstance(result, list | tuple):
        return None
    found = cast("Sequence[object]", result)
    entries = [one for one in found if isinstance(one, Settlement)]
    return entries if len(entries) == len(found) else None


def _named(entries: Sequence[Settlement], values: Sequence[Value], own: Own) -> dict[str, list[Settlement]]:
    """The entries about each transfer: by track_id, never by position."""
    named: dict[str, list[Settlement]] = {one.track_id: [] for one in values}
    for entry in entries:
        stored = entry.track_id
        if stored is None:
            if len(named) == len(entries) == 1:  # it was asked about alone, and answered alone
                named[values[0].track_id].append(entry)
        elif (ours := stored if stored in named else own(stored)) in named:
            named[ours].append(entry)
    return named


def _of_entries(value: Value, entries: Sequence[Settlement]) -> Known:
    if not entries:
        return _unread("the answer does not mention it")
    for entry in entries:
        if differs := _difference(value, entry):
            return Known(verdict=Verdict.INTEGRITY, reason=f"the bank names another {differs} for it", settlement=entry)
    return together(entries)


def together(entries: Sequence[Settlement]) -> Known:
    """What the entries about one transfer say; more than one payment is for a person."""
    first = entries[0]
    names = {one.hashid for one in entries} - {None}, {one.ref_code for one in entries} - {None}
    if any(one.status != first.status for one in entries) or max(map(len, names)) > 1:
        return Known(verdict=Verdict.INTEGRITY, reason="the bank names it twice, and not alike", settlement=first)
    if first.status not in _DECIDED:
        return _unread(f'the bank says "{scrub(first.status.value)}"')
    return Known(verdict=Verdict.ITEM, reason=scrub(first.message or ""), settlement=first)


_DECIDED = {TransferStatus.SUCCESS, TransferStatus.FAILED, TransferStatus.PENDING}
_AMOUNT = re.compile(r"([0-9]{1,19})(?:\.0+)?")
_IBAN = re.compile(r"IR[0-9]{24}")
_ACCOUNT = re.compile(r"[0-9./-]{5,26}")


def _difference(value: Value, entry: Settlement) -> str:
    """Which field of what was sent the entry contradicts, if it repeats one at all."""
    amount = _AMOUNT.fullmatch(str(entry.extra.get("amount")).replace(",", ""))
    if amount and int(amount[1]) != value.amount:
        return "amount"
    if isinstance(value, WalletTransfer):
        return "destination" if _is_another(value.destination_number, entry.extra.get("destination_number")) else ""
    if _is_another(value.destination_account, entry.extra.get("destination_account")):
        return "destination"
    return "deposit" if _is_another(value.deposit, entry.extra.get("deposit")) else ""


def _is_another(ours: str, theirs: object) -> bool:
    """Whether both are whole accounts of one kind, and not the same; a masked one says nothing."""
    if not isinstance(theirs, str):
        return False
    theirs = compact(theirs).upper()
    if _IBAN.fullmatch(ours):
        return bool(_IBAN.fullmatch(theirs)) and theirs != ours
    return bool(_ACCOUNT.fullmatch(theirs)) and _digits(theirs) != _digits(ours)


def _digits(account: str) -> str:
    return "".join(filter(str.isdigit, account)).lstrip("0")
