"""The Flask shop as its users run it: gunicorn with prefork workers, with and without threads and ``--preload``."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.examples.test_django_shop import wait_for_thread
from tests.examples.web_server import (
    GUNICORN,
    WAIT_SECONDS,
    Shop,
    buy,
    come_back,
    kill_during_confirm,
    order_page,
    server,
    shop_environment,
)
from tests.project.guides import DOCS, read_guide
from tests.servers import Guard

APP = (*GUNICORN, "tests.examples.flask_shop:app")
THREADS = (*APP, "--worker-class", "gthread", "--threads", "8")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with shop_environment(tmp_path / "paystar.db") as shop:
        shop.environment["SHOP_DELIVERIES"] = str(tmp_path / "deliveries")
        yield shop


@pytest.mark.parametrize("method", ["1", "2"], ids=["GET", "POST"])
def test_flask_shop_delivers_what_is_paid(shop: Shop, method: str) -> None:
    shop.environment["SHOP_CALLBACK_METHOD"] = method
    with server(shop, *APP) as (browser, _):
        assert order_page(browser, come_back(browser, shop, buy(browser))) == "verified, delivered 1"
        assert order_page(browser, come_back(browser, shop, buy(browser), "cancel")) == "cancelled, delivered 0"
        assert browser.get("/pay/callback?status=1").status_code == 400
        assert browser.post("/pay/callback", content=b"a" * 20_000, headers=FORM).status_code == 413


FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_flask_shop_call_before_fork_leaves_workers_usable(shop: Shop) -> None:
    shop.environment["SHOP_CALL_BEFORE_FORK"] = "1"
    with server(shop, *THREADS, "--preload") as (browser, _):
        for _ in range(4):
            assert order_page(browser, come_back(browser, shop, buy(browser))) == "verified, delivered 1"
    assert shop.sandbox.request_counts["wallet.balance"] == 1


def test_flask_shop_concurrent_payers_are_delivered_once(shop: Shop) -> None:
    pages: list[str] = []

    def visit(browser: httpx.Client) -> None:
        page = buy(browser)
        callback = shop.sandbox.return_payer(page)
        responses = [browser.get("/pay/callback", params=dict(callback.fields)) for _ in range(2)]
        pages.extend(order_page(browser, response) for response in responses)

    with server(shop, *THREADS) as (browser, _):
        payers = [threading.Thread(target=visit, args=(browser,)) for _ in range(12)]
        for payer in payers:
            payer.start()
        for payer in payers:
            payer.join()
    assert pages == ["verified, delivered 1"] * 24


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_flask_shop_worker_killed_during_confirm_delivers(shop: Shop) -> None:
    with server(shop, *APP) as (browser, process):
        fields = kill_during_confirm(shop, browser, process)
        again = browser.get("/pay/callback", params=fields)  # the payer reloads the page
        assert order_page(browser, again) == "verified, delivered 1"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_flask_guide_sweeper_ends_by_interrupt(shop: Shop, tmp_path: Path) -> None:
    for block in read_guide(DOCS / "flask.md").blocks:
        if block.file:
            (tmp_path / block.file).write_text(block.source, encoding="utf-8")
    environment = {**shop.environment, "PYTHONPATH": str(DOCS.parents[1])}
    command = [sys.executable, "-W", "error", "sweep.py"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE) as process:
        try:
            guard = Guard(process.pid)
            wait_for_thread(process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=WAIT_SECONDS)
            guard.stop()
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, b"")
