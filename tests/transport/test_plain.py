"""The default engine's own connections on asyncio: which one a call takes, and when it goes httpx's way instead."""

# pyright: reportPrivateUsage=false

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import httpcore
import httpx
import pytest

from paystar_async.errors import NotSent, Unanswered
from paystar_async.transport import line, plain
from paystar_async.transport.httpx import HttpxEngine
from paystar_async.transport.plain import Lines
from tests.transport.tcp import _CERTIFICATE, Talk, free_port, serving

HEADERS = (("Authorization", "Bearer canary"),)


async def keep_answering(talk: Talk) -> None:
    while await talk.request():
        await talk.answer()


async def ask(lines: Lines, url: str, **more: Any) -> int:
    given: dict[str, Any] = {"method": "POST", "headers": HEADERS, "body": b"{}", "timeout": 5, "before_send": None}
    return (await lines.exchange(url=url, **{**given, **more})).status


class TestTheStack:
    """Idle connections: the last one used goes first, and old ones are let go."""

    async def test_as_many_connections_as_calls_at_once_and_no_more(self) -> None:
        lines = Lines(8)
        async with serving(keep_answering) as server:
            for _ in range(3):
                assert await asyncio.gather(*[ask(lines, server.url) for _ in range(5)]) == [200] * 5
            assert len(server.talks) == 5
            await lines.aclose()

    async def test_more_than_it_keeps_are_closed_again(self) -> None:
        lines = Lines(2)
        async with serving(keep_answering) as server:
            await asyncio.gather(*[ask(lines, server.url) for _ in range(5)])
            assert len(lines._all) == 2
            await lines.aclose()
        assert not lines._all or all(not one.is_open for one in lines._all)

    async def test_what_was_idle_for_long_is_not_used_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = Lines(8)
        async with serving(keep_answering) as server:
            await ask(lines, server.url)
            await ask(lines, server.url)
            monkeypatch.setattr(plain, "IDLE_SECONDS", 0.0)
            await ask(lines, server.url)
            assert len(server.talks) == 2
            await lines.aclose()

    async def test_the_oldest_go_when_another_is_laid_by(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = Lines(8)
        async with serving(keep_answering) as server:
            await asyncio.gather(*[ask(lines, server.url) for _ in range(3)])
            for one in lines._all:
                one.idle_since -= 100
            await ask(lines, server.url)
            assert (len(lines._all), len(server.talks)) == (1, 4)
            await lines.aclose()

    async def test_one_that_the_server_ends_is_not_kept(self) -> None:
        async def once(talk: Talk) -> None:
            await talk.request()
            await talk.answer(head=b"Connection: close\r\n")

        lines = Lines(8)
        async with serving(once) as server:
            await ask(lines, server.url)
            assert not lines._all
            await lines.aclose()

    async def test_one_host_does_not_get_anothers_connection(self) -> None:
        lines = Lines(8)
        async with serving(keep_answering) as one, serving(keep_answering) as other:
            for server in (one, other, one):
                await ask(lines, server.url)
            assert [len(one.requests), len(other.requests)] == [2, 1]
            await lines.aclose()

    async def test_a_fence_that_refuses_costs_no_connection(self) -> None:
        def refuse() -> None:
            raise KeyError("not now")

        lines = Lines(8)
        async with serving(keep_answering) as server:
            with pytest.raises(KeyError):
                await ask(lines, server.url, before_send=refuse)
            assert server.heard == b""
            await ask(lines, server.url)
            assert len(server.talks) == 1
            await lines.aclose()


class TestClosing:
    """Closed in use."""

    async def test_who_waits_for_an_answer_is_told(self) -> None:
        async def silent(talk: Talk) -> None:
            await talk.request()
            asked.set()
            await asyncio.sleep(60)

        lines, asked = Lines(8), asyncio.Event()
        async with serving(silent) as server:
            call = asyncio.create_task(ask(lines, server.url))
            await asked.wait()
            await lines.aclose()
            with pytest.raises(Unanswered, match="closed"):
                await call

    async def test_a_connection_that_comes_about_after_the_close_carries_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[line.Line] = []

        async def connect(*args: Any) -> line.Line:
            made.append(await line.connect(*args))
            await lines.aclose()
            return made[0]

        lines = Lines(8)
        monkeypatch.setattr(plain, "connect", connect)
        async with serving(keep_answering) as server:
            with pytest.raises(NotSent, match="closed before"):
                await ask(lines, server.url)
            await made[0].gone()
        assert server.heard == b""


class TestWhatCannotBeWritten:
    """Nothing of it leaves."""

    @pytest.mark.parametrize(
        "header", [("X", "a\r\nY: b"), ("X", "a\n"), ("X", "a\0"), ("X\r\nY", "b"), ("X Y", "b"), ("", "b"), ("X", "é")]
    )
    async def test_a_header_that_would_be_two(self, header: tuple[str, str]) -> None:
        lines = Lines(1)
        async with serving(keep_answering) as server:
            with pytest.raises(NotSent, match="header"):
                await ask(lines, server.url, headers=(header,))
            assert server.talks == []

    @pytest.mark.parametrize("query", ["a b", "a\r\nX: y", "é", "a\0", "a#b"])
    async def test_an_address_that_would_end_the_line(self, query: str) -> None:
        with pytest.raises(NotSent, match="address"):
            await ask(Lines(1), f"http://127.0.0.1:{free_port()}/?{query}")

    async def test_what_the_path_needs_is_escaped(self) -> None:
        lines = Lines(1)
        async with serving(keep_answering) as server:
            await ask(lines, f"http://127.0.0.1:{server.port}/a b/é")
            await lines.aclose()
        assert server.requests[0].startswith(b"POST /a%20b/%C3%A9 HTTP/1.1\r\nHost: 127.0.0.1:")

    async def test_headers_are_written_anew_when_there_were_many_sets(self) -> None:
        lines = Lines(1)
        async with serving(keep_answering) as server:
            for number in range(plain._KEPT + 2):
                await ask(lines, server.url, headers=(("X", str(number)),))
            await lines.aclose()
        assert len(lines._heads) == 2
        assert all(f"X: {number}\r\n".encode() in text for number, text in enumerate(server.requests))


def trusting(**_: object) -> ssl.SSLContext:
    """What trusts the test server's certificate alone."""
    text = f"-----BEGIN CERTIFICATE-----{_CERTIFICATE}-----END CERTIFICATE-----\n"
    return ssl.create_default_context(cadata=text)


class TestTls:
    """https, by the certificates httpx trusts."""

    async def test_a_trusted_server_is_spoken_to_and_its_connection_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[dict[str, Any]] = []

        def trust(**options: Any) -> ssl.SSLContext:
            asked.append(options)
            return trusting()

        monkeypatch.setattr(httpx, "create_ssl_context", trust)
        engine = HttpxEngine()
        async with serving(keep_answering, tls=True) as server:
            for _ in range(3):
                status, _, _ = await engine.send("POST", server.url, HEADERS, b"{}", 5)
                assert status == 200
            assert len(server.talks) == 1
            await engine.aclose()
        assert asked == [{"trust_env": False}]

    async def test_a_name_the_certificate_does_not_bear_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def here(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        monkeypatch.setattr(httpx, "create_ssl_context", trusting)
        monkeypatch.setattr(line, "addresses_of", here)
        lines = Lines(1)
        async with serving(keep_answering, tls=True) as server:
            with pytest.raises(NotSent, match="not connected"):
                await ask(lines, f"https://paystar.example:{server.port}/")
        assert server.heard == b""


Handle = Callable[..., Awaitable[Any]]


class TestHttpxsWay:
    """Whoever took the place of httpx's transport sees every call."""

    @pytest.mark.parametrize(
        "way", [httpx.AsyncHTTPTransport, httpcore.AsyncConnectionPool, httpcore.AsyncHTTPConnection]
    )
    async def test_a_tracer_around_any_part_of_it_sees_every_call(
        self, way: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handle: Handle = way.handle_async_request
        seen: list[object] = []

        @wraps(handle)
        async def traced(self: object, request: object) -> object:
            seen.append(request)
            return await handle(self, request)

        monkeypatch.setattr(way, "handle_async_request", traced)
        engine = HttpxEngine()
        async with serving(keep_answering) as server:
            for _ in range(3):
                status, _, _ = await engine.send("POST", server.url, HEADERS, b"{}", 5)
                assert status == 200
            await engine.aclose()
        assert len(seen) == 3
        assert len(server.talks) == 1

    async def test_a_callable_in_its_place_is_no_function_of_httpxs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Answering:
            async def __call__(self, request: object) -> httpx.Response:
                return httpx.Response(218)

        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", Answering())
        status, _, _ = await HttpxEngine().send("POST", f"http://127.0.0.1:{free_port()}/", HEADERS, b"{}", 5)
        assert status == 218

    async def test_without_one_httpxs_transport_is_not_even_made(self) -> None:
        engine = HttpxEngine()
        async with serving(keep_answering) as server:
            await engine.send("POST", server.url, HEADERS, b"{}", 5)
            await engine.aclose()
        assert engine._stock is None
