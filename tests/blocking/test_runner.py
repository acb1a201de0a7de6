"""Waiting for the event loop in the calling thread: event loops, interruptions, loops that end."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from paystar_async.endpoint import Request, Send
from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.response import Response
from tests.blocking.support import MATCH, WAIT_SECONDS, Server
from tests.support import transfer


class TestEventLoop:
    def test_call_in_event_loop_names_paystar(self, server: Server) -> None:
        paystar = server.client()

        async def call() -> None:
            for function in (lambda: paystar.send(MATCH), lambda: next(paystar.transfers.iterate()), paystar.close):
                with pytest.raises(ConfigurationError, match="use Paystar there"):
                    function()

        asyncio.run(call())
        trio.run(call)
        assert server.requests == []

    def test_call_in_thread_of_event_loop_works(self, server: Server) -> None:
        with server.client() as paystar:
            assert asyncio.run(asyncio.to_thread(paystar.send, MATCH)).value.is_matched

    def test_call_by_handler_in_loop_thread_is_refused(self, server: Server) -> None:
        refused: list[str] = []

        async def middleware(request: Request[Any], proceed: Send) -> Response[Any]:
            try:
                paystar.send(MATCH)
            except ConfigurationError as error:
                refused.append(str(error))
            return await proceed(request)

        with server.client(middleware=[middleware]) as paystar:
            paystar.send(MATCH)
        assert len(refused) == 1


class TestEndedLoop:
    def test_loop_that_ended_is_replaced(self, server: Server) -> None:
        async def middleware(request: Request[Any], proceed: Send) -> Response[Any]:
            if request.timeout == 1.5:
                raise SystemExit(3)
            return await proceed(request)

        with server.client(middleware=[middleware]) as paystar, ThreadPoolExecutor(2) as pool:
            server.may_respond.clear()
            read = pool.submit(paystar.send, MATCH)
            settle = pool.submit(paystar.transfers.settle, transfers=[transfer("t-1")])
            while len(server.requests) < 2:
                assert server.arrived.wait(WAIT_SECONDS)
            with pytest.raises(SystemExit):
                paystar.send(MATCH, timeout=1.5)
            errors = [call.exception(WAIT_SECONDS) for call in (read, settle)]
            assert [type(error) for error in errors] == [NoResponse, NoResponse]
            assert [getattr(error, "executed", "") for error in errors] == ["no", "maybe"]
            assert "transfers.find" in str(errors[1])
            server.may_respond.set()
            assert paystar.send(MATCH).value.is_matched


class TimeLimit(Exception):
    """As Celery raises in a task that takes too long."""


@contextmanager
def interrupting(arrived: threading.Event, error: type[BaseException]) -> Generator[None, None, None]:
    """Raise an error in this thread once an event is set."""

    def raise_error(*_: object) -> None:
        raise error

    def interrupt() -> None:
        arrived.wait(WAIT_SECONDS)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, raise_error)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
class TestInterrupted:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, TimeLimit])
    def test_settle_interrupted_names_its_lookup(
        self, server: Server, error: type[BaseException], caplog: pytest.LogCaptureFixture
    ) -> None:
        server.may_respond.clear()
        caplog.set_level(logging.WARNING, "paystar_async")
        with server.client() as paystar:
            with interrupting(server.arrived, error), pytest.raises(error) as raised:
                paystar.transfers.settle(transfers=[transfer("t-1")])
            server.may_respond.set()
        note = "transfers.settle was interrupted and may have been executed: look it up with transfers.find"
        assert raised.value.__notes__[0].startswith(note)
        assert note in caplog.text
        assert len(server.requests) == 1

    def test_read_interrupted_has_no_note(self, server: Server) -> None:
        server.may_respond.clear()
        with server.client() as paystar, interrupting(server.arrived, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt) as raised:
                paystar.send(MATCH)
            server.may_respond.set()
        assert not hasattr(raised.value, "__notes__")

    def test_settle_interrupted_in_queue_is_never_sent(self, server: Server) -> None:
        queued = threading.Event()

        async def middleware(request: Request[Any], proceed: Send) -> Response[Any]:
            if request.endpoint.id == "transfers.settle":
                queued.set()
            return await proceed(request)

        server.may_respond.clear()
        with server.client(concurrency=1, middleware=[middleware]) as paystar, ThreadPoolExecutor(1) as pool:
            first = pool.submit(paystar.send, MATCH)
            assert server.arrived.wait(WAIT_SECONDS)
            with interrupting(queued, KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
                paystar.transfers.settle(transfers=[transfer("t-1")])
            server.may_respond.set()
            assert first.result(WAIT_SECONDS).value.is_matched
            paystar.send(MATCH)
        assert not [path for path in server.requests if "settlement" in path]

    def test_batch_interrupted_names_lookup(self, server: Server) -> None:
        server.may_respond.clear()
        with server.client() as paystar:
            with interrupting(server.arrived, TimeLimit), pytest.raises(TimeLimit) as raised:
                list(paystar.transfers.batch([transfer("t-1")]))
            server.may_respond.set()
        assert "look them up with transfers.find" in raised.value.__notes__[0]


def test_timeout_of_queued_call_is_not_sent(server: Server) -> None:
    server.may_respond.clear()
    with server.client(concurrency=1) as paystar, ThreadPoolExecutor(1) as pool:
        first: Callable[[], Any] = pool.submit(paystar.send, MATCH).result
        assert server.arrived.wait(WAIT_SECONDS)
        with pytest.raises(NotSent):
            paystar.send(MATCH, timeout=0.01)
        server.may_respond.set()
        first()
