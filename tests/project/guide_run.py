"""Run the examples of a guide against a sandbox, as ``test_docs`` describes."""

import ast
import asyncio
import inspect
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from starlette.applications import Starlette
from starlette.routing import Route

from paystar_async import Paystar
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.sandbox.server import running
from tests.contrib.browsing import browsing, paid
from tests.project.guides import Block
from tests.support import delete_paystar_variables


@contextmanager
def sandbox_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[Sandbox]:
    """Serve a sandbox, lead the environment to it as the lines of ``paystar sandbox`` do, and enter an empty folder."""
    delete_paystar_variables(monkeypatch)
    folder = tmp_path / "guide"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)  # pyright: ignore[reportUnknownMemberType]
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    with running(sandbox) as base_url:
        for name, value in client_environment(sandbox, base_url, str(tmp_path / "paystar.db")):
            monkeypatch.setenv(name, value)
        yield sandbox


class GuideRun:
    """A guide's namespace and event loop; runs the blocks in order.

    Args:
        path: the guide, for tracebacks.
        module: the module whose namespace the blocks share.
        sandbox: the sandbox behind the environment.
    """

    def __init__(self, path: Path, module: ModuleType, sandbox: Sandbox) -> None:
        self._path, self._sandbox = path, sandbox
        self._names = vars(module)
        self._names["sandbox"] = sandbox
        self._runner = asyncio.Runner()
        self._apps: list[Starlette | web.Application] = []

    def run(self, block: Block, printed: str) -> None:
        """Run a block; ``printed`` is what the block before it printed."""
        self._names["printed"] = printed
        code = compile_block(block, self._path)
        if code.co_flags & inspect.CO_COROUTINE:
            self._runner.run(eval(code, self._names))
        else:
            exec(code, self._names)
        app = self._names.get("app")
        if isinstance(app, Starlette | web.Application) and app not in self._apps:
            self._apps.append(app)

    def close(self) -> None:
        """Visit the applications, and close the clients that are still open."""
        for app in self._apps:
            if isinstance(app, Starlette):
                asyncio.run(visit_asgi_app(app, self._sandbox))
            else:
                asyncio.run(visit_aiohttp_app(app, self._sandbox))
        for client in [value for value in self._names.values() if isinstance(value, Paystar)]:
            self._runner.run(client.aclose())
        self._runner.close()


def compile_block(block: Block, path: Path) -> Any:
    """Compile a block so that tracebacks name the lines of the guide."""
    tree = ast.parse("\n" * block.line + block.source, str(path))
    return compile(tree, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


async def visit_asgi_app(app: Starlette, sandbox: Sandbox) -> None:
    """Start an application; buy, pay and come back, if it sells something; stop it."""
    async with browsing(app) as browser:
        routes = [route for route in app.routes if isinstance(route, Route) and route.path == "/buy"]
        if routes:
            method = "POST" if "POST" in (routes[0].methods or ()) else "GET"
            fields = paid(sandbox, (await browser.request(method, "/buy")).headers["location"])
            response = await browser.get(app.url_path_for("paystar_callback"), params=fields)
            assert response.status_code in (200, 303), response.text


async def visit_aiohttp_app(app: web.Application, sandbox: Sandbox) -> None:
    """Start an application; buy, pay and come back, if it sells something; stop it."""
    async with TestClient(TestServer(app)) as browser:
        if any(resource.canonical == "/buy" for resource in app.router.resources()):
            page = await browser.post("/buy", allow_redirects=False)
            fields = paid(sandbox, page.headers["location"])
            callback = app.router["paystar_callback"].url_for()
            response = await browser.get(callback, params=fields, allow_redirects=False)
            assert response.status in (200, 303), await response.text()
