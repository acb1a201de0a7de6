"""The logging middleware: one line per call, without secrets."""

import asyncio
import logging
from typing import Any

import pytest

from paystar_async.errors import InvalidResponse, NoResponse, NotSent, PaystarError, status_class
from paystar_async.middleware.logging import LoggingMiddleware
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
def _log_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="paystar_async")


async def test_logging_response_is_one_debug_line(caplog: pytest.LogCaptureFixture) -> None:
    await LoggingMiddleware(QuickClock())(request(), Next(RESPONSE))

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("paystar_async", logging.DEBUG)
    assert record.getMessage() == (
        "identity.match_mobile POST /open-banking/service/info-matching/mobile-national-id "
        "attempt 1: 1 (HTTP 200) in 0 ms"
    )


@pytest.mark.parametrize(
    ("error", "logged_text"),
    [
        (NotSent("x"), "NotSent in"),
        (NoResponse("x"), "NoResponse in"),
        (InvalidResponse("$", "no", http_status=502), "InvalidResponse (HTTP 502) in"),
        (status_class(9)(9, http_status=400), "InsufficientBalance status 9 (HTTP 400) in"),
    ],
)
async def test_logging_error_is_one_info_line_without_message(
    error: PaystarError, logged_text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(type(error)):
        await LoggingMiddleware(QuickClock())(request(SETTLE), Next(error))

    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert logged_text in record.getMessage()


async def test_logging_cancelled_call_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def never(_: Any, /) -> Any:
        await asyncio.Event().wait()

    task = asyncio.create_task(LoggingMiddleware(QuickClock())(request(), never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [record.getMessage().split(": ")[1].split(" in")[0] for record in caplog.records] == ["CancelledError"]


async def test_logging_of_client_contains_no_secret_or_query(caplog: pytest.LogCaptureFixture) -> None:
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

    # Six requests, a refresh and the retry with the new key among them, and the key event.
    assert len(caplog.records) == 7
    for secret in (*SECRETS, "key-1", "refresh-1", "?", "0100000000001", "access_password"):
        assert secret not in caplog.text
