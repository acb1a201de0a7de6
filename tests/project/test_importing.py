"""What an import loads, and what only its use does: told by the modules themselves, in a process of its own."""

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
"""What a service that only keeps and queues values never needs."""
ROOMS = {"sandbox", "cli", "describe", "contrib", "testing", "payouts"}


def loaded(code: str) -> set[str]:
    """The modules that a fresh process has loaded after some code."""
    printing = "\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + printing], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import paystar_async",
        "from paystar_async import Paystar, Application, Transfer, Callback, Rial, new_track_id",
        "import paystar_async as p; p.Paystar(p.Application(id='1', access_password='x'), checks='strict')",
    ],
    ids=["the package", "its names", "a client"],
)
def test_what_is_heavy_is_not_loaded_before_it_is_used(code: str) -> None:
    names = loaded(code) - loaded("pass")  # what measures the tests is loaded before anything

    assert not names & HEAVY
    assert not names & {f"paystar_async.{room}" for room in ROOMS}
    assert not names & {
        "paystar_async.payments.service",
        "paystar_async.transport.decoder",
        "paystar_async.transport.httpx",
    }


def test_the_package_alone_loads_next_to_nothing() -> None:
    bare = loaded("import importlib, typing")

    assert {name for name in loaded("import paystar_async") - bare if not name.startswith("_")} <= {
        "paystar_async",
        "paystar_async._version",
    }


def test_a_call_on_another_engine_needs_no_httpx() -> None:
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
    names = loaded(code)

    assert "paystar_async.transport.decoder" in names
    assert not names & {"httpx", "httpcore", "h11"}
