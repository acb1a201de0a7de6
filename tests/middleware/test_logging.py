import asyncio
import logging
from typing import Any

import pytest

from paystar_async.errors import InvalidResponse, NoResponse, NotSent, PaystarError, status_class
from paystar_async.middleware.logging import LoggingMiddleware
from paystar_async.runtime.events import Event
from tests.support import (
    RESPONSE,
    SECRETS,
    SETTLE,
    Engine,
    KeyServer,
    Next,
    QuickClock,
    client,
    entry,
    in_turn,
    ok,
    refused,
    request,
    transfer,
)


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="paystar_async")


async def test_an_answer_is_one_line_of_debug(caplog: pytest.LogCaptureFixture) -> None:
    await LoggingMiddleware(QuickClock())(request(), Next(RESPONSE))

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("paystar_async", logging.DEBUG)
    assert record.getMessage() == (
        "identity.match_mobile POST /open-banking/service/info-matching/mobile-national-id "
        "attempt 1: 1 (HTTP 200) in 0 ms"
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotSent("x"), "NotSent in"),
        (NoResponse("x"), "NoResponse in"),
        (InvalidResponse("$", "no", http_status=502), "InvalidResponse (HTTP 502) in"),
        (status_class(9)(9, http_status=400), "InsufficientBalance status 9 (HTTP 400) in"),
    ],
)
async def test_a_failure_is_one_line_of_info_without_its_message(
    error: PaystarError, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(type(error)):
        await LoggingMiddleware(QuickClock())(request(SETTLE), Next(error))

    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert told in record.getMessage()


async def test_a_call_that_is_cancelled_leaves_a_line_too(caplog: pytest.LogCaptureFixture) -> None:
    async def never(_: Any, /) -> Any:
        await asyncio.Event().wait()

    task = asyncio.create_task(LoggingMiddleware(QuickClock())(request(), never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [one.getMessage().split(": ")[1].split(" in")[0] for one in caplog.records] == ["CancelledError"]


async def test_no_log_line_of_a_whole_life_holds_a_secret_or_a_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    clock = QuickClock()
    server = KeyServer(clock, script=lambda _: ok({"balance": 1, "price": 10_000, "status": "SUCCEED"}))
    paystar = client(Engine(server), clock=clock)
    server.keys.clear()

    await paystar.transfers.balance(account_number="0100000000001")
    await paystar.gateway.inquiry(ref_num="r", amount=10_000)
    server.script = in_turn(refused(9, "pass-app key-1 0100000000001 is short"), ok(entry("t-1")))
    with pytest.raises(PaystarError):
        await paystar.transfers.settle(transfers=[transfer("t-1")])
    await paystar.transfers.find(track_id="t-1")
    await paystar.aclose()

    assert len(caplog.records) == 7  # six requests, the renewal and its repetition among them, and what came of the key
    for secret in (*SECRETS, "key-1", "refresh-1", "?", "0100000000001", "access_password"):
        assert secret not in caplog.text


async def test_a_call_goes_on_when_on_event_raises(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []

    def broken(event: Event) -> None:
        told.append(event)
        raise RuntimeError("no room for a metric")

    clock = QuickClock()
    server = KeyServer(clock)
    server.keys.clear()

    assert (await client(Engine(server), clock=clock, on_event=broken).wallet.balance()).total_amount == 1

    assert [one.name for one in told] == ["key_refreshed"]
    assert "on_event raised on key_refreshed; the call goes on" in caplog.text
