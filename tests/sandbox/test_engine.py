"""The sandbox in process: an engine like any other, on asyncio and on trio."""

import json
import re
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from paystar_async.clock import ManualClock
from paystar_async.errors import NotSent, Unanswered
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.transport.engine import Engine

Scenario = Callable[[Sandbox], Awaitable[None]]
URL = "https://core.paystar.ir/api/bank-transfer/v2/settlement"
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(scenario: Scenario, backend: str) -> None:
    async def in_time() -> None:
        with anyio.fail_after(5):
            await scenario(Sandbox(clock=ManualClock()))

    anyio.run(in_time, backend=backend)


async def settle(
    sandbox: Sandbox, *, timeout: float = 10, before_send: Callable[[], None] | None = None
) -> tuple[int, dict[str, object]]:
    application = sandbox.application
    assert application.api_key
    body = {
        "application_id": application.id,
        "access_password": application.access_password.reveal(),
        "transfers": [
            {
                "amount": 1_000,
                "deposit": "0111234567890",
                "destination_account": sandbox.people[0].iban,
                "destination_firstname": "Ali",
                "destination_lastname": "Moradi",
                "track_id": "t",
            }
        ],
    }
    headers = [("Authorization", f"Bearer {application.api_key.reveal()}"), ("Content-Type", "application/json")]
    engine: Engine = sandbox.engine()
    assert engine.fences
    status, names, content = await engine.send("POST", URL, headers, json.dumps(body).encode(), timeout, before_send)
    assert names["content-type"] == "application/json"
    await engine.aclose()
    return status, json.loads(content)


def manual(sandbox: Sandbox) -> ManualClock:
    assert isinstance(sandbox.clock, ManualClock)
    return sandbox.clock


@BACKENDS
def test_a_call_of_any_host_is_answered(backend: str) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        status, content = await settle(sandbox)
        assert (status, content["status"]) == (200, "ok")
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
def test_an_answer_later_than_the_timeout_is_none_but_the_call_is_carried_out(backend: str) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=30)
        caught: list[Unanswered] = []

        async def call() -> None:
            with pytest.raises(Unanswered) as raised:
                await settle(sandbox, timeout=10)
            caught.append(raised.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            assert manual(sandbox).sleepers == 1
            manual(sandbox).advance(10)
        assert caught
        assert caught[0].executed == "maybe"
        assert caught[0].args[0] == "no answer within 10 s"
        assert not sandbox.ledger
        manual(sandbox).advance(19.5)
        assert not sandbox.ledger
        manual(sandbox).advance(0.5)
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
def test_a_late_answer_in_time_is_an_answer(backend: str) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=5)
        answers: list[object] = []

        async def call() -> None:
            answers.append((await settle(sandbox, timeout=10))[1]["status"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            manual(sandbox).advance(5)
        assert answers == ["ok"]
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
@pytest.mark.parametrize("executed", [False, True])
def test_a_cancelled_call_is_carried_out_when_its_time_comes(backend: str, executed: bool) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=5, executed=executed)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settle, sandbox)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert bool(sandbox.ledger) is executed
        manual(sandbox).advance(5)
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER])
def test_a_broken_connection_leaves_it_open(backend: str, kind: FaultKind) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", kind, times=1)
        with pytest.raises(Unanswered, match="broke"):
            await settle(sandbox)
        assert bool(sandbox.ledger) is (kind is FaultKind.RESET_AFTER)
        assert (await settle(sandbox))[1]["status"] == "ok"
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


async def test_no_connection_means_never_sent() -> None:
    sandbox, sent = Sandbox(clock=ManualClock()), list[int]()
    sandbox.fail("transfers.settle", FaultKind.REFUSED, times=1)
    with pytest.raises(NotSent):
        await settle(sandbox, before_send=lambda: sent.append(1))
    assert (sent, dict(sandbox.stats["requests"])) == ([], {})
    await settle(sandbox, before_send=lambda: sent.append(1))
    assert sent == [1]


async def test_a_connection_that_is_there_is_not_refused_afterwards() -> None:
    sandbox, refused = Sandbox(clock=ManualClock()), 0
    sandbox.fail("transfers.settle", FaultKind.REFUSED, rate=0.5)
    for _ in range(40):
        try:
            await settle(sandbox)
        except NotSent:
            refused += 1
    assert 10 < refused < 30
    assert sandbox.stats["requests"]["transfers.settle"] == 40 - refused


async def test_a_call_may_be_cancelled_on_its_way_there() -> None:
    sandbox, sent = Sandbox(), list[int]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await settle(sandbox, before_send=lambda: sent.append(1))
    assert scope.cancelled_caught
    assert sent == [1]
    assert not sandbox.ledger


async def test_a_call_may_be_cancelled_on_its_way_back() -> None:
    sandbox, back = Sandbox(), list[object]()

    async def call() -> None:
        back.append(await settle(sandbox))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        while not sandbox.ledger:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not back
    assert sandbox.ledger["t"].count == 1


class Hurried(ManualClock):
    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@pytest.mark.parametrize(("timeout", "said"), [(0.123456, "0.123"), (9.9999999, "10"), (86_400.0, "86400")])
async def test_a_timeout_is_told_in_sensible_digits(timeout: float, said: str) -> None:
    sandbox = Sandbox(clock=Hurried())
    sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=1e9)
    with pytest.raises(Unanswered, match=f"^no answer within {re.escape(said)} s"):
        await settle(sandbox, timeout=timeout)


async def test_without_time_nothing_is_sent() -> None:
    sandbox, sent = Sandbox(), list[int]()
    with pytest.raises(NotSent):
        await settle(sandbox, timeout=0, before_send=lambda: sent.append(1))
    assert not sent
    assert not sandbox.ledger


async def test_what_the_fence_raises_keeps_the_request_from_leaving() -> None:
    class TooLate(Exception):
        pass

    def fence() -> None:
        raise TooLate

    sandbox = Sandbox()
    with pytest.raises(TooLate):
        await settle(sandbox, before_send=fence)
    assert not sandbox.stats["requests"]
    assert not sandbox.ledger


async def test_the_fence_comes_right_before_the_call() -> None:
    sandbox, seen = Sandbox(), list[int]()
    await settle(sandbox, before_send=lambda: seen.append(sum(sandbox.stats["requests"].values())))
    assert seen == [0]
    assert sandbox.stats["requests"] == {"transfers.settle": 1}


async def test_others_run_while_a_call_is_under_way() -> None:
    sandbox, order = Sandbox(), list[str]()

    async def call(name: str) -> None:
        order.append(f"{name} leaves")
        await settle(sandbox)
        order.append(f"{name} is back")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "one")
        tasks.start_soon(call, "two")
    assert order[:2] == ["one leaves", "two leaves"]
    assert sandbox.ledger["t"].count == 1


async def test_a_path_that_is_none_is_not_found() -> None:
    status, _, body = await Sandbox().engine().send("GET", "https://core.paystar.ir/other", [], None, 5)
    assert (status, body) == (404, b'{"message":"Not Found"}')
