"""Web servers with an example's shop, as their users run them, and a payer's browser."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from attrs import frozen

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.sandbox.server import running
from tests.servers import Guard
from tests.support import environment_without_paystar

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 30.0
"""Only a failing test waits so long."""
GUNICORN = ("gunicorn", "--bind", "fd://{fd}", "--workers", "2", "--log-level", "error")


@frozen
class Shop:
    """The environment of a shop, and its sandbox."""

    sandbox: Sandbox
    environment: dict[str, str]


@contextmanager
def shop_environment(database: Path | None = None) -> Generator[Shop, None, None]:
    """Serve a sandbox, and yield the environment of a process that calls it."""
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        environment = environment_without_paystar()
        environment |= dict(client_environment(sandbox, base_url, str(database) if database else None))
        yield Shop(sandbox, environment)


@contextmanager
def server(shop: Shop, *command: str) -> Generator[tuple[httpx.Client, subprocess.Popen[bytes]], None, None]:
    """Run a web server on a socket that it inherits; yield a browser and the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        arguments = [each.format(fd=listener.fileno()) for each in command]
        with subprocess.Popen(
            [sys.executable, "-m", *arguments], pass_fds=[listener.fileno()], cwd=ROOT, env=shop.environment
        ) as process:
            guard = Guard(process.pid)
            try:
                with httpx.Client(base_url=address, timeout=WAIT_SECONDS, trust_env=False) as browser:
                    yield browser, process
            finally:
                guard.stop()
                process.terminate()
                assert process.wait(WAIT_SECONDS) in (0, -signal.SIGTERM)


def buy(browser: httpx.Client, path: str = "/buy") -> str:
    """Press the button of the shop's page; return the address of the payment page."""
    token = re.search(r'value="(\w+)"', browser.get("/").text)  # Django's
    response = browser.post(path, data={"csrfmiddlewaretoken": token[1]} if token else {})
    assert response.status_code in (302, 303), response.text
    return response.headers["location"]


def come_back(browser: httpx.Client, shop: Shop, page: str, choice: str = "pay") -> httpx.Response:
    """Choose on the payment page, and send the callback to the shop."""
    callback = shop.sandbox.return_payer(page, choice)
    path = urlsplit(callback.url).path
    if callback.uses_get:
        return browser.get(path, params=dict(callback.fields))
    return browser.post(path, data=dict(callback.fields))


def order_page(browser: httpx.Client, response: httpx.Response) -> str:
    assert response.status_code == 303, response.text
    return browser.get(response.headers["location"]).text


def kill_during_confirm(shop: Shop, browser: httpx.Client, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Let a payer come back, and kill the workers while one of them waits for Paystar; return the callback's fields."""
    fields = dict(shop.sandbox.return_payer(buy(browser)).fields)
    shop.sandbox.fail("gateway.verify", "latency", seconds=2, times=1)  # executed, and its response delayed
    failed: list[Exception] = []

    def send() -> None:
        try:
            browser.get("/pay/callback", params=fields)
        except httpx.HTTPError as error:
            failed.append(error)

    payer = threading.Thread(target=send)
    payer.start()
    deadline = time.monotonic() + WAIT_SECONDS
    while not shop.sandbox.request_counts["gateway.verify"]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    for pid in children.split():
        os.kill(int(pid), signal.SIGKILL)
    payer.join()
    assert len(failed) == 1
    return fields
