"""Events for ``on_event``, and the log level of PAYSTAR_LOG."""

import os
import subprocess
import sys

import pytest

from paystar_async.runtime.events import Event
from tests.support import Engine, KeyServer, QuickClock, client


async def test_on_event_that_raises_is_logged_and_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []

    def broken(event: Event) -> None:
        events.append(event)
        raise RuntimeError("no room for a metric")

    clock = QuickClock()
    server = KeyServer(clock)
    server.keys.clear()

    assert (await client(Engine(server), clock=clock, on_event=broken).wallet.balance()).total_amount == 1

    assert [event.name for event in events] == ["key_refreshed"]
    assert "on_event raised on key_refreshed; the call goes on" in caplog.text


PROGRAM = """
import logging, sys
from paystar_async import Paystar
Paystar.from_env()
Paystar.from_env()
{configure}
logging.getLogger("paystar_async").info("seen")
logging.getLogger("another").info("not seen")
"""


@pytest.mark.parametrize(
    ("level", "configure", "line"),
    [
        ("info", "", " INFO paystar_async: seen\n"),
        ("Debug\n", "", " INFO paystar_async: seen\n"),
        ("info", "logging.basicConfig(format='configured: %(message)s')", "configured: seen\n"),
        ("warning", "logging.basicConfig()", ""),
        ("", "", ""),
    ],
)
def test_log_level_of_environment_writes_to_stderr_once(level: str, configure: str, line: str) -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(configure=configure)],
        env={**os.environ, "PAYSTAR_LOG": level},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stderr.endswith(line)
    assert process.stderr.count("\n") == line.count("\n")
