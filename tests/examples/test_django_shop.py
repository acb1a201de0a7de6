"""The Django shop as its users run it: gunicorn with prefork workers, uvicorn, and ``manage.py``."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from attrs import frozen

from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.sandbox.server import running
from tests.servers import Guard

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 30.0
"""Only a failing test waits so long."""


@frozen
class Shop:
    """The shop's environment, and its sandbox."""

    sandbox: Sandbox
    environment: dict[str, str]

    def manage(self, *arguments: str, returncode: int = 0) -> str:
        """Run a command of ``manage.py``; return what it prints."""
        process = subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == returncode, process.stdout + process.stderr
        return process.stdout + process.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    sandbox = Sandbox()
    with running(sandbox) as base_url:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYSTAR_")}
        environment |= dict(client_environment(sandbox, base_url))
        environment["DJANGO_SETTINGS_MODULE"] = "tests.examples.django_shop.settings"
        environment["SHOP_DATABASE"] = str(tmp_path / "shop.sqlite3")
        shop = Shop(sandbox, environment)
        shop.manage("migrate", "--run-syncdb", "-v", "0")
        yield shop


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


GUNICORN = ("gunicorn", "--bind", "fd://{fd}", "--workers", "2", "--log-level", "error")
WSGI = (*GUNICORN, "tests.examples.django_shop.wsgi")
THREADED = (*WSGI, "--preload", "--worker-class", "gthread", "--threads", "4")
ASGI = ("uvicorn", "--fd", "{fd}", "--log-level", "error", "tests.examples.django_shop.asgi:application")
SERVERS = {"wsgi": WSGI, "threads": THREADED, "asgi": ASGI}


def buy(browser: httpx.Client, path: str = "/buy") -> str:
    """Press the button of the shop's page; return the address of the payment page."""
    token = re.search(r'value="(\w+)"', browser.get("/").text)
    assert token is not None
    response = browser.post(path, data={"csrfmiddlewaretoken": token[1]})
    assert response.status_code == 302, response.text
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


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("method", ["1", "2"], ids=["GET", "POST"])
def test_django_shop_delivers_what_is_paid(shop: Shop, name: str, method: str) -> None:
    shop.environment["SHOP_CALLBACK_METHOD"] = method
    with server(shop, *SERVERS[name]) as (browser, _):
        for path in ("/buy", "/buy-async"):
            assert order_page(browser, come_back(browser, shop, buy(browser, path))) == "verified, delivered 1"
        cancelled = come_back(browser, shop, buy(browser), "cancel")
        assert order_page(browser, cancelled) == "cancelled, delivered 0"
        assert browser.get("/pay/callback?status=1").status_code == 400


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_django_shop_worker_killed_during_confirm_delivers(shop: Shop) -> None:
    with server(shop, *WSGI) as (browser, process):
        page = buy(browser)
        callback = shop.sandbox.return_payer(page)
        shop.sandbox.fail("gateway.verify", "latency", seconds=2, times=1)  # executed, and its response delayed
        failed: list[Exception] = []

        def send() -> None:
            try:
                browser.get("/pay/callback", params=dict(callback.fields))
            except httpx.HTTPError as error:
                failed.append(error)

        payer = threading.Thread(target=send)
        payer.start()
        deadline = time.monotonic() + WAIT_SECONDS
        while not shop.sandbox.request_counts["gateway.verify"]:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        for pid in workers(process):
            os.kill(pid, signal.SIGKILL)
        payer.join()
        assert len(failed) == 1

        again = browser.get("/pay/callback", params=dict(callback.fields))  # the payer reloads the page
        assert order_page(browser, again) == "verified, delivered 1"


def test_django_commands_check_and_sweep(shop: Shop) -> None:
    assert "no issues" in shop.manage("check")
    assert "gateway: ok" in (doctor := shop.manage("paystar_doctor"))
    assert "order store: ok" in doctor
    assert shop.manage("paystar_sweep") == ""


def test_django_sweep_forever_ends_by_signal(shop: Shop) -> None:
    command = [sys.executable, "-W", "error", "-m", "django", "paystar_sweep", "--forever", "--every", "0.05"]
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(command, env=shop.environment, cwd=ROOT, stderr=subprocess.PIPE) as process:
            guard = Guard(process.pid)
            wait_for_thread(process)
            process.send_signal(number)
            assert process.wait(WAIT_SECONDS) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
            guard.stop()


def wait_for_thread(process: subprocess.Popen[Any]) -> None:
    """Wait until the process has its event loop thread and the database's, and so is sweeping."""
    tasks = Path(f"/proc/{process.pid}/task")
    deadline = time.monotonic() + WAIT_SECONDS
    while len(list(tasks.iterdir())) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
