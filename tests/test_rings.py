"""A ring of the user's own may raise what it likes: what it says after the call was made is no word of the bank."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paystar_async import Paystar, Policy, Request, Response, Send, Transfer
from paystar_async.errors import (
    InsufficientBalance,
    IpNotAllowed,
    NotSent,
    PaystarError,
    StorageUnavailable,
    Unanswered,
)
from paystar_async.outcomes import Unknown
from paystar_async.sandbox import Sandbox
from tests.support import Engine, client, entries, in_turn, ok, refused, transfer

FALSE_WORDS: dict[str, Callable[[], PaystarError]] = {
    "its store": lambda: StorageUnavailable("the audit's disk is full"),
    "its server": lambda: NotSent("the audit's server is down"),
    "its own call": lambda: IpNotAllowed(7, endpoint="transfers.balance"),
}


def raising_behind(error: PaystarError) -> Callable[[Request[Any], Send], Any]:
    async def audit(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        await next(request)
        raise error

    return audit


def paid(sandbox: Sandbox, track_id: str) -> Transfer:
    return Transfer(
        amount=50_000,
        deposit=sandbox.people[0].iban[-10:],
        destination_account=sandbox.people[0].iban,
        destination_firstname="علی",
        destination_lastname="مرادی",
        track_id=track_id,
    )


@pytest.mark.parametrize("whose", FALSE_WORDS)
async def test_what_a_ring_raises_after_a_transfer_was_made_leaves_it_open(whose: str) -> None:
    error = FALSE_WORDS[whose]()
    paystar = client(Engine(in_turn(ok(entries(["t"])))), middleware=[raising_behind(error)])

    with pytest.raises(type(error)) as raised:
        await paystar.transfers.settle(transfers=[transfer("t")])

    assert raised.value.executed == "maybe"
    assert "ring of yours" in raised.value.hint


async def test_and_so_does_a_batch() -> None:
    paystar = client(Engine(in_turn(ok(entries(["t"])))), middleware=[raising_behind(NotSent("not ours"))])

    assert [type(one) async for one in paystar.transfers.batch([transfer("t")])] == [Unknown]


async def test_a_refusal_it_lets_through_is_still_a_refusal() -> None:
    async def through(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        return await next(request)

    with pytest.raises(InsufficientBalance) as raised:
        await client(Engine(in_turn(refused(9))), middleware=[through]).transfers.settle(transfers=[transfer("t")])

    assert raised.value.executed == "no"


async def test_what_it_raises_before_anything_was_sent_is_believed() -> None:
    async def closed(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        raise NotSent("it is Friday")

    engine = Engine(in_turn(ok(entries(["t"]))))
    with pytest.raises(NotSent) as raised:
        await client(engine, middleware=[closed]).transfers.settle(transfers=[transfer("t")])

    assert (engine.sent, raised.value.executed) == ([], "no")


async def test_a_second_try_of_a_ring_does_not_make_the_first_undone() -> None:
    async def twice(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        try:
            return await next(request)
        except Unanswered:
            return await next(request)

    paystar = client(Engine(in_turn(Unanswered("no answer"), refused(9))), middleware=[twice])

    with pytest.raises(InsufficientBalance) as raised:
        await paystar.transfers.settle(transfers=[transfer("t")])

    assert raised.value.executed == "maybe"


async def test_a_ring_that_gives_up_while_the_call_is_under_way_leaves_it_open() -> None:
    async def hasty(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        under_way = asyncio.ensure_future(next(request))
        await asyncio.sleep(0)
        under_way.cancel()
        raise NotSent("it took too long")

    with pytest.raises(NotSent) as raised:
        await client(Engine(in_turn(ok(entries(["t"])))), middleware=[hasty]).transfers.settle(
            transfers=[transfer("t")]
        )

    assert raised.value.executed == "maybe"


@pytest.mark.parametrize("whose", FALSE_WORDS)
async def test_a_payout_behind_such_a_ring_is_paid_once(tmp_path: Path, whose: str) -> None:
    """The ring fails the first time only: what was taken for unsent would be sent again."""
    sandbox = Sandbox()
    failures = [FALSE_WORDS[whose]()]

    async def audit(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        response = await next(request)
        if request.endpoint.id == "transfers.settle" and failures:
            raise failures.pop()
        return response

    sandbox.settings.repeats_execute = True
    async with Paystar(
        sandbox.application, engine=sandbox.engine(), database=tmp_path / "ledger.db", middleware=[audit]
    ) as paystar:
        one = paid(sandbox, "t-1")
        batch = await paystar.payouts.submit([one], batch_id="b", policy=Policy(quiet_window=0.1))
        _ = [outcome async for outcome in batch.outcomes()]
        await paystar.payouts.resume()
        _ = [outcome async for outcome in batch.outcomes()]

    assert sandbox.ledger["t-1"].count == 1


async def test_the_request_a_ring_holds_never_changes() -> None:
    held: list[Request[Any]] = []

    async def holding(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        held.append(request)
        return await next(request)

    await client(Engine(in_turn(ok(entries(["t"])))), middleware=[holding]).transfers.settle(transfers=[transfer("t")])

    assert (held[0].deadline, held[0].key, held[0].attempt) == (None, None, 1)
