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
from paystar_async.table import BY_ID
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


@pytest.mark.parametrize(
    ("arguments", "host", "address"),
    [
        ((), "127.0.0.1", "127.0.0.1:1234"),
        (("--allow-host", "box.example"), "0.0.0.0", "box.example:1234"),
        (("--allow-host", "2001:db8::1"), "::", "[2001:db8::1]:1234"),
    ],
)
def test_sandbox_listens_beyond_loopback_only_with_host(
    arguments: tuple[str, ...], host: str, address: str, run: Run, monkeypatch: pytest.MonkeyPatch
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
    assert f"export PAYSTAR_BASE_URL={shlex.quote(f'http://{address}/api')}\n" in result.out
    assert ("PAYSTAR_DATABASE" in result.out) is (not arguments)  # a file of this host
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


def test_sandbox_env_file_is_written_for_containers(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def serve(_: Sandbox, *, ready: Callable[[int], None], **__: object) -> None:
        ready(1234)

    monkeypatch.setattr("paystar_async.sandbox.server.serve", serve)
    path = tmp_path / "sandbox.env"
    for seed in ("1", "2"):
        assert run("sandbox", "--env-file", str(path), "--allow-host", "box", "--seed", seed).status == 0
    comment, *lines = path.read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert comment.startswith("#")
    assert variables["PAYSTAR_BASE_URL"] == "http://box:1234/api"
    assert variables["PAYSTAR_APPLICATION_ID"] == Sandbox(seed=2).application.id
    assert not any(character in value for value in variables.values() for character in "\"' \\$")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["PAYSTAR_SIGN_KEY=real-canary\n", "", "\udcff"])
def test_sandbox_env_file_of_user_is_kept(content: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(content, errors="surrogateescape")
    result = run("sandbox", "--env-file", str(path), "--", sys.executable, "-c", "raise SystemExit(0)")
    assert (result.status, result.out) == (2, "")
    assert "exists, and paystar sandbox did not write it – name another file" in result.err
    assert path.read_text(errors="surrogateescape") == content


@pytest.mark.parametrize("path", ["none/sandbox.env", "."])
def test_sandbox_env_file_unwritable_is_refused(path: str, run: Run, tmp_path: Path) -> None:
    result = run("sandbox", "--port", "0", "--env-file", str(tmp_path / path))
    assert (result.status, result.out) == (2, "")
    assert "cannot be written" in result.err


def served_sandbox(run: Run, monkeypatch: pytest.MonkeyPatch, *options: str) -> Sandbox:
    """Return the sandbox that a command line would serve."""
    served: list[Sandbox] = []

    async def serve(sandbox: Sandbox, **_: Any) -> None:
        served.append(sandbox)

    monkeypatch.setattr("paystar_async.sandbox.server.serve", serve)
    assert run("sandbox", *options).status == 0
    return served[0]


def test_sandbox_assume_breaks_each_assumption(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = served_sandbox(run, monkeypatch, "--assume", "list-order=other", "--assume", "default-callback=other")
    assert len(sandbox.deviations) == 1
    assert sandbox.settings.default_callback_method == "POST"


@pytest.mark.parametrize("options", [("--assume", "list-order=x"), ("--shapes", "absent.jsonl")])
def test_sandbox_wrong_assumption_or_file_exits_2(options: tuple[str, ...], run: Run) -> None:
    assert run("sandbox", *options).status == 2


def test_sandbox_shapes_responds_in_recorded_shapes(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "shapes.jsonl"
    path.write_text(
        '{"endpoint":"gateway.inquiry","http":200,"status":-5,"sent":"none","facts":{},"shape":{"status":"int:1-4"}}\n'
    )
    sandbox = served_sandbox(run, monkeypatch, "--shapes", str(path))
    response = sandbox.handle(BY_ID["gateway.inquiry"], "wrong", {})
    assert response.http_status == 401
    gateway_id = sandbox.gateway.id.reveal()
    assert sandbox.handle(BY_ID["gateway.inquiry"], gateway_id, {"ref_num": "unknown"}).http_status == 200
