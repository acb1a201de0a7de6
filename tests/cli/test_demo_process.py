"""``paystar demo`` as a process: it ends well, and it leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from paystar_async import Transfer
from paystar_async.cli.demo.batch import write

SAMPLE = Transfer(
    amount=50_000,
    deposit="0100000000",
    destination_account="IR570790000000850774361353",
    destination_firstname="Sara",
    destination_lastname="Ahmadi",
    track_id="demo-1",
)


def test_it_runs_as_a_process_and_leaves_none_behind() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "paystar_async", "demo", "--transfers", "3", "--faults", "0"],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    address = re.findall(r"http://(127.0.0.1):([0-9]+)/api", ended.stdout)[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])))


def test_ended_by_sigterm_it_gives_the_cursor_back_and_leaves_no_sandbox_behind() -> None:
    hidden, shown = b"\x1b[?25l", b"\x1b[?25h"
    command = [sys.executable, "-m", "paystar_async", "demo", "--transfers", "5000"]
    # Or it would take the output for no terminal, and draw nothing.
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        out = b""
        while hidden not in out:
            out += (read := os.read(process.stdout.fileno(), 65_536))
            assert read, out
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=20)
    out += rest
    assert process.returncode == 143
    assert (err.count(b"\n"), b"paystar: interrupted" in err) == (1, True)
    assert out.rindex(shown) > out.rindex(hidden)
    port = re.findall(rb"http://127.0.0.1:([0-9]+)/api", out)[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_a_worker_ends_with_the_demo_that_started_it(tmp_path: Path) -> None:
    write(tmp_path / "batch.csv", [SAMPLE])
    settings = {
        "application": {"id": "app", "access_password": "canary", "api_key": "canary-key"},
        "base_url": "http://127.0.0.1:9/api",  # nobody is there, so there is no end of it
        "ledger": str(tmp_path / "ledger.db"),
        "keys": str(tmp_path / "keys.db"),
        "concurrency": 4,
        "file": str(tmp_path / "batch.csv"),
    }
    command = [sys.executable, "-m", "paystar_async.cli.demo.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(settings).encode() + b"\n")
        worker.stdin.close()
        try:
            assert worker.wait(timeout=30) == 1
        finally:
            worker.kill()
