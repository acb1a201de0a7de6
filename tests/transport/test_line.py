"""One connection on asyncio: how it is made, and what it does not leave to the next request."""

# pyright: reportPrivateUsage=false

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from paystar_async.transport import line as module
from paystar_async.transport.line import PIECE, Line, connect, first_of
from tests.transport.tcp import Talk, free_port, serving

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


def message(size: int) -> bytes:
    return HEAD % size + b"x" * size


async def keep_answering(talk: Talk) -> None:
    while await talk.request():
        await talk.answer()


async def refuse_at_once(talk: Talk) -> None:
    await talk.hear(1)
    await talk.answer(b"no", status=b"413 Content Too Large")
    await talk.hear(1)
    await asyncio.sleep(60)


def soon() -> float:
    return asyncio.get_running_loop().time() + 20


async def closed(line: Line) -> None:
    line.hang_up()
    await line.gone()


class TestSending:
    """What goes out, and how fast."""

    async def test_much_is_written_no_faster_than_it_leaves(self) -> None:
        async with serving(keep_answering) as server:
            line = await connect("127.0.0.1", server.port, None)
            waiting: list[int] = []
            write = line._transport.write

            def counting(data: bytes) -> None:
                write(data)
                waiting.append(line._transport.get_write_buffer_size())

            line._transport = _Spied(line._transport, counting)
            answer = await line.exchange("POST", message(40 * PIECE), soon())
            await closed(line)

        assert answer.status == 200
        assert len(server.requests[0]) > 40 * PIECE
        assert max(waiting) <= 2 * PIECE

    @pytest.mark.parametrize("size", [PIECE - 500, 100 * PIECE])
    async def test_an_answer_that_comes_before_all_is_written_is_the_last_one(self, size: int) -> None:
        async with serving(refuse_at_once) as server:
            line = await connect("127.0.0.1", server.port, None)
            answer = await line.exchange("POST", message(size), soon())
            unwritten = size > PIECE
            assert (answer.status, line.is_open) == (413, not unwritten)
            await closed(line)

    async def test_who_is_cancelled_while_writing_leaves_nothing_open(self) -> None:
        async def deaf(talk: Talk) -> None:
            await asyncio.sleep(60)

        async with serving(deaf) as server:
            line = await connect("127.0.0.1", server.port, None)
            task = asyncio.create_task(line.exchange("POST", message(100 * PIECE), soon()))
            for _ in range(5):
                await asyncio.sleep(0)
            assert line._is_full
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not line.is_open
            await line.gone()


class _Spied:
    """A transport of which each write is looked at."""

    def __init__(self, inner: Any, write: Callable[[bytes], None]) -> None:
        self._inner, self.write = inner, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class TestFit:
    """Whether a request may go out over it."""

    async def test_bytes_that_nobody_asked_for_end_it(self) -> None:
        async def talkative(talk: Talk) -> None:
            await talk.request()
            await talk.answer()
            await more.wait()
            await talk.answer(b"forged")
            await talk.hear()

        more = asyncio.Event()
        async with serving(talkative) as server:
            line = await connect("127.0.0.1", server.port, None)
            await line.exchange("POST", message(2), soon())
            assert line.is_fit()
            more.set()
            await line.gone()
            assert not line.is_fit()

    async def test_an_end_that_the_loop_has_not_heard_yet_is_seen(self) -> None:
        async with serving(keep_answering) as server:
            line = await connect("127.0.0.1", server.port, None)
            await line.exchange("POST", message(2), soon())
            assert line.is_fit()
            server.conns[0].shutdown(2)  # and the loop has no turn before it is asked
            assert not line.is_fit()
            await closed(line)

    async def test_it_is_seen_without_poll_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("select.poll")
        async with serving(keep_answering) as server:
            line = await connect("127.0.0.1", server.port, None)
            assert line.is_fit()
            server.conns[0].shutdown(2)
            assert not line.is_fit()
            await closed(line)


class TestConnecting:
    """One host, several addresses."""

    async def test_an_address_that_refuses_gives_way_to_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def addresses(host: str, port: int) -> list[str]:
            return ["127.0.0.9", "127.0.0.1"]

        monkeypatch.setattr(module, "addresses_of", addresses)
        async with serving(keep_answering) as server:
            line = await connect("paystar.example", server.port, None)
            assert (await line.exchange("POST", message(2), soon())).status == 200
            await closed(line)
        with pytest.raises(ConnectionRefusedError):
            await connect("paystar.example", free_port(), None)

    async def test_a_name_is_looked_up_and_its_families_take_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def found(*_: object, **__: object) -> list[Any]:
            six, four = [(10, 1, 6, "", (f"::{n}", 443, 0, 0)) for n in "123"], (2, 1, 6, "", ("192.0.2.1", 443))
            return [*six, four, four]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
        assert await module.addresses_of("paystar.example", 443) == ["::1", "192.0.2.1", "::2", "::3"]
        assert await module.addresses_of("192.0.2.7", 443) == ["192.0.2.7"]

    async def test_the_next_is_tried_beside_one_that_leads_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "STAGGER", 0.0)
        lines, ended = [_Stub(), _Stub()], asyncio.Event()

        async def nowhere() -> Line:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()
            raise AssertionError

        assert await first_of([nowhere, _dialling(lines[0]), _dialling(lines[1])]) is lines[0]
        await ended.wait()
        assert not lines[0].hung_up

    async def test_of_two_that_come_about_at_once_one_is_let_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "STAGGER", 0.0)
        lines, go = [_Stub(), _Stub()], asyncio.Event()
        race = asyncio.create_task(first_of([_dialling(one, go) for one in lines]))
        for _ in range(10):
            await asyncio.sleep(0)
        go.set()
        won = await race
        await asyncio.sleep(0)

        assert sorted(one.hung_up for one in lines) == [False, True]
        assert [one for one in lines if not one.hung_up] == [won]

    async def test_a_race_that_is_cancelled_leaves_no_task(self) -> None:
        before = asyncio.all_tasks()
        race = asyncio.create_task(first_of([_dialling(_Stub(), asyncio.Event())] * 2))
        await asyncio.sleep(0)
        race.cancel()
        with pytest.raises(asyncio.CancelledError):
            await race
        for _ in range(3):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


class _Stub(Line):
    def __init__(self) -> None:
        self.hung_up = False

    def hang_up(self) -> None:
        self.hung_up = True


def _dialling(line: Line, go: asyncio.Event | None = None) -> Callable[[], Coroutine[Any, Any, Line]]:
    async def dial() -> Line:
        if go is not None:
            await go.wait()
        return line

    return dial
