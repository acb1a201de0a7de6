"""The aiohttp engine by itself; ``test_conformance`` tests all engines."""

from typing import Any

import aiohttp
import pytest
import trio

from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.aiohttp import AiohttpEngine
from tests.transport import conformance
from tests.transport.conformance import OK, URL, open_engine, send, send_error
from tests.transport.tcp import free_port, run_server


class TestHandedIn:
    """A handed-in session, which stays open and keeps its headers."""

    async def test_send_session_keeps_headers_and_stays_open(self) -> None:
        async with aiohttp.ClientSession(headers={"X-Session": "1"}, cookies={"session": "2"}) as session:
            engine = AiohttpEngine(session=session)
            async with run_server(conformance.keep_responding) as server:
                await send(engine, server.url)
                await engine.aclose()
                assert not session.closed

        assert b"X-Session: 1" in server.received
        assert b"Authorization: Bearer canary" in server.received

    async def test_send_session_middlewares_are_not_called(self) -> None:
        async def middleware(*_: Any) -> Any:
            raise AssertionError("called")

        async with (
            aiohttp.ClientSession(middlewares=[middleware]) as session,
            run_server(conformance.keep_responding) as server,
        ):
            assert (await send(AiohttpEngine(session=session), server.url))[0] == 200

    async def test_send_closed_session_is_refused(self) -> None:
        session = aiohttp.ClientSession()
        await session.close()

        with pytest.raises(ConfigurationError, match="closed"):
            await send(AiohttpEngine(session=session), URL)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("has_login", [False, True])
    async def test_init_session_with_login_or_trust_env_is_refused(self, has_login: bool) -> None:
        auth = aiohttp.BasicAuth("user", "other") if has_login else None
        async with aiohttp.ClientSession(auth=auth, trust_env=not has_login) as session:
            with pytest.raises(ConfigurationError, match="its own logins"):
                AiohttpEngine(session=session)

    async def test_send_session_with_before_send_is_refused(self) -> None:
        async with open_engine("aiohttp session") as engine:
            with pytest.raises(ConfigurationError, match="cannot report when a request is sent"):
                await send(engine, URL, before_send=lambda: None)

    async def test_send_session_proxy_refusal_is_not_sent(self) -> None:
        script = conformance.respond_with(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        async with (
            run_server(script) as server,
            aiohttp.ClientSession(proxy=f"http://127.0.0.1:{server.port}") as session,
        ):
            error = await send_error(AiohttpEngine(session=session), URL.replace("http:", "https:"))

        assert type(error) is NotSent
        assert b"canary" not in server.received

    @pytest.mark.parametrize(
        ("problem", "error_class"),
        [
            (UnicodeEncodeError("idna", "x", 0, 1, "canary"), NotSent),
            (UnicodeDecodeError("utf-8", b"x", 0, 1, "canary"), NoResponse),
            (aiohttp.ServerDisconnectedError("canary"), NoResponse),
            (aiohttp.ClientOSError(32, "canary"), NoResponse),
            (RuntimeError("canary"), NoResponse),
        ],
        ids=lambda value: getattr(value, "__name__", type(value).__name__),
    )
    async def test_send_failing_connector_outcome_follows_error(
        self, problem: Exception, error_class: type[Exception]
    ) -> None:
        class Failing(aiohttp.TCPConnector):
            async def connect(self, *_: Any, **__: Any) -> Any:
                raise problem

        async with aiohttp.ClientSession(connector=Failing()) as session:
            assert type(await send_error(AiohttpEngine(session=session), URL)) is error_class


async def test_send_unreachable_address_is_shown_without_query() -> None:
    port = free_port()
    async with open_engine("aiohttp") as engine:
        error = await send_error(engine, f"http://127.0.0.1:{port}/?access_password=canary")

    assert f"127.0.0.1:{port}" in str(error)


async def test_send_lost_response_is_not_retried_by_aiohttp() -> None:
    async with run_server(conformance.respond_once_and_read_another) as server, open_engine("aiohttp") as engine:
        await send(engine, server.url, method="GET")
        error = await send_error(engine, server.url, method="GET")

    assert (type(error), len(server.peers)) == (NoResponse, 1)


async def test_before_send_base_exception_is_raised_unchanged() -> None:
    class Stop(BaseException):
        pass

    def refuse() -> None:
        raise Stop

    async with run_server(conformance.respond_with(OK)) as server, open_engine("aiohttp") as engine:
        with pytest.raises(Stop):
            await send(engine, server.url, before_send=refuse)

    assert server.received == b""


def test_send_on_trio_is_refused() -> None:
    async def run() -> None:
        with pytest.raises(ConfigurationError, match="aiohttp engine works with asyncio only"):
            await send(AiohttpEngine(), URL)

    trio.run(run)
