"""The fast engine: what is its own. What all engines share is in ``test_conformance``."""

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest
import trio
from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder
from pyreqwest.http import HeaderMap

from paystar_async.errors import BadAnswer, ConfigurationError, NotSent, Unanswered
from paystar_async.transport import fast
from paystar_async.transport.fast import FastEngine
from tests.transport import conformance as c
from tests.transport.conformance import URL, ask, failure, opened
from tests.transport.tcp import Talk, free_port, serving


def causes(*messages: str) -> Any:
    return {"causes": [{"message": one} for one in messages]}


SENT, CONNECT = "error sending request for url (http://x/?canary)", "client error (Connect)"


@pytest.mark.parametrize(
    ("problem", "known"),
    [
        (exceptions.ConnectError("x", causes(SENT, CONNECT, "tcp connect error")), NotSent),
        (exceptions.ConnectTimeoutError("x", causes(SENT, CONNECT, "operation timed out")), NotSent),
        (exceptions.BuilderError("x", causes("builder error for url (canary)", "not allowed")), NotSent),
        (exceptions.ConnectError("x", causes(SENT, "client error (SendRequest)", "connection error")), Unanswered),
        (exceptions.ConnectTimeoutError("x", causes(SENT, "operation timed out")), Unanswered),
        (exceptions.ConnectError("x", causes(SENT)), Unanswered),
        (exceptions.ConnectError("x", {"causes": None}), Unanswered),
        (exceptions.PoolTimeoutError("x", {"causes": None}), Unanswered),
        (exceptions.RequestPanicError("x", {"causes": None}), Unanswered),
        (exceptions.ClientClosedError("x", {"causes": None}), Unanswered),
        (exceptions.PyreqwestError("canary"), Unanswered),
    ],
)
def test_not_sent_is_said_for_a_cause_and_never_for_a_class(
    problem: exceptions.PyreqwestError, known: type[Exception]
) -> None:
    error = fast.verdict(problem, 1.0)

    assert type(error) is known
    assert "canary" not in str(error)


async def causes_of(url: str, timeout: float) -> tuple[str, list[str]]:
    """What the library itself says of a call."""
    async with ClientBuilder().no_proxy().build() as client:
        with pytest.raises(exceptions.DetailedPyreqwestError) as caught:
            await client.post(url).body_bytes(b"{}").timeout(timedelta(seconds=timeout)).build().send()
    return type(caught.value).__name__, [one["message"] for one in caught.value.details["causes"] or []][1:]


async def test_the_librarys_classes_lie_and_its_causes_do_not() -> None:
    async with serving(c.reset_after_reading) as dropping, serving(c.silence) as silent:
        dropped = await causes_of(dropping.url, 5)
        late = await causes_of(silent.url, 0.2)
    refused = await causes_of(f"http://127.0.0.1:{free_port()}/", 5)

    assert (dropped[0], dropped[1][0]) == ("ConnectError", "client error (SendRequest)")
    assert late == ("ConnectTimeoutError", ["operation timed out"])
    assert (refused[0], refused[1][0]) == ("ConnectError", "client error (Connect)")
    assert len(dropping.requests) == len(silent.requests) == 1


def test_a_version_that_was_not_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(_: str) -> str:
        return "0.16.0"

    monkeypatch.setattr(fast, "version", version)

    with pytest.raises(ConfigurationError, match=r"pyreqwest 0\.16\.0 .*paystar-async\[fast\]"):
        FastEngine()


async def test_a_host_without_certificate_authorities_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/nowhere")

    with pytest.raises(ConfigurationError, match="no certificate authorities"):
        await ask(FastEngine(), URL)


async def test_a_call_that_must_be_fenced_is_refused() -> None:
    async with opened("fast") as engine:
        with pytest.raises(ConfigurationError, match="cannot say when a request leaves"):
            await ask(engine, URL, before_send=lambda: None)


def test_another_loop_is_refused_by_name() -> None:
    async def run() -> None:
        with pytest.raises(ConfigurationError, match="fast engine works on asyncio alone"):
            await ask(FastEngine(), URL)

    trio.run(run)


async def test_a_call_that_was_cancelled_ends_with_the_engine() -> None:
    reached, over = asyncio.Event(), asyncio.Event()

    async def play(talk: Talk) -> None:
        await talk.request()
        reached.set()
        await c.mute(talk)
        over.set()

    async with serving(play) as server, opened("fast") as engine:
        call = asyncio.create_task(ask(engine, server.url))
        await reached.wait()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert not over.is_set()
        await engine.aclose()
        await over.wait()


async def test_a_cancellation_is_not_lost_to_an_answer_that_came_in_the_same_moment() -> None:
    async def answered() -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 200, {}, b""

    async def call() -> None:
        with pytest.raises(asyncio.CancelledError):
            await fast.cancellable(answered(), asyncio.current_task())
        ended.set()

    ended = asyncio.Event()
    await asyncio.wait([asyncio.create_task(call())])
    assert ended.is_set()


async def test_headers_that_were_changed_in_place_are_sent_as_they_are_now() -> None:
    headers = [("Authorization", "Bearer one")]
    async with serving(c.keep_answering) as server, opened("fast") as engine:
        await ask(engine, server.url, headers=headers)
        headers[0] = ("Authorization", "Bearer two")
        await ask(engine, server.url, headers=headers)

    assert [b"Bearer two" in one for one in server.requests] == [False, True]


async def test_what_cannot_be_written_was_never_sent() -> None:
    async with opened("fast") as engine:
        error = await failure(engine, URL, headers=(("X", "canary\n"),))
        late = await failure(engine, URL, timeout=1e20)

    assert (error.args[0], late.args[0]) == (
        "it cannot be written: ValueError",
        "it cannot be written: OverflowError",
    )


@pytest.mark.parametrize(("size", "let_go"), [(9, 0), (10, 0), (11, 1)])
async def test_an_answer_that_is_not_read_to_its_end_is_let_go_of(
    size: int, let_go: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps it keeps its connection, too."""
    monkeypatch.setattr(fast, "LARGEST", 10)
    request = AsyncMock()
    response = request.__aenter__.return_value
    response.status = 200
    response.headers = HeaderMap([])
    response.body_reader.read.return_value.to_bytes = lambda: b"x" * size
    with nullcontext() if size <= 10 else pytest.raises(BadAnswer):
        await fast._exchange(request, 1.0)  # pyright: ignore[reportPrivateUsage]
    assert request.__aexit__.await_count == let_go
