"""The pytest plugin: a sandbox and a client of it for every test that names them, and no way to the real service.

Installed with the package (``paystar-async[testing]``); nothing is imported before a fixture asks for it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from paystar_async.client import Paystar
    from paystar_async.sandbox import Sandbox
    from paystar_async.sandbox.clock import SandboxClock
    from paystar_async.transport.choose import GivenEngine
    from paystar_async.transport.engine import Engine, Headers
    from paystar_async.values.secret import Secret

_OFFLINE = "paystar_offline"


@pytest.fixture
def paystar_clock() -> "SandboxClock":
    """The clock of ``paystar_sandbox`` and ``paystar``: it runs, and ``advance(seconds)`` puts it forward.

    Keys expire, transfers settle and orders run out by it; whoever sleeps on it wakes when it is put forward.
    """
    from paystar_async.sandbox.clock import SandboxClock

    return SandboxClock()


@pytest.fixture
def paystar_sandbox(paystar_clock: "SandboxClock", paystar_offline: None) -> "Sandbox":  # noqa: ARG001 - it guards
    """A Paystar in this process, new for each test: ``.fail(...)``, ``.pay(url)``, ``.ledger``, ``.set_balance(...)``.

    Transfers are decided at once; set ``settings.settle_seconds`` for a bank that takes its time.
    """
    from paystar_async.sandbox import Sandbox

    sandbox = Sandbox(clock=paystar_clock)
    sandbox.settings.settle_seconds = 0
    return sandbox


@pytest.fixture
def paystar(
    paystar_sandbox: "Sandbox", paystar_clock: "SandboxClock", tmp_path: "Path", request: pytest.FixtureRequest
) -> Iterator["Paystar"]:
    """A client of ``paystar_sandbox``, with all three accounts and a database of its own; closed after the test.

    An ``async`` test closes it in its own event loop, whichever plugin runs it. A test that enters it elsewhere (an
    application in a test client's thread) leaves that to whoever entered it.
    """
    from paystar_async.client import Paystar
    from paystar_async.storage.sqlite import SqliteDatabase

    database = SqliteDatabase(tmp_path / "paystar.db", clock=paystar_clock)
    client = Paystar(
        application=paystar_sandbox.application,
        gateway=paystar_sandbox.gateway,
        wallet=paystar_sandbox.wallet,
        engine=paystar_sandbox.engine(),
        database=database,
        clock=paystar_clock,
    )
    test, original = request.node, getattr(request.node, "obj", None)
    if iscoroutinefunction(original):
        test.obj = _closing(original, client)
    yield client
    test.obj = original
    _run(database.aclose)


@pytest.fixture
def paystar_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a test has this, no client reaches beyond this machine, unless the test gave it an engine.

    ``@pytest.mark.paystar_offline`` asks for it without an argument, and ``paystar_offline = true`` in pytest's
    settings for every test.
    """
    from paystar_async import client
    from paystar_async.transport.choose import make_engine

    def make(given: "GivenEngine", connections: int, proxy: "Secret | None" = None) -> "Engine":
        engine = make_engine(given, connections, proxy)
        return _OnThisMachine(engine) if isinstance(given, str) else engine

    monkeypatch.setattr(client, "make_engine", make)


class _OnThisMachine:
    """An engine that goes nowhere else.

    Args:
        engine: what carries the rest.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.fences = engine.fences

    async def send(
        self,
        method: str,
        url: str,
        headers: "Headers",
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request, if it stays on this machine; see ``transport.engine.Engine``."""
        from paystar_async.errors import ConfigurationError
        from paystar_async.settings import LOOPBACK

        host = urlsplit(url).hostname
        if host not in LOOPBACK:
            raise ConfigurationError(
                f"a test would have called {host}; nothing was sent",
                hint="use the fixture paystar, or give your client engine=paystar_sandbox.engine()",
            )
        return await self._engine.send(method, url, headers, body, timeout, before_send)

    async def aclose(self) -> None:
        """Close what carries the rest."""
        await self._engine.aclose()


def _closing(test: Callable[..., Awaitable[Any]], client: "Paystar") -> Callable[..., Awaitable[Any]]:
    @wraps(test)
    async def closing(*args: Any, **kwargs: Any) -> Any:
        async with client:
            return await test(*args, **kwargs)

    return closing


def _run(finish: Callable[[], Awaitable[None]]) -> None:
    """Run it in a loop of its own, which is made no thread's current one: that belongs to the asyncio plugin."""
    import asyncio

    async def finished() -> None:
        await finish()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(finished())
    finally:
        loop.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``paystar_offline``."""
    parser.addini(_OFFLINE, "no Paystar client of a test reaches beyond this machine", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker ``paystar_offline``."""
    config.addinivalue_line("markers", f"{_OFFLINE}: no Paystar client of this test reaches beyond this machine")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Guard the tests that ask for it."""
    if isinstance(item, pytest.Function) and (item.config.getini(_OFFLINE) or item.get_closest_marker(_OFFLINE)):
        item.fixturenames.insert(0, _OFFLINE)
