"""The Django shop as its users run it: gunicorn with prefork workers, uvicorn, and ``manage.py``."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.examples.web_server import (
    GUNICORN,
    ROOT,
    WAIT_SECONDS,
    Shop,
    buy,
    come_back,
    kill_during_confirm,
    order_page,
    server,
    shop_environment,
)
from tests.servers import Guard


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with shop_environment() as shop:
        shop.environment["DJANGO_SETTINGS_MODULE"] = "tests.examples.django_shop.settings"
        shop.environment["SHOP_DATABASE"] = str(tmp_path / "shop.sqlite3")
        if request.param == "postgresql":
            parts = conninfo_to_dict(request.getfixturevalue("postgres_schema"))
            variables = {"dbname": "DATABASE", "user": "USER", "host": "HOST", "options": "OPTIONS"}
            shop.environment.update({f"SHOP_PG{variables[name]}": str(parts[name]) for name in variables})
        manage(shop, "migrate", "--run-syncdb", "-v", "0")
        yield shop


def manage(shop: Shop, *arguments: str) -> str:
    """Run a command of ``manage.py``; return what it prints."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", *arguments],
        env=shop.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


WSGI = (*GUNICORN, "tests.examples.django_shop.wsgi")
THREADED = (*WSGI, "--preload", "--worker-class", "gthread", "--threads", "4")
ASGI = ("uvicorn", "--fd", "{fd}", "--log-level", "error", "tests.examples.django_shop.asgi:application")
SERVERS = {"wsgi": WSGI, "threads": THREADED, "asgi": ASGI}


@pytest.mark.parametrize(("name", "method"), [("wsgi", "1"), ("threads", "2"), ("asgi", "1"), ("asgi", "2")])
def test_django_shop_delivers_what_is_paid(shop: Shop, name: str, method: str) -> None:
    shop.environment["SHOP_CALLBACK_METHOD"] = method
    with server(shop, *SERVERS[name]) as (browser, _):
        for path in ("/buy", "/buy-async"):
            assert order_page(browser, come_back(browser, shop, buy(browser, path))) == "verified, delivered 1"
        cancelled = come_back(browser, shop, buy(browser), "cancel")
        assert order_page(browser, cancelled) == "cancelled, delivered 0"
        assert browser.get("/pay/callback?status=1").status_code == 400


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_django_shop_worker_killed_during_confirm_delivers(shop: Shop) -> None:
    with server(shop, *WSGI) as (browser, process):
        fields = kill_during_confirm(shop, browser, process)
        again = browser.get("/pay/callback", params=fields)  # the payer reloads the page
        assert order_page(browser, again) == "verified, delivered 1"


def test_django_commands_check_and_sweep(shop: Shop) -> None:
    assert "no issues" in manage(shop, "check")
    assert "gateway: ok" in (doctor := manage(shop, "paystar_doctor"))
    assert "order store: ok" in doctor
    assert manage(shop, "paystar_sweep") == ""


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_django_sweep_forever_ends_by_signal(shop: Shop, number: signal.Signals) -> None:
    command = [sys.executable, "-W", "error", "-m", "django", "paystar_sweep", "--forever", "--every", "0.05"]
    with subprocess.Popen(command, env=shop.environment, cwd=ROOT, stderr=subprocess.PIPE) as process:
        try:
            guard = Guard(process.pid)
            wait_for_thread(process)
            process.send_signal(number)
            assert process.wait(WAIT_SECONDS) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
            guard.stop()
        finally:
            process.kill()


def wait_for_thread(process: subprocess.Popen[Any]) -> None:
    """Wait until the process has its event loop thread, which begins after the handler of the signal is set."""
    tasks = Path(f"/proc/{process.pid}/task")
    deadline = time.monotonic() + WAIT_SECONDS
    while len(list(tasks.iterdir())) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
