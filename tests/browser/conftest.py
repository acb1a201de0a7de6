"""Fixtures: the sandbox, the shop and the browser, each in its own process."""

import os
import shlex
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import frozen
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.conftest import CHROMIUM
from tests.servers import Guard

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=30_000)
"""Milliseconds; only a failing test waits for the whole timeout, and many tests run in parallel."""
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start a browser with a new profile; one per module, since Playwright keeps a loop running in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Open a browser context that fails the test after an error on a page."""
    yield from _checked(chromium.new_context(locale="en-US"))


@pytest.fixture
def scriptless(chromium: Browser) -> Iterator[BrowserContext]:
    """Open a browser context without scripts."""
    yield from _checked(chromium.new_context(locale="en-US", java_script_enabled=False))


def _checked(context: BrowserContext) -> Iterator[BrowserContext]:
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on(
        "console",
        lambda message: errors.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield context
    context.close()
    assert not errors


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Open a browser page."""
    return context.new_page()


@frozen
class SandboxProcess:
    """A running ``paystar sandbox``."""

    home: str
    environment: dict[str, str]

    @property
    def dashboard(self) -> str:
        return f"{self.home}/_sandbox/?lang=en"

    def get(self, control: str) -> Any:
        """Return the response of a control."""
        return httpx.get(f"{self.home}/_sandbox/{control}", trust_env=False).json()

    def post(self, control: str, **fields: object) -> Any:
        """Call a control and return its response."""
        response = httpx.post(f"{self.home}/_sandbox/{control}", json=fields or None, trust_env=False)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    command = [sys.executable, "-m", "paystar_async", "sandbox", "--port", "0", "--seed", "11"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        guard = Guard(process.pid)
        process.stdout.readline()
        environment: dict[str, str] = {}
        for _ in range(15):
            name, _, value = shlex.split(process.stdout.readline())[1].partition("=")
            environment[name] = value
        yield SandboxProcess(environment["PAYSTAR_BASE_URL"].removesuffix("/api"), environment)
        guard.stop()
        process.terminate()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    """Return the sandbox without active faults."""
    sandbox_process.post("faults", clear=True)
    return sandbox_process


@contextmanager
def _shop(sandbox: SandboxProcess, directory: Path, callback_method: int) -> Generator[str]:
    environment = {
        **os.environ,
        **sandbox.environment,
        "PAYSTAR_DATABASE": str(directory / "shop.db"),
        "SHOP_CALLBACK_METHOD": str(callback_method),
    }
    command = [sys.executable, "-m", "tests.browser.shopkeeper"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="session")
def shop(sandbox_process: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a shop whose payers return by GET."""
    with _shop(sandbox_process, tmp_path_factory.mktemp("shop"), 1) as address:
        yield address


@pytest.fixture(scope="session")
def posting_shop(sandbox_process: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a shop whose payers return by POST."""
    with _shop(sandbox_process, tmp_path_factory.mktemp("shop"), 2) as address:
        yield address
