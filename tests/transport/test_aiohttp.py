"""The aiohttp engine: what is its own. What all engines share is in ``test_conformance``."""

from typing import Any

import aiohttp
import pytest
import trio

from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.aiohttp import AiohttpEngine
from tests.transport import conformance as c
from tests.transport.conformance import OK, URL, ask, failure, opened
from tests.transport.tcp import free_port, serving


class TestHandedIn:
    """A session of the caller's own: it stays theirs."""

    async def test_it_keeps_its_headers_and_its_cookies_and_stays_open(self) -> None:
        async with aiohttp.ClientSession(headers={"X-Theirs": "1"}, cookies={"theirs": "2"}) as session:
            engine = AiohttpEngine(session=session)
            async with serving(c.keep_answering) as server:
                await ask(engine, server.url)
                await engine.aclose()
                assert not session.closed

        assert b"X-Theirs: 1" in server.heard
        assert b"Authorization: Bearer canary" in server.heard

    async def test_its_middlewares_are_not_asked(self) -> None:
        async def theirs(*_: Any) -> Any:
            raise AssertionError("asked")

        async with aiohttp.ClientSession(middlewares=[theirs]) as session, serving(c.keep_answering) as server:
            assert (await ask(AiohttpEngine(session=session), server.url))[0] == 200

    async def test_one_that_is_closed_is_named(self) -> None:
        session = aiohttp.ClientSession()
        await session.close()

        with pytest.raises(ConfigurationError, match="closed"):
            await ask(AiohttpEngine(session=session), URL)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("signs_in", [False, True])
    async def test_one_that_signs_in_by_itself_or_asks_the_environment_is_refused(self, signs_in: bool) -> None:
        auth = aiohttp.BasicAuth("user", "other") if signs_in else None
        async with aiohttp.ClientSession(auth=auth, trust_env=not signs_in) as session:
            with pytest.raises(ConfigurationError, match="its own logins"):
                AiohttpEngine(session=session)

    async def test_it_cannot_fence(self) -> None:
        async with opened("aiohttp session") as engine:
            with pytest.raises(ConfigurationError, match="cannot report when a request is sent"):
                await ask(engine, URL, before_send=lambda: None)

    async def test_its_proxy_refuses_the_way(self) -> None:
        refusing = c.answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        async with (
            serving(refusing) as server,
            aiohttp.ClientSession(proxy=f"http://127.0.0.1:{server.port}") as session,
        ):
            error = await failure(AiohttpEngine(session=session), URL.replace("http:", "https:"))

        assert type(error) is NotSent
        assert b"canary" not in server.heard

    @pytest.mark.parametrize(
        ("problem", "verdict"),
        [
            (UnicodeEncodeError("idna", "x", 0, 1, "canary"), NotSent),
            (UnicodeDecodeError("utf-8", b"x", 0, 1, "canary"), NoResponse),
            (aiohttp.ServerDisconnectedError("canary"), NoResponse),
            (aiohttp.ClientOSError(32, "canary"), NoResponse),
            (RuntimeError("canary"), NoResponse),
        ],
        ids=lambda one: getattr(one, "__name__", type(one).__name__),
    )
    async def test_a_connector_of_theirs_that_fails(self, problem: Exception, verdict: type[Exception]) -> None:
        class Failing(aiohttp.TCPConnector):
            async def connect(self, *_: Any, **__: Any) -> Any:
                raise problem

        async with aiohttp.ClientSession(connector=Failing()) as session:
            assert type(await failure(AiohttpEngine(session=session), URL)) is verdict


async def test_what_could_not_be_reached_is_named_without_its_query() -> None:
    port = free_port()
    async with opened("aiohttp") as engine:
        error = await failure(engine, f"http://127.0.0.1:{port}/?access_password=canary")

    assert f"127.0.0.1:{port}" in str(error)


async def test_no_second_connection_is_opened_to_repeat_a_request() -> None:
    async with serving(c.answer_once_and_hear_another) as server, opened("aiohttp") as engine:
        await ask(engine, server.url, method="GET")
        error = await failure(engine, server.url, method="GET")

    assert (type(error), len(server.talks)) == (NoResponse, 1)


async def test_an_error_of_the_callers_own_goes_on_as_it_is() -> None:
    class Stop(BaseException):
        pass

    def refuse() -> None:
        raise Stop

    async with serving(c.answering(OK)) as server, opened("aiohttp") as engine:
        with pytest.raises(Stop):
            await ask(engine, server.url, before_send=refuse)

    assert server.heard == b""


def test_another_loop_is_refused_by_name() -> None:
    async def run() -> None:
        with pytest.raises(ConfigurationError, match="aiohttp engine works on asyncio alone"):
            await ask(AiohttpEngine(), URL)

    trio.run(run)
