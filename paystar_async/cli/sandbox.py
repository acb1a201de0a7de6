"""``paystar sandbox``: a simulated Paystar on a local port, alone or for a command."""

import asyncio
import shlex
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from paystar_async.cli.child_process import run_command
from paystar_async.cli.console import print_json, print_note
from paystar_async.cli.parameters import number_parameter, seconds_parameter, seed_parameter
from paystar_async.cli.sandbox_control import logs, trigger
from paystar_async.errors import ConfigurationError

DEFAULT_PORT = 8000
_PORT = number_parameter(
    int,
    "a port from 0 to 65535",
    lambda port: 0 <= port <= 65_535,
    f"the port; 0: a free port. Default: {DEFAULT_PORT}, or a free port for a command",
)
_ENV_FILE_HEADER = "# Written by paystar sandbox; it is overwritten by the next."


def sandbox_app() -> App:
    """Return the command with its subcommands."""
    app = App(name="sandbox", help_format="markdown")
    app.default(sandbox)
    app.command(logs)
    app.command(trigger)
    return app


def sandbox(
    *command: Annotated[str, Parameter(help="behind --: a command to run with the sandbox; both end together")],
    port: Annotated[int | None, _PORT] = None,
    allow_host: Annotated[
        str | None,
        Parameter(help="listen beyond loopback too, and accept this host name or address, which clients then use"),
    ] = None,
    env_file: Annotated[
        Path | None, Parameter(help="write the variables into this file, as NAME=value lines for containers")
    ] = None,
    seed: Annotated[int, seed_parameter("the seed of credentials, people and random faults")] = 0,
    key_life: Annotated[float, seconds_parameter("seconds until a key expires")] = 86_400.0,
    setting: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative=(), help="NAME=VALUE, a setting such as failure_http=200; repeatable"),
    ] = (),
    assume: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="ID=other, an assumption of `paystar conform` that does not hold here; repeatable"),
    ] = (),
    shapes: Annotated[
        Path | None, Parameter(help="respond in the recorded shapes of this file, see `paystar conform`")
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", help="print the address and the variables as JSON, once it listens", negative=())
    ] = False,
) -> int:
    """Serve a sandbox until Ctrl-C, or while a command runs: `paystar sandbox -- pytest`.

    The sandbox keeps balances, moves play money, checks every signature and shows a payment page. Copy the export lines
    it prints into another shell, and every client there uses the sandbox. Under /_sandbox/ are a dashboard for browsers
    and controls for programs.

    A command gets these variables in its environment, in place of those of real accounts, and the signals that this
    process receives; its exit status is passed on.
    """
    from paystar_async.conform.recorder import read_observations
    from paystar_async.sandbox import Sandbox
    from paystar_async.sandbox.deviations import parse_assumption
    from paystar_async.sandbox.environment import client_environment, replaced_environment
    from paystar_async.sandbox.server import make_base_url, running, serve
    from paystar_async.sandbox.settings import parse_setting
    from paystar_async.sandbox.shapes import RecordedShapes

    served = Sandbox(seed=seed, key_life=key_life)
    served.settings.change(dict(map(parse_setting, setting)))
    for assumption in map(parse_assumption, assume):
        served.break_assumption(assumption)
    if shapes is not None:
        served.deviations.append(RecordedShapes(read_observations(shapes)[0]))
    if env_file is not None:
        _check_env_file(env_file)
    host = "127.0.0.1" if allow_host is None else "::" if ":" in allow_host else "0.0.0.0"  # noqa: S104 - requested

    def announce(base_url: str) -> None:
        dashboard = f"{base_url.removesuffix('/api')}/_sandbox/"
        # Another host has no such file.
        variables = list(client_environment(served, base_url, database if allow_host is None else None))
        if env_file is not None:
            _write_env_file(env_file, variables)
        text = f"a Paystar sandbox at {base_url}, its dashboard at {dashboard}"
        if command:
            print_note(text)
            return
        if as_json:
            print_json({"base_url": base_url, "dashboard": dashboard, "variables": dict(variables)})
            sys.stdout.flush()
            return
        exports = [f"export {name}={shlex.quote(value)}" for name, value in variables]
        sys.stdout.write("\n".join((f"# {text} – Ctrl-C stops it", *exports, "")))
        sys.stdout.flush()

    def on_listening(port: int) -> None:
        announce(make_base_url(port, allow_host))

    # A ledger of payments that no sandbox knows any more would be wrong, so that file ends with the sandbox.
    with tempfile.TemporaryDirectory(prefix="paystar-sandbox-", ignore_cleanup_errors=True) as folder:
        database = str(Path(folder) / "paystar.db")
        if not command:
            port = DEFAULT_PORT if port is None else port
            asyncio.run(serve(served, port=port, host=host, allow_host=allow_host, ready=on_listening))
            return 0
        with running(served, port=port or 0, host=host, allow_host=allow_host) as base_url:
            announce(base_url)
            return run_command(command, replaced_environment(served, base_url, database))


def _check_env_file(path: Path) -> None:
    """Raise ConfigurationError if a file exists that is not this command's: it may hold real credentials."""
    try:
        is_foreign = path.exists() and not path.read_text("utf-8", "replace").startswith(_ENV_FILE_HEADER)
    except OSError as error:
        raise _env_file_error(path, error) from None
    if not path.parent.is_dir():
        raise _env_file_error(path, NotADirectoryError("no such folder"))
    if is_foreign:
        raise ConfigurationError(f"{path} exists, and paystar sandbox did not write it", hint="name another file")


def _write_env_file(path: Path, variables: Iterable[tuple[str, str]]) -> None:
    # No quotes: container engines take them for a part of the value. Renamed, so that no reader sees half a file.
    lines = (_ENV_FILE_HEADER, *(f"{name}={value}" for name, value in variables))
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text("\n".join((*lines, "")), "utf-8")
        temporary.replace(path)
    except OSError as error:
        raise _env_file_error(path, error) from None


def _env_file_error(path: Path, error: OSError) -> ConfigurationError:
    reason = error.strerror or error
    return ConfigurationError(f"{path} cannot be written: {reason}", hint="name a file in a folder that exists")
