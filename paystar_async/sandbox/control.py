"""The controls of a running sandbox: JSON under ``/_sandbox/``, with the same functions as ``Sandbox`` in process."""

import inspect
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import attrs
from attrs import field, frozen
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from paystar_async.credentials import Application, Gateway, Wallet
from paystar_async.describe.openapi import build_document
from paystar_async.errors import PaystarError
from paystar_async.sandbox.faults import KINDS, Fault
from paystar_async.sandbox.pages.dashboard import dashboard_page
from paystar_async.sandbox.requests import load_json
from paystar_async.sandbox.responses import is_same_origin, json_response
from paystar_async.sandbox.settings import DESCRIPTIONS
from paystar_async.sandbox.state import SandboxState
from paystar_async.values.secret import Secret

ControlBody = Mapping[str, Any]
Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def accounts(state: SandboxState, _: ControlBody) -> object:
    """Return the sandbox's accounts as constructor arguments, with their secrets, which protect play money only."""
    gateway = _reveal_account(state.gateway)
    return {
        "application": _reveal_account(state.application),
        "gateway": {"id": gateway["id"], "sign_key": gateway["sign_key"]},
        "wallet": _reveal_account(state.wallet),
    }


def ledger(state: SandboxState, _: ControlBody) -> object:
    """Return the executed transfers by track_id, each with its number of executions."""
    return {"transfers": {track_id: attrs.asdict(line) for track_id, line in state.ledger.items()}}


def stats(state: SandboxState, _: ControlBody) -> object:
    """Return the numbers of requests by endpoint and of refreshes by realm."""
    return state.stats


def people(state: SandboxState, _: ControlBody) -> object:
    """Return the people with accounts at the sandbox, with their numbers."""
    return {"people": [attrs.asdict(person) for person in state.people]}


def settings(state: SandboxState, body: ControlBody) -> object:
    """Change the settings in the body, and return all settings."""
    state.settings.change(body)
    return state.settings.as_dict()


def faults(state: SandboxState, _: ControlBody) -> object:
    """Return the active faults and the kinds of fault."""
    return {
        "faults": [attrs.asdict(fault) for fault in state.faults.active],
        "kinds": {name: kind.doc for name, kind in KINDS.items()},
    }


def add_fault(state: SandboxState, body: ControlBody) -> object:
    """Activate a fault; the fields are the arguments of ``Sandbox.fail``."""
    arguments = dict(body)
    if arguments.pop("clear", True) is not True:
        raise ValueError("clear is true, or left out")
    if "clear" in body:
        state.heal()
    if arguments:
        state.fail(**arguments)
    return faults(state, {})


def heal(state: SandboxState, body: ControlBody) -> object:
    """Deactivate all faults, or those of an endpoint or a kind."""
    state.heal(**body)
    return faults(state, {})


def requests(state: SandboxState, _: ControlBody) -> object:
    """Return the last requests and responses, newest first, with secrets and personal values masked."""
    return {
        "requests": [
            {
                "number": logged.number,
                "time": logged.received_at,
                "endpoint": logged.endpoint.id,
                "fields": logged.masked_fields,
                "faults": logged.fault_kinds,
                "http": logged.response.http_status if logged.response else None,
                "response": logged.masked_response,
            }
            for logged in state.request_log.newest()
        ]
    }


def orders(state: SandboxState, _: ControlBody) -> object:
    """Return the payments and their status, newest first."""
    payments = state.bank.payments
    return {
        "orders": [
            {
                "order_id": payment.request.order_id,
                "ref_num": payment.ref_num,
                "amount": payment.request.amount,
                "status": str(payments.status(payment)),
                "opened": payment.opened,
            }
            for payment in payments.newest()
        ]
    }


def clock(state: SandboxState, body: ControlBody) -> object:
    """Put the clock forward and return its time."""
    state.advance(body["advance"])
    return {"time": state.clock.time()}


def reset(state: SandboxState, _: ControlBody) -> object:
    """Restore the initial state; keep settings and clock."""
    state.reset()
    return {}


def pay(state: SandboxState, body: ControlBody) -> object:
    """Make the payer's choice on the payment page, and return the callback with its method and URL."""
    callback = state.return_payer(str(body["token"]), str(body.get("choice", "pay")))
    return {
        "callback": callback.fields,
        "method": "GET" if callback.uses_get else "POST",
        "url": callback.redirect_url if callback.uses_get else callback.url,
    }


def transfer(state: SandboxState, body: ControlBody) -> object:
    """Settle a transfer now, as its bank would: with success, or failed and paid back."""
    track_id = str(body["track_id"])
    state.decide_transfer(track_id, str(body["status"]))
    return {"transfers": {track_id: attrs.asdict(state.ledger[track_id])}}


def expire(state: SandboxState, body: ControlBody) -> object:
    """Let the keys of a realm, or all keys, expire now; the clock does not move."""
    state.expire_key(body.get("realm"))
    return {}


def balance(state: SandboxState, body: ControlBody) -> object:
    """Set the balance of an account."""
    state.set_balance(body["account"], body["amount"])
    return {"account": body["account"], "amount": body["amount"]}


def _attribute_docs(cls: type[attrs.AttrsInstance]) -> dict[str, str]:
    """Return the attributes of a class with their descriptions from its docstring, which ``python -OO`` removes."""
    docs = dict(re.findall(r"^ {4}(\w+): (.+)$", inspect.getdoc(cls) or "", re.MULTILINE))
    return {name: docs.get(name, "") for name in attrs.fields_dict(cls)}


@frozen
class Control:
    """A control: a path under ``/_sandbox/`` with its action.

    Attributes:
        method: the HTTP method.
        name: last part of the path.
        action: executes a request's body and returns the content of the response.
        fields: field of the body → description; if there are any, the body must contain at least one.
        required: names of the required fields.
        example: an example body.
    """

    method: str
    name: str
    action: Callable[[SandboxState, ControlBody], object]
    fields: Mapping[str, str] = field(factory=dict[str, str])
    required: tuple[str, ...] = ()
    example: ControlBody = field(factory=dict[str, Any])

    def check(self, body: ControlBody) -> None:
        """Check the fields of a body, so that no field is ignored silently.

        Raises:
            ValueError: a field is unknown or missing.
        """
        unknown = [name for name in body if name not in self.fields]
        missing = [name for name in self.required if name not in body]
        example = json.dumps(self.example)
        if unknown:
            hint = f"the fields are {', '.join(self.fields)}" if self.fields else "it has no fields"
            raise ValueError(f"{self.name} has no field {unknown[0]!r:.60}; {hint}")
        if missing:
            raise ValueError(f"{missing[0]} is missing; for example {example}")
        if self.fields and not body:
            raise ValueError(f"the body has no fields; for example {example}")


_FAULT_FIELDS = {**_attribute_docs(Fault), "clear": "true: first deactivate all faults"}
_HEAL_FIELDS = {"endpoint": "only the faults activated for this endpoint", "kind": "only this kind"}
_PAY_FIELDS = {
    "token": "the token from the create response; or an order_id, a ref_num, or newest for the newest unpaid payment",
    "choice": "pay; cancel or fail, for which Paystar sends the same status, -98; expire: pay, and come back too late",
}
_TRANSFER_FIELDS = {"track_id": "the track_id of an executed transfer", "status": "success or failed"}
_TRANSFER_EXAMPLE = {"track_id": "TRACK_ID", "status": "failed"}
_EXPIRE_FIELDS = {"realm": "application, wallet or inquiry; null: all three"}
_BALANCE_FIELDS = {"account": "a deposit account, or the wallet by its hashid", "amount": "integer, Rial"}

_READ_ACTIONS = (accounts, ledger, orders, requests, stats, people, settings, faults)

CONTROLS = (
    *(Control("GET", action.__name__, action) for action in _READ_ACTIONS),
    Control("POST", "settings", settings, DESCRIPTIONS, example={"settle_seconds": 0}),
    Control(
        "POST", "faults", add_fault, _FAULT_FIELDS, example={"endpoint": "transfers.settle", "kind": "reset_after"}
    ),
    Control("DELETE", "faults", heal),
    Control("POST", "heal", heal, _HEAL_FIELDS, example={"kind": "reset_after"}),
    Control("POST", "clock", clock, {"advance": "seconds, 0 or more"}, ("advance",), {"advance": 86_400}),
    Control("POST", "reset", reset),
    Control("POST", "transfer", transfer, _TRANSFER_FIELDS, ("track_id", "status"), _TRANSFER_EXAMPLE),
    Control("POST", "expire", expire, _EXPIRE_FIELDS, ("realm",), {"realm": "wallet"}),
    Control("POST", "pay", pay, _PAY_FIELDS, ("token",), {"token": "TOKEN", "choice": "pay"}),
    Control(
        "POST",
        "balance",
        balance,
        _BALANCE_FIELDS,
        ("account", "amount"),
        {"account": "0100123456789", "amount": 50_000},
    ),
)


def control_routes(state: SandboxState) -> Iterator[Route]:
    """Yield the routes of the dashboard or index, of the OpenAPI document and of each control."""
    yield Route("/", _redirect_to_dashboard, methods=["GET"])
    yield Route("/_sandbox", _home_handler(state), methods=["GET"])
    yield exact_route("/_sandbox/openapi.json", _openapi, ["GET"])
    by_name: dict[str, dict[str, Handler]] = {}
    for control in CONTROLS:
        by_name.setdefault(control.name, {})[control.method] = _control_handler(state, control)
    for name, handlers in by_name.items():
        yield exact_route(f"/_sandbox/{name}", _dispatch_by_method(handlers), list(handlers))


def exact_route(path: str, handler: Handler, methods: Sequence[str]) -> Route:
    """Return a route for these methods only: the HEAD that Starlette adds to a GET would execute the call."""
    route = Route(path, handler)
    route.methods = set(methods)
    return route


def _dispatch_by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        return await handlers[request.method](request)

    return handle


async def _openapi(request: HttpRequest) -> HttpResponse:
    server = {"url": f"{request.base_url}api", "description": "this sandbox"}
    response = json_response(build_document(servers=[server]))
    return HttpResponse(response.body, response.http_status, media_type=response.media_type)


async def _redirect_to_dashboard(_: HttpRequest) -> HttpResponse:
    return RedirectResponse("/_sandbox/")


def _home_handler(state: SandboxState) -> Handler:
    """Return the handler that sends the dashboard to a browser and the index to other clients."""

    async def handle(request: HttpRequest) -> HttpResponse:
        accepts_html = "text/html" in request.headers.get("accept", "")
        response = dashboard_page(state, request) if accepts_html else _index(request)
        response.headers["vary"] = "accept"
        return response

    return handle


def _index(request: HttpRequest) -> HttpResponse:
    """Return the list of the controls."""
    home = f"{request.base_url}_sandbox"
    controls = [
        {
            "method": control.method,
            "path": f"/_sandbox/{control.name}",
            "does": inspect.getdoc(control.action),
            "fields": {
                name: f"{description}{' (required)' if name in control.required else ''}"
                for name, description in control.fields.items()
            },
            "example": _curl_command(control, home),
        }
        for control in CONTROLS
    ]
    response = json_response({"controls": controls})
    return HttpResponse(response.body, media_type=response.media_type)


def _curl_command(control: Control, home: str) -> str:
    data = ("-d", json.dumps(control.example)) if control.example else ()
    return shlex.join(("curl", "-X", control.method, *data, f"{home}/{control.name}"))


def _control_handler(state: SandboxState, control: Control) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        if request.method != "GET" and not is_same_origin(request):
            return PlainTextResponse("a page of another origin may not control this sandbox", 403)
        try:
            body = await _read_body(request)
            control.check(body)
            response = json_response(control.action(state, body))
        except (PaystarError, ValueError) as error:
            response = json_response({"error": str(error)}, http_status=400)
        return HttpResponse(response.body, response.http_status, media_type=response.media_type)

    return handle


async def _read_body(request: HttpRequest) -> ControlBody:
    """Parse the body as JSON, whatever its content type: curl -d labels JSON as a form."""
    raw = await request.body() if request.method == "POST" else b""
    try:
        body: object = load_json(raw or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ValueError("send a JSON object")
    return cast("ControlBody", body)


def _reveal_account(account: Application | Gateway | Wallet) -> dict[str, Any]:
    values = {attribute.name: getattr(account, attribute.name) for attribute in attrs.fields(type(account))}
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}
