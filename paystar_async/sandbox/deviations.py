"""Deviations: a sandbox in which one assumption about the live service does not hold.

A deviation wraps the bank as a middleware wraps a client: it gets the call and ``next``, and returns the response.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol, cast

from attrs import evolve, frozen

from paystar_async.endpoint import Endpoint
from paystar_async.errors import ConfigurationError
from paystar_async.sandbox.authentication import EXPIRED_TOKEN, INVALID_INPUT, INVALID_REQUEST, RawFields
from paystar_async.sandbox.payments import ALREADY_VERIFIED, UNKNOWN_REF_NUM, GatewayPayments
from paystar_async.sandbox.responses import INVALID_ACCESS, Refusal, SandboxResponse, json_response
from paystar_async.sandbox.settings import Settings
from paystar_async.values.dates import TEHRAN_OFFSET
from paystar_async.values.shapes import list_in

OTHER = "other"
"""The value in ``--assume ID=other``: the sandbox behaves otherwise than assumed."""
_UNLISTED_STATUS = -50
_VERIFICATION_FAILED = -9
_MAX_LIST = 500
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


@frozen(kw_only=True)
class BankCall:
    """A call as the bank gets it.

    Attributes:
        endpoint: the called endpoint.
        bearer: the key as received.
        raw: the fields as received.
        path: the path of the request.
        failure_http: the HTTP status of a refusal, if a fault sets it.
        settings: the sandbox's settings.
        payments: the payments of the gateway.
        authenticate: checks the call's credentials and key; raises Refusal.
    """

    endpoint: Endpoint
    bearer: str
    raw: RawFields
    path: str
    failure_http: int | None
    settings: Settings
    payments: GatewayPayments
    authenticate: Callable[[], None]

    def refuse(self, refusal: Refusal) -> SandboxResponse:
        """Return a refusal of this call."""
        return refusal.to_response(self.settings, self.failure_http)


Handle = Callable[[BankCall], SandboxResponse]


class Deviation(Protocol):
    """A function that responds to a call, or changes how the bank responds."""

    def __call__(self, call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
        """Respond to a call."""
        ...


Envelope = dict[str, Any]


def _change_envelope(change: Callable[[BankCall, Envelope], Envelope | None]) -> Deviation:
    """Return a deviation that changes each envelope; None leaves it as it is."""

    def deviate(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
        response = next(call)
        changed = change(call, cast("Envelope", json.loads(response.body)))
        if changed is None:
            return response
        return evolve(json_response(changed, http_status=response.http_status), headers=response.headers)

    return deviate


def _change_data(endpoints: Collection[str], change: Callable[[BankCall, Any], Any]) -> Deviation:
    """Return a deviation that changes the data of each success of some endpoints."""

    def change_envelope(call: BankCall, envelope: Envelope) -> Envelope | None:
        if call.endpoint.id not in endpoints or not _is_success(envelope):
            return None
        return envelope | {"data": change(call, envelope["data"])}

    return _change_envelope(change_envelope)


def _change_status(old: int, new: int, *, needs: str | None = None, message: str | None = None) -> Deviation:
    """Return a deviation that changes a status, of refusals that name a field or have a message."""

    def change(_: BankCall, envelope: Envelope) -> Envelope | None:
        matches = envelope.get("status") == old if message is None else envelope["message"] == message
        if not matches or (needs is not None and needs not in (envelope["data"] or {})):
            return None
        return envelope | {"status": new}

    return _change_envelope(change)


def _change_http(matches: Callable[[Envelope], bool], http_status: int) -> Deviation:
    """Return a deviation that changes the HTTP status of the envelopes that match."""

    def deviate(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
        response = next(call)
        return evolve(response, http_status=http_status) if matches(json.loads(response.body)) else response

    return deviate


def _refuse(
    endpoints: Collection[str], is_refused: Callable[[BankCall], bool], refusal: Callable[[], Refusal]
) -> Deviation:
    """Return a deviation that refuses some calls of some endpoints, once their credentials are accepted."""

    def deviate(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
        if call.endpoint.id not in endpoints or not is_refused(call):
            return next(call)
        try:
            call.authenticate()
        except Refusal:
            return next(call)
        return call.refuse(refusal())

    return deviate


def _rename(endpoints: Collection[str], **names: str) -> Deviation:
    """Return a deviation that renames fields in the data of a success."""
    return _change_data(endpoints, lambda _, data: {names.get(name, name): value for name, value in data.items()})


def _map_items(data: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    items = list_in(data)
    return change(data) if items is None else [change(item) for item in items]


def _is_success(envelope: Envelope) -> bool:
    return envelope.get("status") in (1, "ok")


def _swap_success_status(_: BankCall, envelope: Envelope) -> Envelope | None:
    return envelope | {"status": 1 if envelope["status"] == "ok" else "ok"} if _is_success(envelope) else None


def _shift_times(_: BankCall, envelope: Envelope) -> Envelope:
    """Return the envelope with every time in UTC instead of Tehran time."""
    shifted: Envelope = json.loads(json.dumps(envelope), object_hook=_shift_fields)
    return shifted


def _shift_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(datetime.fromisoformat(value) - TEHRAN_OFFSET)
        if isinstance(value, str) and _TIME.fullmatch(value)
        else value
        for name, value in fields.items()
    }


def _refuse_after_execution(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
    response = next(call)
    is_settled = call.endpoint.id.endswith(".settle") and _is_success(json.loads(response.body))
    return call.refuse(Refusal(EXPIRED_TOKEN)) if is_settled else response


def _list_oldest_first(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
    if call.endpoint.id != "transfers.find":
        return next(call)
    response = next(evolve(call, raw={**call.raw, "limit": _MAX_LIST, "skip": 0}))
    envelope: Envelope = json.loads(response.body)
    if not _is_success(envelope):
        return response
    start, limit = int(str(call.raw.get("skip") or 0)), int(str(call.raw.get("limit") or 20))
    return json_response(envelope | {"data": envelope["data"][::-1][start : start + limit]})


def _ignore_paging(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
    raw = {name: value for name, value in call.raw.items() if name not in ("limit", "skip")}
    return next(evolve(call, raw=raw) if call.endpoint.id == "transfers.find" else call)


def _without_direct_path(call: BankCall, next: Handle, /) -> SandboxResponse:  # noqa: A002
    if call.path.startswith("/api/direct/"):
        return json_response({"message": "Not Found"}, http_status=404)
    return next(call)


def _swap_containers(data: Any) -> Any:
    return [data] if isinstance(data, dict) else {str(index): item for index, item in enumerate(data)}


def _accept_conflict(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"status": "success"} if item["hashid"] is None else item


def _numeric_expiry(data: dict[str, Any]) -> dict[str, Any]:
    return {name: 86_400 if name.endswith("expire_date") else value for name, value in data.items()}


def _new_track_id(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"track_id": f"P-{item['track_id']}"}


def _new_status(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"status": {"success": "done", "SUCCEED": "PAID", "INIT": "NEW"}.get(item["status"], item["status"])}


def _has_order(call: BankCall) -> bool:
    return any(payment.request.order_id == call.raw.get("order_id") for payment in call.payments.newest())


def _lower_payment_amount(_: BankCall, data: dict[str, Any]) -> dict[str, Any]:
    return data | {"payment_amount": data["payment_amount"] - 100}


def _raise_payment_amount(call: BankCall, data: dict[str, Any]) -> dict[str, Any]:
    if call.endpoint.id == "gateway.inquiry":
        # An amount that another deviation lowered stays: an inquiry shows that one, and a creation this one.
        payment = call.payments.find(call.raw["ref_num"])
        if data["payment_amount"] < payment.request.amount:
            return data
    return data | {"payment_amount": data["payment_amount"] * 100}


_FIND = ("transfers.find", "wallet.find")
_SETTLE = ("transfers.settle",)
_PAYMENT_AMOUNT = ("gateway.create", "gateway.inquiry")
_MATCH = ("identity.match_mobile", "identity.match_card", "identity.match_iban")
_REFRESH = ("keys.refresh_application_key", "keys.refresh_wallet_key", "keys.refresh_inquiry_key")

DEVIATIONS: Mapping[str, Deviation | Mapping[str, Any]] = {
    "success-status": _change_envelope(_swap_success_status),
    "invalid-access-status": _change_status(0, INVALID_REQUEST, message=INVALID_ACCESS),
    "unknown-status": _change_status(UNKNOWN_REF_NUM, _UNLISTED_STATUS),
    "key-refused-first": _refuse_after_execution,
    "key-expiry": _change_data(_REFRESH, lambda _, data: _numeric_expiry(data)),
    "date-zone": _change_envelope(_shift_times),
    "refresh-rotation": {"rotate_refresh_tokens": True},
    "inquiry-refresh-fields": _rename(
        ("keys.refresh_inquiry_key",), inquiry_key="api_key", inquiry_key_expire_date="api_key_expire_date"
    ),
    "refusal-before-execution": {"partial_execution": True},
    "repeated-track-id": {"repeats_execute": True},
    "track-id-conflict": _change_data(_SETTLE, lambda _, data: _map_items(data, _accept_conflict)),
    "track-id-form": _change_data(_FIND, lambda _, data: _map_items(data, _new_track_id)),
    "listed-soon": _change_data(_FIND, lambda call, data: [] if call.raw.get("track_id") else data),
    "transfer-status-words": _change_data((*_FIND, *_SETTLE), lambda _, data: _map_items(data, _new_status)),
    "balance-fields": _rename(("transfers.balance",), balance="current_balance"),
    "statement-lines": _change_data(
        ("transfers.statement",),
        lambda _, data: {"transactions": [line | {"additional": "text"} for line in data["transactions"]]},
    ),
    "is-matched": _change_data(_MATCH, lambda _, data: {"is_matched": int(data["is_matched"])}),
    "birth-date": _refuse(
        ("identity.match_card", "identity.match_iban"),
        lambda _: True,
        lambda: Refusal(INVALID_INPUT, fields={"birth_date": ["تاریخ تولد معتبر نیست"]}),
    ),
    **{
        f"{name.replace('_', '-')}-fields": _rename((f"inquiry.{name}",), deposit="account_number")
        for name in ("account_to_iban", "card_to_iban", "iban")
    },
    "wallet-balance-fields": _rename(("wallet.balance",), available_amount="available"),
    "amount-dots": _change_data(
        ("wallet.balance",), lambda _, data: {name: text.replace(",", ".") for name, text in data.items()}
    ),
    "wallet-fee": _change_data(
        ("wallet.settle",),
        lambda _, data: {
            "created_settlements": [
                item | {"amount_with_wage": item["amount_with_wage"] - 5} for item in data["created_settlements"]
            ]
        },
    ),
    "withdraw-type": _refuse(
        ("wallet.settle",),
        lambda _: True,
        lambda: Refusal(INVALID_INPUT, fields={"withdraw_type": ["نوع برداشت معتبر نیست"]}),
    ),
    "repeated-order-id": _refuse(("gateway.create",), _has_order, lambda: Refusal(INVALID_REQUEST)),
    "bad-sign-status": _change_status(INVALID_REQUEST, _VERIFICATION_FAILED, needs="sign"),
    "price-without-fee": {"price_fee": 10_000},
    "payer-fee": _change_data(_PAYMENT_AMOUNT, _lower_payment_amount),
    "payer-fee-limit": _change_data(_PAYMENT_AMOUNT, _raise_payment_amount),
    "page-lifetime": {"page_seconds": 7_200.0},
    "second-verify": _change_status(ALREADY_VERIFIED, _VERIFICATION_FAILED),
    "unsigned-inquiry": _refuse(
        ("gateway.inquiry",), lambda call: not call.raw.get("sign"), lambda: Refusal(INVALID_REQUEST)
    ),
    "payment-status-words": _change_data(("gateway.inquiry",), lambda _, data: _new_status(data)),
    "default-callback": {"default_callback_method": "POST"},
    # the outermost last: pages, wrappers and names around values, then HTTP
    "list-order": _list_oldest_first,
    "list-paging": _ignore_paging,
    "list-shape": _change_data(_FIND, lambda _, data: {"data": data, "total": len(data)}),
    "batch-response": _change_data(_SETTLE, lambda _, data: _swap_containers(data)),
    "wallet-settled-fields": _change_data(("wallet.settle",), lambda _, data: data["created_settlements"]),
    "created-fields": _change_data(
        ("gateway.create",),
        lambda _, data: {name: value for name, value in data.items() if name != "payment_amount"},
    ),
    "inquiry-fields": _rename(("gateway.inquiry",), payment_amount="amount"),
    "refusal-http": _change_http(
        lambda envelope: (
            not _is_success(envelope) and envelope.get("status") not in (None, "unauthenticated", 0, 11, -99)
        ),
        422,
    ),
    "unauthenticated-http": _change_http(lambda envelope: envelope.get("status") == "unauthenticated", 403),
    "direct-path": _without_direct_path,
}
"""The id of an assumption → a deviation, or settings, with which it does not hold; innermost first."""


def wrap_bank(
    handle: Callable[[Endpoint, str, RawFields, int | None], SandboxResponse], deviations: Iterable[Deviation]
) -> Handle:
    """Return the bank's ``handle`` in deviations, the last one outermost."""

    def innermost(call: BankCall) -> SandboxResponse:
        return handle(call.endpoint, call.bearer, call.raw, call.failure_http)

    wrapped: Handle = innermost
    for deviation in deviations:
        wrapped = partial(_call_deviation, deviation, wrapped)
    return wrapped


def _call_deviation(deviation: Deviation, next: Handle, call: BankCall) -> SandboxResponse:  # noqa: A002
    return deviation(call, next)


def parse_assumption(text: str) -> str:
    """Return the id in ``ID=other``.

    Raises:
        ConfigurationError: ``text`` has another form, or there is no such assumption.
    """
    name, _, alternative = text.partition("=")
    if alternative != OTHER or name not in DEVIATIONS:
        raise ConfigurationError(
            f"an assumption is ID={OTHER}, not {text!r:.60}", hint=f"the ids are {', '.join(DEVIATIONS)}"
        )
    return name
