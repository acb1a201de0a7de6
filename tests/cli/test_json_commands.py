"""``--json`` of every command: stdout is one JSON value in the guide's shape, or empty, whatever happens."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cyclopts import App

from paystar_async.cli.app import make_app
from paystar_async.cli.demo import command as demo_command
from paystar_async.cli.demo.report import Report
from paystar_async.endpoint import Endpoint
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.table import TABLE
from tests.cli.conftest import CommandResult, Run
from tests.cli.demo.helpers import PASSED_REPORT
from tests.cli.helpers import start_orders
from tests.cli.test_json_output import SHAPES, check_shape
from tests.describe.endpoints import example_values
from tests.payouts.files import DEPOSIT, row, table, write_csv

WITHOUT_JSON = {"docs"}
CALLS = sorted(endpoint.id for endpoint in TABLE)

COMMANDS: dict[str, list[tuple[int, str]]] = {
    "payout run": [(2, "salaries.csv"), (0, "salaries.csv --yes"), (0, "salaries.csv --yes"), (2, "invalid.csv --yes")],
    "payout plan": [(0, "salaries.csv"), (0, "salaries.csv --ledger paystar.db"), (2, "invalid.csv"), (2, "none.csv")],
    "payout resolve": [(2, "t-1 --verdict failed --yes"), (2, "t-9 --verdict failed --yes"), (2, "t-1 --verdict odd")],
    "payout status": [(0, "salaries.csv"), (0, "salaries.csv --export out.csv"), (2, "missing.csv")],
    "payout review": [(0, "salaries.csv"), (2, "missing.csv")],
    "payout reconcile": [(0, "salaries.csv"), (0, "salaries.csv --window 0.01"), (2, "missing.csv")],
    "payout history": [(0, "t-1"), (2, "t-9")],
    "payout pause": [(0, ""), (0, f"--deposit {DEPOSIT}"), (1, "--ledger invalid.csv")],
    "payout resume": [(2, ""), (0, "--yes")],
    "payout list": [(0, ""), (0, "--ledger empty.db"), (2, "--limit 0")],
    "payments find": [(0, "o-1"), (2, "o-9")],
    "payments list": [(0, ""), (0, "--state expired"), (0, "--database empty.db"), (2, "--state odd")],
    "payments sweep": [(0, ""), (0, "")],
    "doctor": [(0, ""), (0, "--offline"), (0, "--refresh")],
    "conform": [(0, "--yes --interval 0"), (0, "--from paystar-shapes.jsonl"), (0, "--from invalid.csv"), (2, "")],
    "sandbox": [(2, "--set odd"), (2, "--env-file missing/file")],
    "sandbox logs": [(0, "--no-follow"), (2, "--no-follow --url http://127.0.0.1:1/api")],
    "sandbox trigger": [
        (0, "payment-paid o-2 --no-callback"),
        (1, "payment-cancelled o-3"),
        (0, "transfer-failed t-1"),
        (0, "key-expired"),
        (0, "key-expired wallet"),
        (2, "payment-paid o-9"),
        (2, "transfer-failed t-9"),
        (2, "key-expired odd"),
        (2, "odd"),
    ],
    "demo": [(0, ""), (2, "--transfers 0")],
}
"""The arguments of each command, with the exit status, in the order in which they are run."""


def leaves(app: App, path: Sequence[str] = ()) -> Iterator[tuple[str, App]]:
    """Yield each command that does something, with its name."""
    names = [name for name in app if not name.startswith("-")]
    if app.default_command is not None:
        yield " ".join(path), app
    for name in names:
        yield from leaves(app[name], (*path, name))


def parse_strictly(text: str) -> Any:
    """Return the one JSON value of a text; NaN, Infinity and a repeated key are refused."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)


def check_output(name: str, result: CommandResult) -> None:
    """Fail if stdout is something else than JSON in the guide's shape, or empty without a reason on stderr."""
    lines = result.out.splitlines() if name == "sandbox logs" else [result.out] if result.out else []
    for line in lines:
        value = parse_strictly(line)
        if name in SHAPES and name != "call":
            check_shape(value, SHAPES[name])
    assert lines or result.err.startswith("paystar: ") or "\npaystar: " in result.err, result


def test_every_command_has_json_option_and_shape() -> None:
    names = dict(leaves(make_app()))
    calls = {name for name in names if name.startswith("call ")}
    assert calls == {f"call {name.replace('.', ' ').replace('_', '-')}" for name in CALLS}
    assert names.keys() - calls == COMMANDS.keys() | WITHOUT_JSON
    assert SHAPES.keys() == COMMANDS.keys() | {"call"}
    for name, app in names.items():
        options = {option for argument in app.assemble_argument_collection() for option in argument.names}
        assert ("--json" in options) == (name not in WITHOUT_JSON), name


def test_every_command_prints_json_or_nothing(
    run: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def report(_: object) -> Report:
        return PASSED_REPORT

    monkeypatch.setattr(demo_command.Demo, "run", report)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAYSTAR_DATABASE", str(tmp_path / "paystar.db"))
    monkeypatch.setattr(sandbox.settings, "settle_seconds", 0.0)
    start_orders(sandbox, "o-1")
    start_orders(sandbox, "o-2", "o-3", paid=False)
    write_csv(tmp_path / "salaries.csv", table([row(number) for number in range(1, 4)]))
    write_csv(tmp_path / "invalid.csv", table([row(1, amount="1.5")]))
    for name, runs in COMMANDS.items():
        for status, arguments in runs:
            result = run(*name.split(), *arguments.split(), "--json")
            assert result.status == status, (name, arguments, result)
            assert status != 0 or result.out, (name, arguments, result)
            check_output(name, result)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)
def test_call_prints_json_or_nothing(endpoint: Endpoint, run: Run) -> None:
    options = [
        option
        for name, value in example_values(endpoint.request).items()
        for option in (f"--{name}", value if isinstance(value, str) else json.dumps(value))
    ]
    confirmed = ["--yes"] if endpoint.safety.name == "ONCE" else []
    shapes: list[tuple[str, ...]] = [(), ("--raw",)] if endpoint.kind != "page" else [()]
    for shape in shapes:
        result = run("call", *endpoint.id.split("."), *options, *confirmed, *shape, "--json")
        assert result.status in (0, 1), result
        check_output("call", result)
        if shape and result.out:
            check_shape(json.loads(result.out), SHAPES["call"])


@pytest.mark.usefixtures("interruptible")
def test_interrupted_command_prints_nothing(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.settings, "settle_seconds", 3600.0)
    file = write_csv(tmp_path / "salaries.csv", table([row(number) for number in range(1, 4)]))
    command = [sys.executable, "-m", "paystar_async", "payout", "run", str(file), "--yes", "--json"]
    ledger = ["--ledger", str(tmp_path / "paystar.db")]
    process = subprocess.Popen([*command, *ledger], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"3 transfers" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (b"", 130), err
    assert b"paystar: interrupted" in err


@pytest.mark.usefixtures("interruptible")
def test_sandbox_prints_address_and_variables() -> None:
    command = [sys.executable, "-m", "paystar_async", "sandbox", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        text += process.stdout.read()
    value = parse_strictly(text)
    check_shape(value, SHAPES["sandbox"])
    assert value["variables"].keys() >= {name for name, _ in client_environment(Sandbox(), value["base_url"])}
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api", value["base_url"])
    assert value["dashboard"] == value["base_url"].replace("/api", "/_sandbox/")
