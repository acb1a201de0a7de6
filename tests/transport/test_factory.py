"""The engine factory: engines by name, and around handed-in clients and sessions."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest

from paystar_async.client import Paystar
from paystar_async.errors import ConfigurationError, MissingExtra
from paystar_async.transport.aiohttp import AiohttpEngine
from paystar_async.transport.auto import AutoEngine
from paystar_async.transport.engine import Engine, Headers
from paystar_async.transport.factory import check_engine, make_engine
from paystar_async.transport.httpx import HttpxEngine
from paystar_async.transport.native.engine import NativeEngine


class UserEngine:
    """An engine that a user wrote."""

    supports_before_send = False

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        return 200, {}, b""

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("name", ["", "curl", "HTTPX"])
def test_check_engine_unknown_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="no engine is named"):
        check_engine(name)


def test_make_engine_returns_handed_in_engine() -> None:
    user_engine = UserEngine()
    check_engine(user_engine)
    assert make_engine(user_engine, 4) is user_engine


@pytest.mark.parametrize(
    "engine",
    [
        httpx.AsyncClient(),
        httpx.AsyncHTTPTransport(),
        httpx.MockTransport(lambda _: httpx.Response(200)),
        httpx2.AsyncClient(),
        httpx2.AsyncHTTPTransport(),
    ],
)
def test_make_engine_takes_clients_and_transports(engine: Any) -> None:
    check_engine(engine)
    assert isinstance(make_engine(engine, 4), HttpxEngine)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("auto", AutoEngine),
        ("native", NativeEngine),
        ("httpx", HttpxEngine),
        ("httpx2", HttpxEngine),
        ("aiohttp", AiohttpEngine),
    ],
)
def test_make_engine_name_returns_its_engine(name: Any, kind: type[Engine]) -> None:
    check_engine(name)
    assert type(make_engine(name, 4)) is kind


async def test_make_engine_session_uses_aiohttp() -> None:
    async with aiohttp.ClientSession() as session:
        check_engine(session)
        engine = make_engine(session, 4)
        await engine.aclose()

        assert isinstance(engine, AiohttpEngine)
        assert not session.closed


@pytest.mark.parametrize(("name", "library"), [("httpx2", "httpx2"), ("aiohttp", "aiohttp")])
def test_check_engine_missing_extra_is_named(name: Any, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setenv("PAYSTAR_ENGINE", name)

    with pytest.raises(MissingExtra, match=rf"the {name} engine needs .*pip install 'paystar-async\[{name}\]'"):
        Paystar(engine=name)
    with pytest.raises(MissingExtra):
        Paystar.from_env()


def test_from_env_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_ENGINE", "curl")

    with pytest.raises(ConfigurationError, match="no engine is named 'curl'"):
        Paystar.from_env()


@pytest.mark.parametrize(
    ("name", "loaded"),
    [
        ("auto", {"httpx", "httptools"}),
        ("native", {"httpx", "httptools"}),
        ("httpx", {"httpx"}),
        ("httpx2", {"httpx2"}),
        ("aiohttp", {"aiohttp"}),
    ],
)
def test_make_engine_name_imports_only_its_library(name: str, loaded: set[str]) -> None:
    source = (
        "import sys; from paystar_async.transport.factory import make_engine; "
        f"make_engine({name!r}, 4); print(*({{'httpx', 'httpx2', 'httptools', 'aiohttp'}} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)

    assert set(process.stdout.split()) == loaded
