"""The pytest plugin: fixtures with a sandbox and its client, and a guard against calls to the real service.

Installed with the package (``paystar-async[testing]``); the package is imported when a test uses a fixture.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

try:
    import pytest
except ImportError:
    from paystar_async.errors import MissingExtra

    raise MissingExtra("paystar_async.testing", "testing") from None

if TYPE_CHECKING:
    from pathlib import Path

    from paystar_async.client import Paystar
    from paystar_async.sandbox import Sandbox
    from paystar_async.sandbox.clock import SandboxClock
    from paystar_async.sandbox.server import SwitchableApp
    from paystar_async.transport.engine import Engine, Headers
    from paystar_async.transport.factory import EngineOption
    from paystar_async.values.secret import Secret

    TestServer = tuple[SwitchableApp, str]

_OFFLINE = "paystar_offline"


@pytest.fixture
def paystar_clock() -> "SandboxClock":
    """Return the clock of ``paystar_sandbox`` and ``paystar``; ``advance(seconds)`` puts the running clock forward.

    Keys, transfers and orders follow this clock, and ``advance`` wakes the tasks that sleep on it.
    """
    from paystar_async.sandbox.clock import SandboxClock

    return SandboxClock()


@pytest.fixture
def paystar_sandbox(paystar_clock: "SandboxClock", paystar_offline: None) -> "Sandbox":  # noqa: ARG001 - the fixture is the guard
    """Return a new sandbox in this process: ``.fail(...)``, ``.pay(url)``, ``.ledger``, ``.set_balance(...)``.

    Transfers are settled at once; set ``settings.settle_seconds`` to delay settlement.
    """
    from paystar_async.sandbox import Sandbox

    sandbox = Sandbox(clock=paystar_clock)
    sandbox.settings.settle_seconds = 0
    return sandbox


@pytest.fixture
def paystar(
    paystar_sandbox: "Sandbox", paystar_clock: "SandboxClock", tmp_path: "Path", request: pytest.FixtureRequest
) -> Iterator["Paystar"]:
    """Yield a client of ``paystar_sandbox`` with all accounts and a new database; close the client after the test.

    An ``async`` test closes the client in its event loop, with any plugin that runs async tests. Code that enters the
    client in another event loop (an application in a test client's thread) must close the client itself.
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
    test_item, test_function = request.node, getattr(request.node, "obj", None)
    if iscoroutinefunction(test_function):
        test_item.obj = _close_after(test_function, client)
    yield client
    test_item.obj = test_function
    _run_in_new_loop(database.aclose)


@pytest.fixture(scope="session", name="_paystar_server")
def paystar_server() -> Iterator["TestServer"]:
    """Serve the sandboxes of ``paystar_env`` on a port of loopback, which is the same in all tests of a process."""
    from paystar_async.sandbox.server import SwitchableApp, running

    app = SwitchableApp()
    with running(app) as base_url:
        yield app, base_url


@pytest.fixture
def paystar_env(
    paystar_sandbox: "Sandbox",
    paystar_clock: "SandboxClock",
    _paystar_server: "TestServer",
    tmp_path: "Path",
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator["Sandbox"]:
    """Lead every client that is configured by the environment to ``paystar_sandbox``, and yield the sandbox.

    ``Paystar.from_env()`` in an application's lifespan, settings or worker then calls the sandbox, in any event loop,
    thread or process, and stores its orders and payouts in a new file. In this process it follows ``paystar_clock``.
    Variables and files with real credentials are not read, and Django's ``PAYSTAR`` keeps none either.
    A client that is created when a module is imported reads the environment at that moment: import such a module in
    the test, or create the client in the lifespan.
    """
    from paystar_async import config
    from paystar_async.sandbox.environment import replaced_environment

    app, base_url = _paystar_server
    environment = replaced_environment(paystar_sandbox, base_url, str(tmp_path / "paystar.db"))
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setitem(config.VARIABLES, "clock", lambda: paystar_clock)
    app.sandbox = paystar_sandbox
    with _django_settings():
        yield paystar_sandbox
    app.sandbox = None


@pytest.fixture
def paystar_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow clients to call this machine only, unless the test passes an engine to the client.

    ``@pytest.mark.paystar_offline`` applies the fixture to a test, and ``paystar_offline = true`` in pytest's
    configuration applies the fixture to every test.
    """
    from paystar_async.transport.factory import make_engine

    def make_offline_engine(choice: "EngineOption", connections: int, proxy: "Secret | None" = None) -> "Engine":
        engine = make_engine(choice, connections, proxy)
        return _LoopbackEngine(engine) if isinstance(choice, str) else engine

    monkeypatch.setattr("paystar_async.client.client.make_engine", make_offline_engine)


class _LoopbackEngine:
    """An engine that sends requests to this machine only.

    Args:
        engine: the engine that sends the requests.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self.supports_before_send = engine.supports_before_send

    async def send(
        self,
        method: str,
        url: str,
        headers: "Headers",
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request to this machine, or raise ConfigurationError; see ``transport.engine.Engine``."""
        from paystar_async.config import LOOPBACK
        from paystar_async.errors import ConfigurationError

        host = urlsplit(url).hostname
        if host not in LOOPBACK:
            raise ConfigurationError(
                f"a test would have called {host}; nothing was sent",
                hint="use the fixture paystar_env or paystar, or pass engine=paystar_sandbox.engine() to your client",
            )
        return await self._engine.send(method, url, headers, body, timeout, before_send)

    async def aclose(self) -> None:
        """Close the engine that sends the requests."""
        await self._engine.aclose()

    def abandon(self) -> None:
        """Close the engine's sockets without its event loop, which is closed."""
        abandon = getattr(self._engine, "abandon", None)
        if abandon is not None:
            abandon()


def _close_after(test: Callable[..., Awaitable[Any]], client: "Paystar") -> Callable[..., Awaitable[Any]]:
    @wraps(test)
    async def run_and_close(*args: Any, **kwargs: Any) -> Any:
        async with client:
            return await test(*args, **kwargs)

    return run_and_close


_ENVIRONMENT_OPTIONS = {"application", "gateway", "wallet", "base_url", "keys", "database", "crypto", "proxy"}


@contextmanager
def _django_settings() -> Generator[None]:
    """Let Django's client, which lives as long as the process, be created from the environment of now.

    The setting ``PAYSTAR`` would go before it, so accounts, addresses and stores are left out; Django's own database
    stays, since that is the one of the test.
    """
    if "django" not in sys.modules:
        yield
        return
    from django.conf import settings
    from django.test.utils import override_settings

    is_configured = settings.configured or "DJANGO_SETTINGS_MODULE" in os.environ
    options = getattr(settings, "PAYSTAR", {}) if is_configured else {}
    remaining = {
        name: value
        for name, value in options.items()
        if name not in _ENVIRONMENT_OPTIONS or (name == "database" and str(value).startswith("django:"))
    }
    with override_settings(PAYSTAR=remaining):
        yield


def _run_in_new_loop(function: Callable[[], Awaitable[None]]) -> None:
    """Run an async function in a new event loop; the thread's current loop belongs to the asyncio plugin."""
    import asyncio

    async def run() -> None:
        await function()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``paystar_offline``."""
    parser.addini(_OFFLINE, "Paystar clients in tests call this machine only", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker ``paystar_offline``."""
    config.addinivalue_line("markers", f"{_OFFLINE}: Paystar clients in this test call this machine only")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Apply the fixture ``paystar_offline`` to the tests that the marker or the setting selects."""
    if isinstance(item, pytest.Function) and (item.config.getini(_OFFLINE) or item.get_closest_marker(_OFFLINE)):
        item.fixturenames.insert(0, _OFFLINE)
