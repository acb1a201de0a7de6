"""User middleware may raise anything: an error after the call was sent proves nothing about the bank."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from paystar_async import Paystar, Policy, Request, Response, Send, Transfer
from paystar_async.errors import (
    ConfigurationError,
    InsufficientBalance,
    IpNotAllowed,
    NoResponse,
    NotSent,
    PaystarError,
    StorageUnavailable,
)
from paystar_async.outcomes import Unknown
from paystar_async.sandbox import Sandbox
from tests.support import (
    SETTLE,
    Engine,
    KeyServer,
    QuickClock,
    Reply,
    Script,
    client,
    entries,
    in_turn,
    ok,
    refused,
    transfer,
)

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
async def test_middleware_error_after_transfer_is_maybe_executed(whose: str) -> None:
    error = FALSE_WORDS[whose]()
    paystar = client(Engine(in_turn(ok(entries(["t"])))), middleware=[raising_behind(error)])

    with pytest.raises(type(error)) as raised:
        await paystar.transfers.settle(transfers=[transfer("t")])

    assert raised.value.executed == "maybe"
    assert "user middleware raised the error" in raised.value.hint


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


async def test_middleware_timeout_during_transfer_is_maybe_executed() -> None:
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
async def test_payout_behind_failing_middleware_is_paid_once(tmp_path: Path, whose: str) -> None:
    """The middleware fails once: a call that is taken for unsent would be sent again."""
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


async def test_request_held_by_middleware_never_changes() -> None:
    held: list[Request[Any]] = []

    async def holding(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        held.append(request)
        return await next(request)

    await client(Engine(in_turn(ok(entries(["t"])))), middleware=[holding]).transfers.settle(transfers=[transfer("t")])

    assert (held[0].deadline, held[0].key, held[0].attempt) == (None, None, 1)


Middleware = Callable[[Request[Any], Send], Awaitable[Response[Any]]]


async def again(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await next(request)
    except PaystarError:
        return await next(request)


async def after_success(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    await next(request)
    return await next(request)


async def evolved(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await next(request)
    except PaystarError:
        return await next(attrs.evolve(request, timeout=5.0))


async def built_anew(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await next(request)
    except PaystarError:
        return await next(Request(value=request.value, endpoint=request.endpoint, account=request.account, timeout=5.0))


async def of_another_task(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await next(request)
    except PaystarError:
        return await asyncio.create_task(asyncio.wait_for(next(request), 5))


async def at_once(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    ended = await asyncio.gather(next(request), next(request), return_exceptions=True)
    raise next_failure(ended)


def next_failure(ended: Iterable[Response[Any] | BaseException]) -> BaseException:
    return next(one for one in ended if isinstance(one, BaseException))


async def after_cancelling(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await asyncio.wait_for(next(request), 0.02)
    except TimeoutError:
        return await asyncio.wait_for(next(request), 0.02)


async def never(_: object) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


SECOND_SENDS: dict[str, tuple[Middleware, Callable[[], Script]]] = {
    "no answer": (again, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "refused": (again, lambda: in_turn(refused(9), ok(entries(["t-1"])))),
    "after success": (after_success, lambda: in_turn(ok(entries(["t-1"])))),
    "evolved": (evolved, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "built anew": (built_anew, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "of another task": (of_another_task, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "at once": (at_once, lambda: in_turn(ok(entries(["t-1"])))),
    "after cancelling": (after_cancelling, lambda: never),
}


@pytest.mark.parametrize("how", SECOND_SENDS)
@pytest.mark.parametrize("outer", [False, True], ids=["alone", "inside another"])
async def test_middleware_second_send_is_refused(how: str, outer: bool) -> None:
    middleware, play = SECOND_SENDS[how]
    engine = Engine(play())
    around = [passing, middleware, passing] if outer else [middleware]

    with pytest.raises(ConfigurationError, match="second time") as raised:
        await client(engine, middleware=around, max_retries=0, keys=None).send(SETTLE)

    assert raised.value.executed == "maybe"
    assert len(engine.sent_to("settlement")) == 1


async def passing(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    return await next(request)


async def test_middleware_kept_next_is_refused_after_its_call() -> None:
    kept: list[tuple[Request[Any], Send]] = []

    async def keeping(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        kept.append((request, next))
        return await next(request)

    engine = Engine(in_turn(ok(entries(["t-1"]))))
    await client(engine, middleware=[keeping]).send(SETTLE)

    request, next_ = kept[0]
    with pytest.raises(ConfigurationError, match="second time"):
        await next_(request)
    assert len(engine.sent) == 1


@pytest.mark.parametrize("middleware", [again, evolved, built_anew, of_another_task])
async def test_middleware_may_repeat_what_was_not_sent(middleware: Middleware) -> None:
    engine = Engine(in_turn(NotSent("no connection"), ok(entries(["t-1"]))))

    response = await client(engine, middleware=[middleware], max_retries=0).send(SETTLE)

    assert [one.track_id for one in response.value] == ["t-1"]


async def test_middleware_cannot_repeat_a_refused_key() -> None:
    """The auth middleware has refreshed the key and repeated the call; its refusal is the last word."""
    server = KeyServer(QuickClock())
    server.keys.clear()
    engine = Engine(lambda sent: server(sent) if "refresh" in sent.path else refused(4, http=400))

    with pytest.raises(ConfigurationError, match="second time"):
        await client(engine, middleware=[again], max_retries=0).send(SETTLE)

    assert [one.bearer for one in engine.sent_to("settlement")] == ["key-0", "key-1"]


async def test_middleware_may_repeat_a_read() -> None:
    engine = Engine(in_turn(NoResponse("lost"), ok(entries(["t-1"]))))

    found = await client(engine, middleware=[again], max_retries=0).transfers.find(track_id="t-1")

    assert len(found) == 1
    assert len(engine.sent) == 2


async def test_middleware_cannot_refresh_a_key_twice() -> None:
    server = KeyServer(QuickClock())
    engine = Engine(server)

    with pytest.raises(ConfigurationError, match="second time"):
        await client(engine, middleware=[passing, after_success]).keys.refresh_wallet_key()

    assert server.refreshes == 1


async def test_auth_middleware_sends_again_after_a_refresh() -> None:
    """A refused key is no send: the auth middleware repeats the call once, under user middleware too."""
    clock = QuickClock()
    server = KeyServer(clock, script=lambda _: ok(entries(["t-1"])))
    server.keys.clear()
    engine = Engine(server)

    await client(engine, clock=clock, middleware=[passing]).send(SETTLE)

    assert [one.bearer for one in engine.sent_to("settlement")] == ["key-0", "key-1"]


async def test_payout_of_a_retrying_middleware_is_paid_once(tmp_path: Path) -> None:
    sandbox = Sandbox()
    sandbox.settings.repeats_execute = True
    sandbox.fail("transfers.settle", "reset_after", times=1)
    async with Paystar(
        sandbox.application, engine=sandbox.engine(), database=tmp_path / "ledger.db", middleware=[again]
    ) as paystar:
        batch = await paystar.payouts.submit([paid(sandbox, "t-1")], batch_id="b", policy=Policy(quiet_window=0.1))
        _ = [outcome async for outcome in batch.outcomes()]

    assert sandbox.ledger["t-1"].count == 1


class Foreign(Exception):
    """No error of this package."""


async def raising_foreign(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    await next(request)
    raise Foreign


async def test_middleware_foreign_error_after_send_says_maybe() -> None:
    with pytest.raises(PaystarError, match="a user middleware raised Foreign") as raised:
        await client(Engine(in_turn(ok(entries(["t-1"])))), middleware=[passing, raising_foreign]).send(SETTLE)

    assert raised.value.executed == "maybe"
    assert isinstance(raised.value.__cause__, Foreign)


async def test_middleware_foreign_error_after_read_says_no() -> None:
    with pytest.raises(PaystarError, match="a user middleware raised Foreign") as raised:
        await client(Engine(in_turn(ok([]))), middleware=[raising_foreign]).transfers.find(track_id="t")

    assert raised.value.executed == "no"


async def test_middleware_foreign_error_before_send_passes() -> None:
    async def refusing(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        raise Foreign

    with pytest.raises(Foreign):
        await client(Engine(in_turn(ok([]))), middleware=[refusing]).send(SETTLE)


async def test_middleware_cancellation_passes() -> None:
    async def cancelled(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        await next(request)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await client(Engine(in_turn(ok([]))), middleware=[cancelled]).send(SETTLE)


async def test_engine_foreign_error_on_settle_says_maybe() -> None:
    with pytest.raises(NoResponse, match="the engine raised Foreign") as raised:
        await client(Engine(in_turn(Foreign())), max_retries=0).send(SETTLE)

    assert raised.value.executed == "maybe"
    assert isinstance(raised.value.__cause__, Foreign)


class BrokenFilter(logging.Filter):
    """A filter that looks for what records do not have."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise AttributeError("request_id")


class BrokenHandler(logging.Handler):
    """A handler whose server is gone."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise OSError("no room")


@pytest.fixture(params=["filter", "handler"])
def broken_logging(request: pytest.FixtureRequest) -> Iterator[None]:
    logger, broken, handler = logging.getLogger("paystar_async"), BrokenFilter(), BrokenHandler()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    if request.param == "filter":
        logger.addFilter(broken)
    else:
        logger.addHandler(handler)
    yield
    logger.removeFilter(broken)
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.usefixtures("broken_logging")
async def test_logging_that_raises_changes_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    clock = QuickClock()
    server = KeyServer(clock, script=in_turn(ok(entries(["t-1"])), refused(9)))
    server.keys.clear()

    def on_event(event: object) -> None:
        raise Foreign

    paystar = client(Engine(server), clock=clock, on_event=on_event)

    assert [one.track_id for one in (await paystar.send(SETTLE)).value] == ["t-1"]
    with pytest.raises(InsufficientBalance):
        await paystar.send(SETTLE)
    assert "a logging filter or handler raised" in capsys.readouterr().err


@pytest.mark.usefixtures("broken_logging")
async def test_logging_that_raises_stops_no_payout(tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with Paystar(sandbox.application, engine=sandbox.engine(), database=tmp_path / "ledger.db") as paystar:
        sandbox.fail("transfers.settle", "funds", times=1)
        batch = await paystar.payouts.submit([paid(sandbox, "t-1")], batch_id="b", policy=Policy(quiet_window=0.1))
        with anyio.fail_after(20):
            async for _ in batch.outcomes():
                break
            await paystar.payouts.resume()
            _ = [outcome async for outcome in batch.outcomes()]

    assert sandbox.ledger["t-1"].count == 1
