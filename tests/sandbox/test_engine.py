"""The in-process engine, on asyncio and on trio."""

import json
import re
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from paystar_async.errors import NoResponse, NotSent
from paystar_async.runtime.clock import ManualClock
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.transport.engine import Engine

Scenario = Callable[[Sandbox], Awaitable[None]]
URL = "https://core.paystar.ir/api/bank-transfer/v2/settlement"
BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(scenario: Scenario, backend: str) -> None:
    async def run_with_timeout() -> None:
        with anyio.fail_after(5):
            await scenario(Sandbox(clock=ManualClock()))

    anyio.run(run_with_timeout, backend=backend)


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
    assert engine.supports_before_send
    status, names, content = await engine.send("POST", URL, headers, json.dumps(body).encode(), timeout, before_send)
    assert names["content-type"] == "application/json"
    await engine.aclose()
    return status, json.loads(content)


def manual_clock(sandbox: Sandbox) -> ManualClock:
    assert isinstance(sandbox.clock, ManualClock)
    return sandbox.clock


@BACKENDS
def test_send_any_host_gets_response(backend: str) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        status, content = await settle(sandbox)
        assert (status, content["status"]) == (200, "ok")
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
def test_send_latency_over_timeout_raises_and_executes_later(backend: str) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=30)
        errors: list[NoResponse] = []

        async def call() -> None:
            with pytest.raises(NoResponse) as raised:
                await settle(sandbox, timeout=10)
            errors.append(raised.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            assert manual_clock(sandbox).sleepers == 1
            manual_clock(sandbox).advance(10)
        assert errors
        assert errors[0].executed == "maybe"
        assert errors[0].args[0] == "no response within 10 s"
        assert not sandbox.ledger
        manual_clock(sandbox).advance(19.5)
        assert not sandbox.ledger
        manual_clock(sandbox).advance(0.5)
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
def test_send_latency_within_timeout_returns_response(backend: str) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=5)
        responses: list[object] = []

        async def call() -> None:
            responses.append((await settle(sandbox, timeout=10))[1]["status"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            manual_clock(sandbox).advance(5)
        assert responses == ["ok"]
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
@pytest.mark.parametrize("executed", [False, True])
def test_send_cancelled_call_is_executed_when_due(backend: str, executed: bool) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=5, executed=executed)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settle, sandbox)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert bool(sandbox.ledger) is executed
        manual_clock(sandbox).advance(5)
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


@BACKENDS
@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER])
def test_send_reset_raises_maybe_executed(backend: str, kind: FaultKind) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        sandbox.fail("transfers.settle", kind, times=1)
        with pytest.raises(NoResponse, match="broke"):
            await settle(sandbox)
        assert bool(sandbox.ledger) is (kind is FaultKind.RESET_AFTER)
        assert (await settle(sandbox))[1]["status"] == "ok"
        assert sandbox.ledger["t"].count == 1

    run(scenario, backend)


async def test_send_refused_connection_raises_not_sent() -> None:
    sandbox, sent = Sandbox(clock=ManualClock()), list[int]()
    sandbox.fail("transfers.settle", FaultKind.REFUSED, times=1)
    with pytest.raises(NotSent):
        await settle(sandbox, before_send=lambda: sent.append(1))
    assert (sent, dict(sandbox.stats["requests"])) == ([], {})
    await settle(sandbox, before_send=lambda: sent.append(1))
    assert sent == [1]


async def test_send_refused_is_checked_once_per_call() -> None:
    sandbox, refused = Sandbox(clock=ManualClock()), 0
    sandbox.fail("transfers.settle", FaultKind.REFUSED, rate=0.5)
    for _ in range(40):
        try:
            await settle(sandbox)
        except NotSent:
            refused += 1
    assert 10 < refused < 30
    assert sandbox.stats["requests"]["transfers.settle"] == 40 - refused


async def test_send_can_be_cancelled_before_execution() -> None:
    sandbox, sent = Sandbox(), list[int]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await settle(sandbox, before_send=lambda: sent.append(1))
    assert scope.cancelled_caught
    assert sent == [1]
    assert not sandbox.ledger


async def test_send_can_be_cancelled_after_execution() -> None:
    sandbox, results = Sandbox(), list[object]()

    async def call() -> None:
        results.append(await settle(sandbox))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        while not sandbox.ledger:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not results
    assert sandbox.ledger["t"].count == 1


class SkippingClock(ManualClock):
    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@pytest.mark.parametrize(("timeout", "expected"), [(0.123456, "0.123"), (9.9999999, "10"), (86_400.0, "86400")])
async def test_send_timeout_message_rounds_seconds(timeout: float, expected: str) -> None:
    sandbox = Sandbox(clock=SkippingClock())
    sandbox.fail("transfers.settle", FaultKind.LATENCY, seconds=1e9)
    with pytest.raises(NoResponse, match=f"^no response within {re.escape(expected)} s"):
        await settle(sandbox, timeout=timeout)


async def test_send_zero_timeout_raises_not_sent() -> None:
    sandbox, sent = Sandbox(), list[int]()
    with pytest.raises(NotSent):
        await settle(sandbox, timeout=0, before_send=lambda: sent.append(1))
    assert not sent
    assert not sandbox.ledger


async def test_send_error_in_before_send_prevents_request() -> None:
    class TooLate(Exception):
        pass

    def before_send() -> None:
        raise TooLate

    sandbox = Sandbox()
    with pytest.raises(TooLate):
        await settle(sandbox, before_send=before_send)
    assert not sandbox.stats["requests"]
    assert not sandbox.ledger


async def test_send_calls_before_send_once_before_request() -> None:
    sandbox, request_counts = Sandbox(), list[int]()
    await settle(sandbox, before_send=lambda: request_counts.append(sum(sandbox.stats["requests"].values())))
    assert request_counts == [0]
    assert sandbox.stats["requests"] == {"transfers.settle": 1}


async def test_send_yields_to_other_tasks() -> None:
    sandbox, order = Sandbox(), list[str]()

    async def call(name: str) -> None:
        order.append(f"{name} sends")
        await settle(sandbox)
        order.append(f"{name} returns")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "one")
        tasks.start_soon(call, "two")
    assert order[:2] == ["one sends", "two sends"]
    assert sandbox.ledger["t"].count == 1


async def test_send_unknown_path_is_404() -> None:
    status, _, body = await Sandbox().engine().send("GET", "https://core.paystar.ir/other", [], None, 5)
    assert (status, body) == (404, b'{"message":"Not Found"}')
