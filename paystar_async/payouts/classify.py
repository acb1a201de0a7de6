"""Classification: decide what is known of each transfer after a call. Pure, and defined for every input.

An error whose ``executed`` is not "no" is AMBIGUOUS. A rejection counts only if it is listed in REFUSALS; everything
unrecognised is AMBIGUOUS too.
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

AnyTransfer = Transfer | WalletTransfer
SentTrackId = Callable[[str], str]
"""A function that returns the track_id that was sent, given the track_id that the bank stores."""


class Verdict(Enum):
    """The knowledge about a transfer after a call."""

    NOT_SENT = "provably not sent"
    AMBIGUOUS = "may have been executed; the result is unknown"
    REPORTED = "the bank has reported a status"
    CONTRADICTION = "the bank's report contradicts itself or what was sent"
    AUTH = "rejected before execution: the key"
    SUSPENDED = "rejected before execution: the account"
    FUNDS = "rejected before execution: insufficient funds"
    REJECTED = "rejected before execution: invalid transfer"


REFUSALS: Mapping[type[PaystarError], Verdict] = {
    errors.NotSent: Verdict.NOT_SENT,
    errors.StorageError: Verdict.NOT_SENT,  # the key store is down: there is no key to send with
    errors.StorageUnavailable: Verdict.NOT_SENT,
    errors.StorageCorrupt: Verdict.NOT_SENT,
    errors.SchemaMismatch: Verdict.NOT_SENT,
    errors.ForeignRecord: Verdict.NOT_SENT,
    errors.WrongStorageKey: Verdict.NOT_SENT,
    errors.InvalidToken: Verdict.AUTH,
    errors.ExpiredToken: Verdict.AUTH,
    errors.InvalidRefreshToken: Verdict.AUTH,
    errors.ConfigurationError: Verdict.SUSPENDED,
    errors.ApplicationNotFound: Verdict.SUSPENDED,
    errors.ApplicationInactive: Verdict.SUSPENDED,
    errors.WrongAccessPassword: Verdict.SUSPENDED,
    errors.IpNotAllowed: Verdict.SUSPENDED,
    errors.ServiceDisabled: Verdict.SUSPENDED,
    errors.SettingsMissing: Verdict.SUSPENDED,
    errors.InsufficientBalance: Verdict.FUNDS,
    errors.InvalidInput: Verdict.REJECTED,
    errors.InvalidValue: Verdict.REJECTED,
}
"""The verdict of each error whose ``executed`` is "no"; statuses of other services, such as the gateway, are absent."""


@frozen(kw_only=True)
class Classification:
    """The knowledge about a transfer, and its reason.

    Attributes:
        verdict: what is known.
        reason: why, masked.
        settlement: the bank's entry, if the verdict is REPORTED.
        proven: False for a rejection that does not prove that nothing was executed: the status is checked first.
    """

    verdict: Verdict
    reason: str = ""
    settlement: Settlement | None = None
    proven: bool = True


def classify(
    result: object, values: Sequence[AnyTransfer], sent_track_id: SentTrackId, hashids: Mapping[str, str] = {}
) -> Mapping[str, Classification]:
    """Classify each transfer that was sent or looked up in one call.

    Args:
        result: the response's value (a list of Settlement, or Accepted), or the exception raised.
        values: the transfers of the call.
        sent_track_id: returns the track_id that was sent, given the track_id that the bank stores.
        hashids: recorded hashids and their track_ids: they identify entries without a track_id.

    Returns:
        The classification of each track_id in ``values``, for any result.
    """
    if isinstance(result, BaseException):
        return dict.fromkeys([value.track_id for value in values], _classify_error(result, is_single=len(values) == 1))
    if isinstance(result, Accepted):
        # The service accepted all of them by their ids; only an inquiry returns the status of each.
        return {value.track_id: _accepted(value) for value in values}
    entries = _entries(result)
    if entries is None:
        unreadable = _ambiguous("the response is not a list of transfers")
        return dict.fromkeys([value.track_id for value in values], unreadable)
    matches = _match_entries(entries, values, sent_track_id, hashids)
    return {
        value.track_id: _classify_entries(value, sort_recorded_first(matches[value.track_id], hashids))
        for value in values
    }


def _classify_error(error: BaseException, *, is_single: bool) -> Classification:
    if not isinstance(error, PaystarError):
        return Classification(verdict=Verdict.AMBIGUOUS, reason=f"the call ended with {type(error).__name__}")
    reason = mask_text(str(error.args[0]) if error.args else type(error).__name__)
    verdict = REFUSALS.get(type(error), Verdict.AMBIGUOUS)
    if not is_single and _is_refusal_of_several(error, verdict):
        return Classification(verdict=verdict, reason=reason, proven=False)
    if error.executed != "no":
        verdict = Verdict.AMBIGUOUS
    elif isinstance(error, errors.InvalidInput) and any("track_id" in name for name in error.fields):
        # Another sender may have used the track_id, and that transfer may have been paid.
        verdict = Verdict.CONTRADICTION
    return Classification(verdict=verdict, reason=reason)


def _is_refusal_of_several(error: PaystarError, verdict: Verdict) -> bool:
    """Return True for a response that rejects a call with several transfers.

    assumed (refusal-before-execution): only of a call with one transfer. Of several, some may have been executed before
    the rejection, unless the key was rejected.
    """
    if verdict is Verdict.AMBIGUOUS or not isinstance(error, StatusError):
        return False
    is_key_refusal = verdict is Verdict.AUTH and not error.fields
    return not is_key_refusal and not http_may_have_executed(error.http_status)


def _accepted(value: AnyTransfer) -> Classification:
    if isinstance(value, Transfer):
        return _ambiguous("the response does not mention it")
    return Classification(
        verdict=Verdict.REPORTED, settlement=Settlement(track_id=value.track_id, status=TransferStatus.PENDING)
    )


def _ambiguous(reason: str) -> Classification:
    return Classification(verdict=Verdict.AMBIGUOUS, reason=reason)


def _entries(result: object) -> list[Settlement] | None:
    if not isinstance(result, list | tuple):
        return None
    items = cast("Sequence[object]", result)
    entries = [item for item in items if isinstance(item, Settlement)]
    return entries if len(entries) == len(items) else None


def _match_entries(
    entries: Sequence[Settlement], values: Sequence[AnyTransfer], sent_track_id: SentTrackId, hashids: Mapping[str, str]
) -> dict[str, list[Settlement]]:
    """Return the entries of each transfer, matched by track_id or recorded hashid, never by position."""
    matches: dict[str, list[Settlement]] = {value.track_id: [] for value in values}
    for entry in entries:
        stored = entry.track_id or hashids.get(entry.hashid or "")
        if stored and (track_id := stored if stored in matches else sent_track_id(stored)) in matches:
            matches[track_id].append(entry)
    return matches


def sort_recorded_first(entries: Sequence[Settlement], hashids: Mapping[str, str]) -> Sequence[Settlement]:
    """Return the entries with recorded hashids first: of several attempts, these are the known ones."""
    return sorted(entries, key=lambda entry: (entry.hashid or "") not in hashids)


def _classify_entries(value: AnyTransfer, entries: Sequence[Settlement]) -> Classification:
    if not entries:
        return _ambiguous("the response does not mention it")
    for entry in entries:
        if field_name := _difference(value, entry):
            return Classification(
                verdict=Verdict.CONTRADICTION, reason=f"the bank reports another {field_name} for it", settlement=entry
            )
    return merge_entries(entries)


def merge_entries(entries: Sequence[Settlement]) -> Classification:
    """Classify the entries of one transfer; more than one payment is a contradiction.

    Failed attempts do not contradict an attempt under another hashid that did not fail.
    """
    if len(entries) == 1:
        return _classify_entry(entries[0])
    not_failed = [entry for entry in entries if entry.status != TransferStatus.FAILED]
    candidates = not_failed or entries
    first = candidates[0]
    hashids = {entry.hashid or None for entry in candidates} - {None}
    ref_codes = {entry.ref_code or None for entry in candidates} - {None}
    failed_hashids = {entry.hashid or None for entry in entries if entry not in candidates}
    is_unclear = bool(failed_hashids) and (None in failed_hashids or not hashids or bool(failed_hashids & hashids))
    is_paid_twice = bool(not_failed) and max(len(hashids), len(ref_codes)) > 1
    if is_unclear or is_paid_twice or any(entry.status != first.status for entry in candidates):
        return Classification(
            verdict=Verdict.CONTRADICTION, reason="the bank lists it twice with different data", settlement=first
        )
    return _classify_entry(first)


def _classify_entry(entry: Settlement) -> Classification:
    if entry.status not in _KNOWN_STATUSES:
        return _ambiguous(f'the bank reports "{mask_text(entry.status.value)}"')
    return Classification(verdict=Verdict.REPORTED, reason=mask_text(entry.message or ""), settlement=entry)


_KNOWN_STATUSES = {TransferStatus.SUCCESS, TransferStatus.FAILED, TransferStatus.PENDING}
_IBAN = re.compile(r"IR[0-9]{24}")
_ACCOUNT = re.compile(r"[0-9./-]{5,26}")


def _difference(value: AnyTransfer, entry: Settlement) -> str:
    """Return the field of the transfer that the entry contradicts, or ``""``."""
    amount = entry.extra.get("amount")
    if amount is not None:
        with suppress(ValueError):  # an entry without a valid amount contradicts nothing
            if abs(parse_amount(amount)) != value.amount:  # a debit may be shown as negative
                return "amount"
    if isinstance(value, WalletTransfer):
        return "destination" if _is_another(value.destination_number, entry.extra.get("destination_number")) else ""
    if _is_another(value.destination_account, entry.extra.get("destination_account")):
        return "destination"
    return "deposit" if _is_another(value.deposit, entry.extra.get("deposit")) else ""


def _is_another(sent: str, listed: object) -> bool:
    """Return True if both are complete accounts of the same kind and differ; a masked account is ignored."""
    if not isinstance(listed, str):
        return False
    listed = compact(listed).upper()
    if _IBAN.fullmatch(sent):
        return bool(_IBAN.fullmatch(listed)) and listed != sent
    return bool(_ACCOUNT.fullmatch(listed)) and _digits(listed) != _digits(sent)


def _digits(account: str) -> str:
    return "".join(filter(str.isdigit, account)).lstrip("0")
