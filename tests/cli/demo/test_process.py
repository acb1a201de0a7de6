"""``paystar demo`` as a process: it leaves no child process behind."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest


def test_demo_process_stops_its_sandbox() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "paystar_async", "demo", "--transfers", "3", "--faults", "0"],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, ""), completed.stdout
    address = re.findall(r"http://(127.0.0.1):([0-9]+)/api", completed.stdout)[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])))


def test_demo_sigterm_restores_cursor_and_stops_sandbox() -> None:
    hide_cursor, show_cursor = b"\x1b[?25l", b"\x1b[?25h"
    command = [sys.executable, "-m", "paystar_async", "demo", "--transfers", "5000"]
    # Without these rich draws nothing, because the output is no terminal.
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        out = b""
        while hide_cursor not in out:
            chunk = os.read(process.stdout.fileno(), 65_536)
            assert chunk, out
            out += chunk
        process.send_signal(signal.SIGTERM)
        rest, err = process.communicate(timeout=20)
    out += rest
    assert process.returncode == 143
    assert (err.count(b"\n"), b"paystar: interrupted" in err) == (1, True)
    assert out.rindex(show_cursor) > out.rindex(hide_cursor)
    port = re.findall(rb"http://127.0.0.1:([0-9]+)/api", out)[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))
