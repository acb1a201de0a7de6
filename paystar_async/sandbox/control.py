"""The controls of a running sandbox: JSON under ``/_sandbox/``, the same that ``Sandbox`` does in process."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, cast

import attrs
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from paystar_async.accounts import Application, Gateway, Wallet
from paystar_async.errors import PaystarError
from paystar_async.sandbox.envelope import json_reply
from paystar_async.sandbox.faults import KINDS
from paystar_async.sandbox.world import World
from paystar_async.values.secret import Secret

Wish = Mapping[str, Any]
Control = Callable[[World, Wish], object]


def accounts(world: World, _: Wish) -> object:
    """The accounts it plays, as the constructors of the accounts take them; secrets and all, since they are play."""
    gateway = _in_clear(world.gateway)
    return {
        "application": _in_clear(world.application),
        "gateway": {"id": gateway["id"], "sign_key": gateway["sign_key"]},
        "wallet": _in_clear(world.wallet),
    }


def ledger(world: World, _: Wish) -> object:
    """The executed transfers by track_id, each with how often."""
    return {"transfers": {track_id: attrs.asdict(line) for track_id, line in world.ledger.items()}}


def stats(world: World, _: Wish) -> object:
    """How many requests each endpoint saw, and how often each key was renewed."""
    return world.stats


def people(world: World, _: Wish) -> object:
    """Who exists, with their numbers."""
    return {"people": [attrs.asdict(person) for person in world.people]}


def settings(world: World, wish: Wish) -> object:
    """Read the settings, or set those that are named."""
    changed = attrs.evolve(world.settings, **wish)  # all of them are checked before one is set
    for name in wish:
        setattr(world.settings, name, getattr(changed, name))
    return attrs.asdict(world.settings)


def faults(world: World, wish: Wish) -> object:
    """Order a fault (the arguments of ``fail``), or clear them all; answers with those ordered and those there are."""
    if wish.get("clear"):
        world.heal()
    elif wish:
        world.fail(**wish)
    return {
        "faults": [attrs.asdict(fault) for fault in world.faults.ordered],
        "kinds": {name: kind.doc for name, kind in KINDS.items()},
    }


def clock(world: World, wish: Wish) -> object:
    """Put the clock forward by ``advance`` seconds; answers with its time."""
    world.advance(float(wish.get("advance", 0)))
    return {"time": world.clock.time()}


def reset(world: World, _: Wish) -> object:
    """Start over."""
    world.reset()
    return {}


def pay(world: World, wish: Wish) -> object:
    """Do what a payer does with a ``token``; answers with the callback and where it goes."""
    callback = world.come_back(str(wish.get("token", "")), str(wish.get("choice", "pay")))
    return {
        "callback": callback.fields,
        "method": "GET" if callback.by_get else "POST",
        "url": callback.location if callback.by_get else callback.url,
    }


def balance(world: World, wish: Wish) -> object:
    """Put so many Rial (``amount``) into an ``account``: a deposit account, or the wallet by its hashid."""
    account, amount = wish["account"], wish["amount"]
    if not isinstance(account, str) or type(amount) is not int or amount < 0:
        raise ValueError("account is a text, amount whole Rial")
    world.set_balance(account, amount)
    return {"account": account, "amount": amount}


READS: tuple[Control, ...] = (accounts, ledger, stats, people, settings, faults)
DOES: tuple[Control, ...] = (settings, faults, clock, reset, pay, balance)


def control_routes(world: World) -> Iterator[Route]:
    """A route for each control, named after it."""
    for method, controls in (("GET", READS), ("POST", DOES)):
        for control in controls:
            yield Route(f"/{control.__name__}", _handler(world, control), methods=[method])


def _handler(world: World, control: Control) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def handle(request: HttpRequest) -> HttpResponse:
        try:
            reply = json_reply(control(world, await _wish(request)))
        except (PaystarError, TypeError, ValueError, KeyError, AttributeError) as refusal:
            reply = json_reply({"error": f"{type(refusal).__name__}: {refusal}"}, http=400)
        return HttpResponse(reply.body, reply.http, media_type=reply.media)

    return handle


async def _wish(request: HttpRequest) -> Wish:
    body: object = json.loads(await request.body() or b"{}") if request.method == "POST" else {}
    if not isinstance(body, dict):
        raise ValueError("send a JSON object")
    return cast("Wish", body)


def _in_clear(account: Application | Gateway | Wallet) -> dict[str, Any]:
    values = {one.name: getattr(account, one.name) for one in attrs.fields(type(account))}
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}
