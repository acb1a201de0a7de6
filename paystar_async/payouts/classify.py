"""What is known of each transfer once a call has ended. Pure and total: the one place that decides it.

The base is ``executed``, the table of the errors: what may have had an effect is AMBIGUOUS here, always. A refusal
counts as one only where it is listed below; whatever is not recognised is AMBIGUOUS, too.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from typing import cast

from attrs import frozen

from paystar_async import errors
from paystar_async.errors import PaystarError, StatusError, http_may_have_executed
from paystar_async.models.transfers import Settlement, Transfer, TransferStatus
from paystar_async.models.wallet import Accepted, WalletTransfer
from paystar_async.values.digits import compact
from paystar_async.values.masking import mask_text
from paystar_async.values.numbers import parse_amount

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
class Classification:
    """What is known of one transfer, and why.

    Attributes:
        verdict: what is known.
        reason: why, in words, masked.
        settlement: what the bank said, where it is ITEM.
        proven: False for a refusal that does not prove that nothing was executed: the bank is asked first.
    """

    verdict: Verdict
    reason: str = ""
    settlement: Settlement | None = None
    proven: bool = True


def classify(
    result: object, values: Sequence[Value], own: Own, hashids: Mapping[str, str] | None = None
) -> Mapping[str, Classification]:
    """What is known of each transfer that was to be sent, or was asked about, in one call.

    Args:
        result: the answer's value (a list of Settlement, or Accepted), or whatever was raised.
        values: what was to be sent.
        own: our track_id, given one as the bank keeps it.
        hashids: track_id by hashid, of transfers whose hashid is on record: it names an entry without a track_id.

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
    named = _named(entries, values, own, hashids or {})
    return {one.track_id: _of_entries(one, recorded_first(named[one.track_id], hashids or {})) for one in values}


def _of_error(error: BaseException, *, alone: bool) -> Classification:
    if not isinstance(error, PaystarError):
        return Classification(verdict=Verdict.AMBIGUOUS, reason=f"the call ended with {type(error).__name__}")
    reason = mask_text(str(error.args[0]) if error.args else type(error).__name__)
    verdict = REFUSALS.get(type(error), Verdict.AMBIGUOUS)
    if not alone and _is_refusal_of_several(error, verdict):
        return Classification(verdict=verdict, reason=reason, proven=False)
    if error.executed != "no":
        verdict = Verdict.AMBIGUOUS
    elif isinstance(error, errors.InvalidInput) and any("track_id" in name for name in error.fields):
        verdict = Verdict.INTEGRITY  # it may have one of that name, from another hand, and may have paid it
    return Classification(verdict=verdict, reason=reason)


def _is_refusal_of_several(error: PaystarError, verdict: Verdict) -> bool:
    """Return True for a response that refuses a call of several transfers.

    assumed: some of them may have been executed before, unless it is the key that was refused.
    """
    if verdict is Verdict.AMBIGUOUS or not isinstance(error, StatusError):
        return False
    is_key_refusal = verdict is Verdict.AUTH and not error.fields
    return not is_key_refusal and not http_may_have_executed(error.http_status)


def _accepted(value: Value) -> Classification:
    if isinstance(value, Transfer):
        return _unread("the answer does not mention it")
    return Classification(
        verdict=Verdict.ITEM, settlement=Settlement(track_id=value.track_id, status=TransferStatus.PENDING)
    )


def _unread(reason: str) -> Classification:
    return Classification(verdict=Verdict.AMBIGUOUS, reason=reason)


def _entries(result: object) -> list[Settlement] | None:
    if not isinstance(result, list | tuple):
        return None
    found = cast("Sequence[object]", result)
    entries = [one for one in found if isinstance(one, Settlement)]
    return entries if len(entries) == len(found) else None


def _named(
    entries: Sequence[Settlement], values: Sequence[Value], own: Own, hashids: Mapping[str, str]
) -> dict[str, list[Settlement]]:
    """Return the entries about each transfer: by track_id or recorded hashid, never by position or number."""
    named: dict[str, list[Settlement]] = {one.track_id: [] for one in values}
    for entry in entries:
        stored = entry.track_id or hashids.get(entry.hashid or "")
        if stored and (ours := stored if stored in named else own(stored)) in named:
            named[ours].append(entry)
    return named


def recorded_first(entries: Sequence[Settlement], hashids: Mapping[str, str]) -> Sequence[Settlement]:
    """Return the entries with those first whose hashid is on record: of several attempts, these are the ones known."""
    return sorted(entries, key=lambda entry: (entry.hashid or "") not in hashids) if hashids else entries


def _of_entries(value: Value, entries: Sequence[Settlement]) -> Classification:
    if not entries:
        return _unread("the answer does not mention it")
    for entry in entries:
        if differs := _difference(value, entry):
            return Classification(
                verdict=Verdict.INTEGRITY, reason=f"the bank names another {differs} for it", settlement=entry
            )
    return together(entries)


def together(entries: Sequence[Settlement]) -> Classification:
    """Return what the entries about one transfer say; more than one payment needs manual review.

    Attempts that failed say nothing of another attempt, under a hashid of its own, that did not.
    """
    if len(entries) == 1:
        return _said(entries[0])
    alive = [one for one in entries if one.status != TransferStatus.FAILED]
    told = alive or entries
    first = told[0]
    names = {one.hashid or None for one in told} - {None}, {one.ref_code or None for one in told} - {None}
    others = {one.hashid or None for one in entries if one not in told}
    unclear = bool(others) and (None in others or not names[0] or bool(others & names[0]))
    is_twice = bool(alive) and max(map(len, names)) > 1
    if unclear or is_twice or any(one.status != first.status for one in told):
        return Classification(
            verdict=Verdict.INTEGRITY, reason="the bank names it twice, and not alike", settlement=first
        )
    return _said(first)


def _said(entry: Settlement) -> Classification:
    if entry.status not in _DECIDED:
        return _unread(f'the bank says "{mask_text(entry.status.value)}"')
    return Classification(verdict=Verdict.ITEM, reason=mask_text(entry.message or ""), settlement=entry)


_DECIDED = {TransferStatus.SUCCESS, TransferStatus.FAILED, TransferStatus.PENDING}
_IBAN = re.compile(r"IR[0-9]{24}")
_ACCOUNT = re.compile(r"[0-9./-]{5,26}")


def _difference(value: Value, entry: Settlement) -> str:
    """Which field of what was sent the entry contradicts, if it repeats one at all."""
    amount = entry.extra.get("amount")
    if amount is not None:
        with suppress(ValueError):  # what is no amount contradicts none
            if abs(parse_amount(amount)) != value.amount:  # a debit may be shown as negative
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
