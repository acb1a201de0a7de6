"""Calls through a proxy."""

import asyncio
import importlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from paystar_async import Paystar
from paystar_async.errors import ConfigurationError, NoResponse, NotSent
from paystar_async.transport.engine import Engine
from paystar_async.transport.factory import make_engine
from paystar_async.transport.proxy import check_proxy
from paystar_async.values.secret import Secret
from tests.transport.conformance import Counter, keep_responding, send, send_error
from tests.transport.tcp import CERTIFICATE, TcpPeer, free_port, run_server

proxy: Any = importlib.import_module("proxy")  # proxy.py has no types
PASSWORD = "p@ss:canary"
ENGINES: list[Any] = ["auto", "httpx", "httpx2", "aiohttp"]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of a CONNECT proxy that requires a password."""
    options = ["--hostname", "127.0.0.1", "--port", "0", "--basic-auth", f"user:{PASSWORD}"]
    with proxy.Proxy([*options, "--num-acceptors", "1", "--num-workers", "1", "--log-level", "e"]) as running_proxy:
        yield running_proxy.flags.port


@pytest.fixture
def trusted_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every library trust the test server's certificate."""

    def context(*_: object, **__: object) -> ssl.SSLContext:
        text = f"-----BEGIN CERTIFICATE-----{CERTIFICATE}-----END CERTIFICATE-----\n"
        return ssl.create_default_context(cadata=text)

    monkeypatch.setattr("httpx._transports.default.create_ssl_context", context)
    monkeypatch.setattr("httpx2._transports.default.create_ssl_context", context)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context())


def engine_with_proxy(name: Any, port: int, password: str = "p%40ss%3Acanary") -> Engine:
    return make_engine(name, 4, Secret(f"http://user:{password}@127.0.0.1:{port}"))


@pytest.mark.usefixtures("trusted_certificate")
@pytest.mark.parametrize("name", ENGINES)
async def test_send_over_tls_uses_proxy(name: Any, port: int) -> None:
    before_send = Counter()
    async with run_server(keep_responding, tls=True) as server:
        engine = engine_with_proxy(name, port)
        for _ in range(2):
            status, _, _ = await send(engine, server.url, before_send=before_send)
            assert status == 200
        await engine.aclose()
    assert (before_send.count, len(server.requests), len(server.accepted_sockets)) == (2, 2, 1)
    assert b"Proxy-Authorization" not in server.received


@pytest.mark.usefixtures("trusted_certificate")
@pytest.mark.parametrize("name", ENGINES)
class TestRefusal:
    """Failures of a proxy to connect: the request was not sent to Paystar."""

    async def test_send_wrong_proxy_password_is_not_sent(self, name: Any, port: int) -> None:
        before_send = Counter()
        async with run_server(keep_responding, tls=True) as server:
            engine = engine_with_proxy(name, port, "wrong-canary")
            error = await send_error(engine, server.url, before_send=before_send)
            await engine.aclose()
        assert type(error) is NotSent
        assert (before_send.count, server.received) == (0, b"")

    async def test_send_unreachable_server_is_not_sent(self, name: Any, port: int) -> None:
        engine = engine_with_proxy(name, port)
        error = await send_error(engine, f"https://127.0.0.1:{free_port()}/?access_password=canary")
        await engine.aclose()
        assert type(error) is NotSent

    async def test_send_unreachable_proxy_is_not_sent(self, name: Any) -> None:
        engine = engine_with_proxy(name, free_port())
        error = await send_error(engine, "https://127.0.0.1:1/?access_password=canary")
        await engine.aclose()
        assert type(error) is NotSent
        assert str(error).startswith("not connected through the proxy: ")

    async def test_send_silent_proxy_is_not_sent(self, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        async def stay_silent(peer: TcpPeer) -> None:
            await peer.read_request()
            await asyncio.sleep(60)

        monkeypatch.setattr("paystar_async.transport.aiohttp.CONNECT_TIMEOUT_SECONDS", 0.2)
        async with run_server(stay_silent) as server:
            engine = engine_with_proxy(name, server.port)
            error = await send_error(engine, "https://127.0.0.1:1/?access_password=canary", 0.4)
            await engine.aclose()
        assert type(error) is NotSent
        assert b"access_password" not in server.received

    async def test_send_connection_lost_behind_proxy_is_no_response(self, name: Any, port: int) -> None:
        async def close(peer: TcpPeer) -> None:
            await peer.read_request()

        async with run_server(close, tls=True) as server:
            engine = engine_with_proxy(name, port)
            error = await send_error(engine, server.url)
            await engine.aclose()
        assert type(error) is NoResponse


class TestCheckProxy:
    """Values that ``proxy`` accepts."""

    @pytest.mark.parametrize("url", ["http://host:3128", "https://user:pw@host", " http://[::1]:3128/ "])
    def test_check_proxy_url_is_a_secret(self, url: str) -> None:
        checked = check_proxy(url, "auto")
        assert checked is not None
        assert checked.reveal() == url.strip()

    def test_check_proxy_empty_returns_none(self) -> None:
        assert check_proxy("", "auto") is None

    @pytest.mark.parametrize(
        "url",
        ["host:3128", "socks5://host:1080", "http://", "http://host:port", "http://host/path", 7, "http://ho\nst"],
    )
    def test_check_proxy_odd_url_is_refused(self, url: Any) -> None:
        with pytest.raises(ConfigurationError, match="URL of an HTTP proxy"):
            Paystar(proxy=url)

    def test_check_proxy_refusal_masks_the_password(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Paystar(proxy="ftp://user:canary@host")
        assert "canary" not in str(caught.value)

    def test_check_proxy_native_engine_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAYSTAR_PROXY", "http://user:canary@host:3128")
        with pytest.raises(ConfigurationError, match="native engine uses no proxy"):
            Paystar.from_env(engine="native")

    def test_check_proxy_handed_in_engine_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="set the proxy on the client"):
            Paystar(engine=make_engine("native", 1), proxy="http://host:3128")
