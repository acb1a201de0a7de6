"""User middleware: errors after a call was sent leave its result open, and no call is sent twice."""

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

UNRELATED_ERRORS: dict[str, Callable[[], PaystarError]] = {
    "audit store": lambda: StorageUnavailable("the audit's disk is full"),
    "audit server": lambda: NotSent("the audit's server is down"),
    "another call": lambda: IpNotAllowed(7, endpoint="transfers.balance"),
}


def raising_behind(error: PaystarError) -> Callable[[Request[Any], Send], Any]:
    async def audit(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        await next(request)
        raise error

    return audit


def payable_transfer(sandbox: Sandbox, track_id: str) -> Transfer:
    return Transfer(
        amount=50_000,
        deposit=sandbox.people[0].iban[-10:],
        destination_account=sandbox.people[0].iban,
        destination_firstname="علی",
        destination_lastname="مرادی",
        track_id=track_id,
    )


@pytest.mark.parametrize("source", UNRELATED_ERRORS)
async def test_middleware_error_after_transfer_is_maybe_executed(source: str) -> None:
    error = UNRELATED_ERRORS[source]()
    paystar = client(Engine(in_turn(ok(entries(["t"])))), middleware=[raising_behind(error)])

    with pytest.raises(type(error)) as raised:
        await paystar.transfers.settle(transfers=[transfer("t")])

    assert raised.value.executed == "maybe"
    assert "user middleware raised the error" in raised.value.hint


async def test_batch_middleware_error_after_send_is_unknown() -> None:
    paystar = client(Engine(in_turn(ok(entries(["t"])))), middleware=[raising_behind(NotSent("of the middleware"))])

    assert [type(outcome) async for outcome in paystar.transfers.batch([transfer("t")])] == [Unknown]


async def test_middleware_passed_refusal_stays_unexecuted() -> None:
    with pytest.raises(InsufficientBalance) as raised:
        await client(Engine(in_turn(refused(9))), middleware=[passing]).transfers.settle(transfers=[transfer("t")])

    assert raised.value.executed == "no"


async def test_middleware_error_before_send_stays_unexecuted() -> None:
    async def closed(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        raise NotSent("it is Friday")

    engine = Engine(in_turn(ok(entries(["t"]))))
    with pytest.raises(NotSent) as raised:
        await client(engine, middleware=[closed]).transfers.settle(transfers=[transfer("t")])

    assert (engine.sent, raised.value.executed) == ([], "no")


async def test_middleware_timeout_during_transfer_is_maybe_executed() -> None:
    async def timing_out(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        call = asyncio.ensure_future(next(request))
        await asyncio.sleep(0)
        call.cancel()
        raise NotSent("it took too long")

    with pytest.raises(NotSent) as raised:
        await client(Engine(in_turn(ok(entries(["t"])))), middleware=[timing_out]).transfers.settle(
            transfers=[transfer("t")]
        )

    assert raised.value.executed == "maybe"


@pytest.mark.parametrize("source", UNRELATED_ERRORS)
async def test_payout_behind_failing_middleware_is_paid_once(tmp_path: Path, source: str) -> None:
    """The middleware fails once: a call regarded as not sent would be sent again."""
    sandbox = Sandbox()
    failures = [UNRELATED_ERRORS[source]()]

    async def audit(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        response = await next(request)
        if request.endpoint.id == "transfers.settle" and failures:
            raise failures.pop()
        return response

    sandbox.settings.repeats_execute = True
    async with Paystar(
        sandbox.application, engine=sandbox.engine(), database=tmp_path / "ledger.db", middleware=[audit]
    ) as paystar:
        batch = await paystar.payouts.submit(
            [payable_transfer(sandbox, "t-1")], batch_id="b", policy=Policy(quiet_window=0.1)
        )
        _ = [outcome async for outcome in batch.outcomes()]
        await paystar.payouts.resume()
        _ = [outcome async for outcome in batch.outcomes()]

    assert sandbox.ledger["t-1"].count == 1


async def test_request_held_by_middleware_never_changes() -> None:
    requests: list[Request[Any]] = []

    async def recording(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        requests.append(request)
        return await next(request)

    await client(Engine(in_turn(ok(entries(["t"])))), middleware=[recording]).transfers.settle(
        transfers=[transfer("t")]
    )

    assert (requests[0].deadline, requests[0].key, requests[0].attempt) == (None, None, 1)


Middleware = Callable[[Request[Any], Send], Awaitable[Response[Any]]]


async def retry_once(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
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


async def rebuilt(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await next(request)
    except PaystarError:
        return await next(Request(value=request.value, endpoint=request.endpoint, account=request.account, timeout=5.0))


async def in_another_task(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await next(request)
    except PaystarError:
        return await asyncio.create_task(asyncio.wait_for(next(request), 5))


async def concurrently(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    results = await asyncio.gather(next(request), next(request), return_exceptions=True)
    raise first_error(results)


def first_error(results: Iterable[Response[Any] | BaseException]) -> BaseException:
    return next(result for result in results if isinstance(result, BaseException))


async def after_cancelling(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    try:
        return await asyncio.wait_for(next(request), 0.02)
    except TimeoutError:
        return await asyncio.wait_for(next(request), 0.02)


async def never_respond(_: object) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


SECOND_SENDS: dict[str, tuple[Middleware, Callable[[], Script]]] = {
    "no response": (retry_once, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "refused": (retry_once, lambda: in_turn(refused(9), ok(entries(["t-1"])))),
    "after success": (after_success, lambda: in_turn(ok(entries(["t-1"])))),
    "evolved": (evolved, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "rebuilt": (rebuilt, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "in another task": (in_another_task, lambda: in_turn(NoResponse("lost"), ok(entries(["t-1"])))),
    "concurrently": (concurrently, lambda: in_turn(ok(entries(["t-1"])))),
    "after cancelling": (after_cancelling, lambda: never_respond),
}


@pytest.mark.parametrize("case", SECOND_SENDS)
@pytest.mark.parametrize("outer", [False, True], ids=["alone", "inside another"])
async def test_middleware_second_send_is_refused(case: str, outer: bool) -> None:
    middleware, make_script = SECOND_SENDS[case]
    engine = Engine(make_script())
    middlewares = [passing, middleware, passing] if outer else [middleware]

    with pytest.raises(ConfigurationError, match="second time") as raised:
        await client(engine, middleware=middlewares, max_retries=0, keys=None).send(SETTLE)

    assert raised.value.executed == "maybe"
    assert len(engine.sent_to("settlement")) == 1


async def passing(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
    return await next(request)


async def test_middleware_kept_next_is_refused_after_its_call() -> None:
    calls: list[tuple[Request[Any], Send]] = []

    async def recording(request: Request[Any], next: Send, /) -> Response[Any]:  # noqa: A002
        calls.append((request, next))
        return await next(request)

    engine = Engine(in_turn(ok(entries(["t-1"]))))
    await client(engine, middleware=[recording]).send(SETTLE)

    request, next_ = calls[0]
    with pytest.raises(ConfigurationError, match="second time"):
        await next_(request)
    assert len(engine.sent) == 1


@pytest.mark.parametrize("middleware", [retry_once, evolved, rebuilt, in_another_task])
async def test_middleware_may_repeat_what_was_not_sent(middleware: Middleware) -> None:
    engine = Engine(in_turn(NotSent("no connection"), ok(entries(["t-1"]))))

    response = await client(engine, middleware=[middleware], max_retries=0).send(SETTLE)

    assert [entry.track_id for entry in response.value] == ["t-1"]


async def test_middleware_cannot_repeat_a_refused_key() -> None:
    """The auth middleware has already refreshed the key and repeated the call: the second refusal is final."""
    server = KeyServer(QuickClock())
    server.keys.clear()
    engine = Engine(lambda sent: server(sent) if "refresh" in sent.path else refused(4, http=400))

    with pytest.raises(ConfigurationError, match="second time"):
        await client(engine, middleware=[retry_once], max_retries=0).send(SETTLE)

    assert [sent.bearer for sent in engine.sent_to("settlement")] == ["key-0", "key-1"]


async def test_middleware_may_repeat_a_read() -> None:
    engine = Engine(in_turn(NoResponse("lost"), ok(entries(["t-1"]))))

    settlements = await client(engine, middleware=[retry_once], max_retries=0).transfers.find(track_id="t-1")

    assert len(settlements) == 1
    assert len(engine.sent) == 2


async def test_middleware_cannot_refresh_a_key_twice() -> None:
    server = KeyServer(QuickClock())
    engine = Engine(server)

    with pytest.raises(ConfigurationError, match="second time"):
        await client(engine, middleware=[passing, after_success]).keys.refresh_wallet_key()

    assert server.refreshes == 1


async def test_auth_middleware_sends_again_after_a_refresh() -> None:
    """A call with a rejected key does not count as sent: the auth middleware repeats the call once."""
    clock = QuickClock()
    server = KeyServer(clock, script=lambda _: ok(entries(["t-1"])))
    server.keys.clear()
    engine = Engine(server)

    await client(engine, clock=clock, middleware=[passing]).send(SETTLE)

    assert [sent.bearer for sent in engine.sent_to("settlement")] == ["key-0", "key-1"]


async def test_payout_of_a_retrying_middleware_is_paid_once(tmp_path: Path) -> None:
    sandbox = Sandbox()
    sandbox.settings.repeats_execute = True
    sandbox.fail("transfers.settle", "reset_after", times=1)
    async with Paystar(
        sandbox.application, engine=sandbox.engine(), database=tmp_path / "ledger.db", middleware=[retry_once]
    ) as paystar:
        batch = await paystar.payouts.submit(
            [payable_transfer(sandbox, "t-1")], batch_id="b", policy=Policy(quiet_window=0.1)
        )
        _ = [outcome async for outcome in batch.outcomes()]

    assert sandbox.ledger["t-1"].count == 1


class Foreign(Exception):
    """An exception of the user's code."""


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
    """A filter that reads an attribute that records do not have."""

    def filter(self, record: logging.LogRecord) -> bool:
        raise AttributeError("request_id")


class BrokenHandler(logging.Handler):
    """A handler whose disk is full."""

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

    assert [entry.track_id for entry in (await paystar.send(SETTLE)).value] == ["t-1"]
    with pytest.raises(InsufficientBalance):
        await paystar.send(SETTLE)
    assert "a logging filter or handler raised" in capsys.readouterr().err


@pytest.mark.usefixtures("broken_logging")
async def test_logging_that_raises_stops_no_payout(tmp_path: Path) -> None:
    sandbox = Sandbox()
    async with Paystar(sandbox.application, engine=sandbox.engine(), database=tmp_path / "ledger.db") as paystar:
        sandbox.fail("transfers.settle", "funds", times=1)
        batch = await paystar.payouts.submit(
            [payable_transfer(sandbox, "t-1")], batch_id="b", policy=Policy(quiet_window=0.1)
        )
        with anyio.fail_after(20):
            async for _ in batch.outcomes():
                break
            await paystar.payouts.resume()
            _ = [outcome async for outcome in batch.outcomes()]

    assert sandbox.ledger["t-1"].count == 1
