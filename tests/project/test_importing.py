"""Import cost: the modules that a fresh process loads for an import or a call."""

import subprocess
import sys

import pytest

HEAVY = {
    "httpx",
    "httpcore",
    "h11",
    "cattrs",
    "sqlite3",
    "cyclopts",
    "rich",
    "starlette",
    "uvicorn",
    "jinja2",
}
"""Modules that a service which only stores and queues values never needs."""
LAZY_PACKAGES = {"sandbox", "cli", "describe", "contrib", "testing", "payouts"}


def loaded_modules(code: str) -> set[str]:
    """Return the modules that a fresh process has loaded after ``code``."""
    printing = "\nimport sys; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code + printing], capture_output=True, text=True, check=True)
    return set(process.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import paystar_async",
        "from paystar_async import Paystar, Application, Transfer, Callback, Rial, new_track_id",
        "import paystar_async as p; p.Paystar(p.Application(id='1', access_password='x'), checks='strict')",
    ],
    ids=["the package", "its names", "a client"],
)
def test_import_loads_no_heavy_module(code: str) -> None:
    names = loaded_modules(code) - loaded_modules("pass")  # coverage is loaded before any code

    assert not names & HEAVY
    assert not names & {f"paystar_async.{package}" for package in LAZY_PACKAGES}
    assert not names & {
        "paystar_async.payments.service",
        "paystar_async.transport.decoder",
        "paystar_async.transport.httpx",
    }


def test_import_of_package_loads_only_its_version() -> None:
    bare = loaded_modules("import importlib, typing")

    assert {name for name in loaded_modules("import paystar_async") - bare if not name.startswith("_")} <= {
        "paystar_async",
        "paystar_async._version",
    }


def test_call_with_custom_engine_loads_no_httpx() -> None:
    code = """
import asyncio, paystar_async as p

class Engine:
    supports_before_send = False

    async def send(self, *_):
        return 200, {}, b'{"status": 1, "data": {"is_matched": true}}'

    async def aclose(self): ...

async def call():
    async with p.Paystar(p.Application(id='1', access_password='x', api_key='k'), engine=Engine()) as paystar:
        assert (await paystar.identity.match_mobile(national_id='0012345679', mobile_number='09121234567')).is_matched

asyncio.run(call())
"""
    names = loaded_modules(code)

    assert "paystar_async.transport.decoder" in names
    assert not names & {"httpx", "httpcore", "h11"}


_LOSE_RESPONSE = """
import asyncio, os, httpx
from paystar_async import Paystar
from paystar_async.errors import NoResponse

async def main():
    controls = os.environ["PAYSTAR_BASE_URL"].replace("/api", "/_sandbox/")
    fault = {"endpoint": "gateway.create", "kind": "reset_after"}
    httpx.post(controls + "faults", json=fault).raise_for_status()
    async with Paystar.from_env() as paystar:
        try:
            await paystar.gateway.create(amount=50_000, order_id="o", callback="http://localhost/")
        except NoResponse as error:
            print(error.executed)

asyncio.run(main())
"""


def test_command_line_works_without_docstrings() -> None:
    """``PYTHONOPTIMIZE=2``, as some images set it, removes them."""
    python = (sys.executable, "-OOB")
    command = (*python, "-m", "paystar_async", "sandbox", "--", *python, "-c", _LOSE_RESPONSE)
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (process.returncode, process.stdout) == (0, "maybe\n"), process.stderr
