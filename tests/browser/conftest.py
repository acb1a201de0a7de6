"""Three real processes: the sandbox, the shop and the browser."""

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
"""Milliseconds; only a test that fails waits so long, and many run beside it."""
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser with a new profile; a module's own, since it keeps an event loop running in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """Somebody's windows, in which nothing may go wrong unseen."""
    yield from _watched(chromium.new_context(locale="en-US"))


@pytest.fixture
def scriptless(chromium: Browser) -> Iterator[BrowserContext]:
    """The same, where no script runs."""
    yield from _watched(chromium.new_context(locale="en-US", java_script_enabled=False))


def _watched(context: BrowserContext) -> Iterator[BrowserContext]:
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    yield context
    context.close()
    assert not wrong


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A window."""
    return context.new_page()


@frozen
class SandboxProcess:
    """``paystar sandbox``, running."""

    home: str
    environment: dict[str, str]

    @property
    def dashboard(self) -> str:
        return f"{self.home}/_sandbox/?lang=en"

    def told(self, control: str) -> Any:
        """What a control answers."""
        return httpx.get(f"{self.home}/_sandbox/{control}", trust_env=False).json()

    def tell(self, control: str, **wish: object) -> Any:
        """Have a control do something."""
        answer = httpx.post(f"{self.home}/_sandbox/{control}", json=wish or None, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    command = [sys.executable, "-m", "paystar_async", "sandbox", "--port", "0", "--seed", "11"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        guard = Guard(process.pid)
        process.stdout.readline()
        environment: dict[str, str] = {}
        for _ in range(14):
            name, _, value = shlex.split(process.stdout.readline())[1].partition("=")
            environment[name] = value
        yield SandboxProcess(environment["PAYSTAR_BASE_URL"].removesuffix("/api"), environment)
        guard.leave()
        process.terminate()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    """The sandbox, in which nothing goes wrong."""
    sandbox_process.tell("faults", clear=True)
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
    """A shop whose payers come back by GET."""
    with _shop(sandbox_process, tmp_path_factory.mktemp("shop"), 1) as address:
        yield address


@pytest.fixture(scope="session")
def posting_shop(sandbox_process: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A shop whose payers come back by POST."""
    with _shop(sandbox_process, tmp_path_factory.mktemp("shop"), 2) as address:
        yield address
