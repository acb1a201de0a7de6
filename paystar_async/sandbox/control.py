"""The controls of a running sandbox: JSON under ``/_sandbox/``, the same that ``Sandbox`` does in process."""

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

from paystar_async.accounts import Application, Gateway, Wallet
from paystar_async.describe.openapi import build_document
from paystar_async.errors import PaystarError
from paystar_async.sandbox.faults import KINDS, Fault
from paystar_async.sandbox.pages.dashboard import dashboard
from paystar_async.sandbox.requests import load_json
from paystar_async.sandbox.responses import is_own, json_reply
from paystar_async.sandbox.settings import DESCRIPTIONS, MAX_RIAL, is_rial
from paystar_async.sandbox.state import SandboxState
from paystar_async.values.secret import Secret

Wish = Mapping[str, Any]
Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]

MAX_ACCOUNT = 100
"""Characters of an account number or a hashid."""


def accounts(world: SandboxState, _: Wish) -> object:
    """The accounts it plays, as the constructors of the accounts take them; secrets and all, since they are play."""
    gateway = _in_clear(world.gateway)
    return {
        "application": _in_clear(world.application),
        "gateway": {"id": gateway["id"], "sign_key": gateway["sign_key"]},
        "wallet": _in_clear(world.wallet),
    }


def ledger(world: SandboxState, _: Wish) -> object:
    """The executed transfers by track_id, each with how often."""
    return {"transfers": {track_id: attrs.asdict(line) for track_id, line in world.ledger.items()}}


def stats(world: SandboxState, _: Wish) -> object:
    """How many requests each endpoint saw, and how often each key was renewed."""
    return world.stats


def people(world: SandboxState, _: Wish) -> object:
    """Who exists, with their numbers."""
    return {"people": [attrs.asdict(person) for person in world.people]}


def settings(world: SandboxState, wish: Wish) -> object:
    """Read the settings, or set those that are named."""
    world.settings.change(wish)
    return world.settings.as_dict()


def faults(world: SandboxState, _: Wish) -> object:
    """The faults that are still to come, and the kinds there are."""
    return {
        "faults": [attrs.asdict(fault) for fault in world.faults.ordered],
        "kinds": {name: kind.doc for name, kind in KINDS.items()},
    }


def order_fault(world: SandboxState, wish: Wish) -> object:
    """Order a fault: what ``Sandbox.fail`` takes."""
    order = dict(wish)
    if order.pop("clear", True) is not True:
        raise ValueError("clear is true, or left out")
    if "clear" in wish:
        world.heal()
    if order:
        world.fail(**order)
    return faults(world, {})


def heal(world: SandboxState, wish: Wish) -> object:
    """Let nothing go wrong any more, or not what is named."""
    world.heal(**wish)
    return faults(world, {})


def requests(world: SandboxState, _: Wish) -> object:
    """The last requests and their answers, newest first, secrets and personal values masked."""
    return {
        "requests": [
            {
                "number": one.number,
                "time": one.at,
                "endpoint": one.row.id,
                "fields": one.fields,
                "faults": one.went_wrong,
                "http": one.reply.http if one.reply else None,
                "answer": one.answer,
            }
            for one in world.journal.newest()
        ]
    }


def orders(world: SandboxState, _: Wish) -> object:
    """The payments, newest first, and where each stands."""
    payments = world.bank.payments
    return {
        "orders": [
            {
                "order_id": one.asked.order_id,
                "ref_num": one.ref_num,
                "amount": one.asked.amount,
                "status": str(payments.status(one)),
                "opened": one.opened,
            }
            for one in payments.newest()
        ]
    }


def clock(world: SandboxState, wish: Wish) -> object:
    """Put the clock forward; answers with its time."""
    world.advance(wish["advance"])
    return {"time": world.clock.time()}


def reset(world: SandboxState, _: Wish) -> object:
    """Start over."""
    world.reset()
    return {}


def pay(world: SandboxState, wish: Wish) -> object:
    """Do what a payer does on the payment page; answers with the callback and where it goes."""
    callback = world.come_back(str(wish["token"]), str(wish.get("choice", "pay")))
    return {
        "callback": callback.fields,
        "method": "GET" if callback.by_get else "POST",
        "url": callback.location if callback.by_get else callback.url,
    }


def balance(world: SandboxState, wish: Wish) -> object:
    """Put money into an account."""
    account, amount = wish["account"], wish["amount"]
    if not isinstance(account, str) or not 0 < len(account) <= MAX_ACCOUNT or not is_rial(amount):
        raise ValueError(f"account is a text of up to {MAX_ACCOUNT} characters, amount whole Rial, 0 to {MAX_RIAL}")
    world.set_balance(account, amount)
    return {"account": account, "amount": amount}


def _told(cls: type) -> dict[str, str]:
    """The attributes of a class as its docstring tells them."""
    return dict(re.findall(r"^ {4}(\w+): (.+)$", inspect.getdoc(cls) or "", re.MULTILINE))


@frozen
class Control:
    """One control.

    Attributes:
        method: how it is asked for.
        name: the last part of its path.
        act: does it, and gives the answer.
        takes: the fields of its body, each with what it is; without one of them it does nothing.
        needs: those it cannot do without.
        example: a body.
    """

    method: str
    name: str
    act: Callable[[SandboxState, Wish], object]
    takes: Mapping[str, str] = field(factory=dict[str, str])
    needs: tuple[str, ...] = ()
    example: Wish = field(factory=dict[str, Any])

    def check(self, wish: Wish) -> None:
        """Refuse a body that names what is not taken, or lacks what is needed: nothing is passed over in silence."""
        unknown = [name for name in wish if name not in self.takes]
        missing = [name for name in self.needs if name not in wish]
        example = json.dumps(self.example)
        if unknown:
            known = f"the fields are {', '.join(self.takes)}" if self.takes else "it takes none"
            raise ValueError(f"{self.name} has no field {unknown[0]!r:.60}; {known}")
        if missing:
            raise ValueError(f"{missing[0]} is missing; for example {example}")
        if self.takes and not wish:
            raise ValueError(f"nothing is asked for; for example {example}")


_ORDER = {**_told(Fault), "clear": "true: first let nothing go wrong any more"}
_HEALED = {"endpoint": "only what was ordered for this row", "kind": "only this kind"}
_PAY = {
    "token": "what create answered with",
    "choice": "pay; cancel or fail, which Paystar answers alike, with -98; expire: pay, and come back too late",
}
_BALANCE = {"account": "a deposit account, or the wallet by its hashid", "amount": "whole Rial"}

_TELLING = (accounts, ledger, orders, requests, stats, people, settings, faults)

CONTROLS = (
    *(Control("GET", act.__name__, act) for act in _TELLING),
    Control("POST", "settings", settings, DESCRIPTIONS, example={"settle_seconds": 0}),
    Control("POST", "faults", order_fault, _ORDER, example={"endpoint": "transfers.settle", "kind": "reset_after"}),
    Control("DELETE", "faults", heal),
    Control("POST", "heal", heal, _HEALED, example={"kind": "reset_after"}),
    Control("POST", "clock", clock, {"advance": "seconds, 0 or more"}, ("advance",), {"advance": 86_400}),
    Control("POST", "reset", reset),
    Control("POST", "pay", pay, _PAY, ("token",), {"token": "TOKEN", "choice": "pay"}),
    Control(
        "POST", "balance", balance, _BALANCE, ("account", "amount"), {"account": "0100123456789", "amount": 50_000}
    ),
)


def control_routes(world: SandboxState) -> Iterator[Route]:
    """The dashboard for a browser, the index for all else, and a route for each control."""
    yield Route("/", _lead_home, methods=["GET"])
    yield Route("/_sandbox", _home(world), methods=["GET"])
    yield exact_route("/_sandbox/openapi.json", _openapi, ["GET"])
    by_name: dict[str, dict[str, Handler]] = {}
    for control in CONTROLS:
        by_name.setdefault(control.name, {})[control.method] = _handler(world, control)
    for name, handlers in by_name.items():
        yield exact_route(f"/_sandbox/{name}", _by_method(handlers), list(handlers))


def exact_route(path: str, handler: Handler, methods: Sequence[str]) -> Route:
    """Return a route for these methods alone: a HEAD that Starlette adds to a GET would carry the call out."""
    route = Route(path, handler)
    route.methods = set(methods)
    return route


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def handle(request: HttpRequest) -> HttpResponse:
        return await handlers[request.method](request)

    return handle


async def _openapi(request: HttpRequest) -> HttpResponse:
    server = {"url": f"{request.base_url}api", "description": "this sandbox"}
    reply = json_reply(build_document(servers=[server]))
    return HttpResponse(reply.body, reply.http, media_type=reply.media)


async def _lead_home(_: HttpRequest) -> HttpResponse:
    return RedirectResponse("/_sandbox/")


def _home(world: SandboxState) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def handle(request: HttpRequest) -> HttpResponse:
        answer = dashboard(world, request) if "text/html" in request.headers.get("accept", "") else _index(request)
        answer.headers["vary"] = "accept"
        return answer

    return handle


def _index(request: HttpRequest) -> HttpResponse:
    """What there is to ask for."""
    home = f"{request.base_url}_sandbox"
    controls = [
        {
            "method": control.method,
            "path": f"/_sandbox/{control.name}",
            "does": inspect.getdoc(control.act),
            "fields": {
                name: f"{text}{' (needed)' if name in control.needs else ''}" for name, text in control.takes.items()
            },
            "example": _example(control, home),
        }
        for control in CONTROLS
    ]
    reply = json_reply({"controls": controls})
    return HttpResponse(reply.body, media_type=reply.media)


def _example(control: Control, home: str) -> str:
    body = ("-d", json.dumps(control.example)) if control.example else ()
    return shlex.join(("curl", "-X", control.method, *body, f"{home}/{control.name}"))


def _handler(world: SandboxState, control: Control) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def handle(request: HttpRequest) -> HttpResponse:
        if request.method != "GET" and not is_own(request):
            return PlainTextResponse("a page of another origin steers nothing here", 403)
        try:
            wish = await _wish(request)
            control.check(wish)
            reply = json_reply(control.act(world, wish))
        except (PaystarError, ValueError) as refusal:
            reply = json_reply({"error": str(refusal)}, http=400)
        return HttpResponse(reply.body, reply.http, media_type=reply.media)

    return handle


async def _wish(request: HttpRequest) -> Wish:
    """The body as JSON, whatever content type it claims: curl -d says it is a form."""
    raw = await request.body() if request.method == "POST" else b""
    try:
        body: object = load_json(raw or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ValueError("send a JSON object")
    return cast("Wish", body)


def _in_clear(account: Application | Gateway | Wallet) -> dict[str, Any]:
    values = {one.name: getattr(account, one.name) for one in attrs.fields(type(account))}
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}
