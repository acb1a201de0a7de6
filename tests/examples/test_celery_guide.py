"""The program of the Celery guide, in real workers of several pools, over a real Redis."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from paystar_async import Paystar
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.sandbox.server import running
from tests.project.guides import DOCS, read_guide
from tests.servers import RedisServer
from tests.support import transfer

POOLS = ("prefork", "threads", "gevent")
TASKS_PER_POOL = 8
TIMEOUT_SECONDS = 90
SENDER = f"""
import sys
from shop_tasks import wait_for_transfer

tasks = [wait_for_transfer.apply_async([track_id], queue=track_id.partition("-")[0]) for track_id in sys.argv[1:]]
results = [task.get(timeout={TIMEOUT_SECONDS}, propagate=False) for task in tasks]
print(*[result if isinstance(result, str) else type(result).__name__ for result in results])
"""


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    return sandbox


@pytest.fixture
def environment(sandbox: Sandbox, redis_server: RedisServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Serve the sandbox; yield the environment of the workers, whose working directory has the guide's program."""
    [program] = [block for block in read_guide(DOCS / "celery.md").blocks if block.file]
    (tmp_path / f"{program.file}").write_text(program.source, encoding="utf-8")
    broker = redis_server.url.replace("unix:", "redis+socket:") + "?virtual_host=0"
    with running(sandbox) as base_url:
        yield {
            **os.environ,
            **dict(client_environment(sandbox, base_url, str(tmp_path / "paystar.db"))),
            "PAYSTAR_KEYS": str(tmp_path / "keys.db"),
            "PYTHONPATH": f"{DOCS.parents[1]}{os.pathsep}{tmp_path}",
            "BROKER_URL": broker,
            "RESULT_URL": broker,
        }


async def send_transfers(sandbox: Sandbox, track_ids: list[str]) -> None:
    async with Paystar(sandbox.application, engine=sandbox.engine()) as paystar:
        await paystar.transfers.settle(transfers=[transfer(track_id) for track_id in track_ids])


def test_celery_guide_runs_under_real_pools(sandbox: Sandbox, environment: dict[str, str], tmp_path: Path) -> None:
    track_ids = [f"{pool}-{number}" for pool in POOLS for number in range(TASKS_PER_POOL)]
    asyncio.run(send_transfers(sandbox, track_ids))
    with ExitStack() as stack:
        workers = {pool: stack.enter_context(worker(pool, environment, tmp_path)) for pool in POOLS}
        sender = subprocess.run(
            [sys.executable, "-c", SENDER, *track_ids], env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
        for process in workers.values():
            process.send_signal(signal.SIGTERM)
        statuses = {pool: process.wait(TIMEOUT_SECONDS) for pool, process in workers.items()}

    expected = {"prefork": "Succeeded", "threads": "Succeeded", "gevent": "ConfigurationError"}
    assert sender.stdout.split() == [expected[track_id.partition("-")[0]] for track_id in track_ids]
    logs = {pool: (tmp_path / f"{pool}.log").read_text() for pool in POOLS}
    assert statuses == dict.fromkeys(POOLS, 0), logs
    assert not any("Traceback" in logs[pool] or "ResourceWarning" in logs[pool] for pool in ("prefork", "threads")), (
        logs
    )
    assert "needs threads, which gevent or eventlet has replaced" in logs["gevent"]


def worker(pool: str, environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "default::ResourceWarning", "-m", "celery", "-A", "shop_tasks", "worker"]
    command += ["--pool", pool, "--queues", pool, "--concurrency", "2", "--hostname", f"{pool}@%h"]
    command += ["--loglevel", "warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    with (folder / f"{pool}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
