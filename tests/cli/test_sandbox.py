"""``paystar sandbox``: a server that prints credentials to copy."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run


@pytest.fixture
def process() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", "error", "-m", "paystar_async", "sandbox", "--port", "0", "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("interruptible")
def test_sandbox_exports_configure_client_and_sigint_stops(
    process: "subprocess.Popen[str]", run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    header, *lines = [process.stdout.readline() for _ in range(16)]
    assert "/_sandbox/" in header
    for line in lines:
        export, setting = shlex.split(line)
        name, _, value = setting.partition("=")
        assert export == "export"
        monkeypatch.setenv(name, value)
    assert os.environ["PAYSTAR_APPLICATION_ID"] == Sandbox(seed=7).application.id
    folder = Path(os.environ["PAYSTAR_DATABASE"]).parent
    assert folder.is_dir()
    assert run("doctor").status == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert process.stderr.read() == ""
    assert not folder.exists(), "a ledger must not outlive the sandbox that it is about"


@pytest.mark.parametrize(("arguments", "host"), [((), "127.0.0.1"), (("--allow-host", "box.example"), "0.0.0.0")])
def test_sandbox_listens_beyond_loopback_only_with_host(
    arguments: tuple[str, ...], host: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}

    async def serve(sandbox: Sandbox, *, ready: Callable[[int], None], **received: Any) -> None:
        options.update(received)
        sandbox.settings.gateway_signed = False
        ready(1234)

    monkeypatch.setattr("paystar_async.sandbox.server.serve", serve)
    result = run("sandbox", *arguments, "--key-life", "60")
    assert result.status == 0
    assert (options["host"], options["port"]) == (host, 8000)
    assert "export PAYSTAR_BASE_URL=http://127.0.0.1:1234/api\n" in result.out
    assert "PAYSTAR_SIGN_KEY" not in result.out


def test_sandbox_set_changes_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Sandbox] = []

    async def serve(sandbox: Sandbox, **_: object) -> None:
        served.append(sandbox)

    monkeypatch.setattr("paystar_async.sandbox.server.serve", serve)
    assert run("sandbox", "--set", "default_callback_method=POST", "--set", "payer_fee=5").status == 0
    assert served[0].settings.default_callback_method == "POST"
    assert served[0].settings.payer_fee == 5


@pytest.mark.parametrize("setting", ["payer_fee", "payer_fee=x", "nonsense=1", "default_callback_method=PUT"])
def test_sandbox_set_invalid_setting_is_refused(run: Run, setting: str) -> None:
    result = run("sandbox", "--set", setting)
    assert (result.status, result.out) == (2, "")
    assert setting.partition("=")[0] in result.err


def test_sandbox_port_in_use_is_refused(run: Run, sandbox: Sandbox) -> None:
    port = os.environ["PAYSTAR_BASE_URL"].rpartition(":")[2].partition("/")[0]
    result = run("sandbox", "--port", port)
    assert result.status == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use – use another port\n" in result.err


@pytest.mark.parametrize(
    "host", ["bad host", "", "http://box.example", "box.example:80", "box-", "box..example", "[::1]"]
)
def test_sandbox_invalid_host_is_refused(host: str, run: Run) -> None:
    result = run("sandbox", "--port", "0", "--allow-host", host)
    assert (result.status, result.out) == (2, "")
    assert "is not a valid host name" in result.err
    assert result.err.count("\n") == 1
