"""The native engine: written requests, and TLS."""

import asyncio
import socket
import ssl
from typing import Any

import httpx
import pytest

from paystar_async.errors import NotSent
from paystar_async.transport.native.engine import NativeEngine
from tests.transport.conformance import keep_responding
from tests.transport.tcp import CERTIFICATE, free_port, run_server

HEADERS = (("Authorization", "Bearer canary"),)


async def send(engine: NativeEngine, url: str, headers: Any = HEADERS) -> int:
    """Return the HTTP status of one call."""
    status, _, _ = await engine.send("POST", url, headers, b"{}", 5)
    return status


class TestWriteRequest:
    """The bytes of a request, and requests that cannot be written."""

    @pytest.mark.parametrize(
        "header", [("X", "a\r\nY: b"), ("X", "a\n"), ("X", "a\0"), ("X\r\nY", "b"), ("X Y", "b"), ("", "b"), ("X", "é")]
    )
    async def test_send_invalid_header_is_not_sent(self, header: tuple[str, str]) -> None:
        engine = NativeEngine()
        async with run_server(keep_responding) as server:
            with pytest.raises(NotSent, match="header"):
                await send(engine, server.url, headers=(header,))
            assert server.peers == []

    @pytest.mark.parametrize("query", ["a b", "a\r\nX: y", "é", "a\0", "a#b"])
    async def test_send_unescaped_query_is_not_sent(self, query: str) -> None:
        with pytest.raises(NotSent, match="URL"):
            await send(NativeEngine(), f"http://127.0.0.1:{free_port()}/?{query}")

    async def test_send_path_is_escaped(self) -> None:
        engine = NativeEngine()
        async with run_server(keep_responding) as server:
            await send(engine, f"http://127.0.0.1:{server.port}/a b/é")
            await engine.aclose()
        assert server.requests[0].startswith(b"POST /a%20b/%C3%A9 HTTP/1.1\r\nHost: 127.0.0.1:")


def trusting_context(**_: object) -> ssl.SSLContext:
    """Return a context that trusts the test server's certificate alone."""
    text = f"-----BEGIN CERTIFICATE-----{CERTIFICATE}-----END CERTIFICATE-----\n"
    return ssl.create_default_context(cadata=text)


class TestTls:
    """https, with the certificate authorities that httpx trusts."""

    async def test_send_trusted_certificate_reuses_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        context_options: list[dict[str, Any]] = []

        def trust(**options: Any) -> ssl.SSLContext:
            context_options.append(options)
            return trusting_context()

        monkeypatch.setattr(httpx, "create_ssl_context", trust)
        engine = NativeEngine()
        async with run_server(keep_responding, tls=True) as server:
            for _ in range(3):
                status, _, _ = await engine.send("POST", server.url, HEADERS, b"{}", 5)
                assert status == 200
            assert len(server.peers) == 1
            await engine.aclose()
        assert context_options == [{"trust_env": False}]

    async def test_send_certificate_of_other_name_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def resolve_to_loopback(host: str, port: int, **_: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(httpx, "create_ssl_context", trusting_context)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve_to_loopback)
        engine = NativeEngine()
        async with run_server(keep_responding, tls=True) as server:
            with pytest.raises(NotSent, match="not connected"):
                await send(engine, f"https://paystar.example:{server.port}/")
        assert server.received == b""


def test_send_works_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")  # none for Windows

    async def main() -> list[int]:
        async with run_server(keep_responding) as server:
            engine = NativeEngine()
            statuses = [await send(engine, server.url) for _ in range(2)]
            await engine.aclose()
            assert len(server.peers) == 1
        return statuses

    assert uvloop.run(main()) == [200, 200]
