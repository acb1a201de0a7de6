"""``paystar sandbox``: a simulated Paystar on a local port."""

import asyncio
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from paystar_async.cli.parameters import number_parameter, seconds_parameter, seed_parameter

_PORT = number_parameter(int, "a port from 0 to 65535", lambda port: 0 <= port <= 65_535, "the port; 0: a free port")


def sandbox(
    *,
    port: Annotated[int, _PORT] = 8000,
    allow_host: Annotated[
        str | None, Parameter(help="listen beyond loopback too, and accept this host name or address")
    ] = None,
    seed: Annotated[int, seed_parameter("the seed of credentials, people and random faults")] = 0,
    key_life: Annotated[float, seconds_parameter("seconds until a key expires")] = 86_400.0,
    setting: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative=(), help="NAME=VALUE, a setting such as failure_http=200; repeatable"),
    ] = (),
) -> int:
    """Serve a sandbox until Ctrl-C.

    The sandbox keeps balances, moves play money, checks every signature and shows a payment page. Copy the export lines
    it prints into another shell, and every client there uses the sandbox. Under /_sandbox/ are a dashboard for browsers
    and controls for programs.
    """
    from paystar_async.sandbox import Sandbox
    from paystar_async.sandbox.environment import client_environment
    from paystar_async.sandbox.server import serve
    from paystar_async.sandbox.settings import parse_setting

    served = Sandbox(seed=seed, key_life=key_life)
    served.settings.change(dict(map(parse_setting, setting)))

    def print_exports(port: int) -> None:
        root = f"http://127.0.0.1:{port}"
        variables = client_environment(served, f"{root}/api", str(Path(folder) / "paystar.db"))
        exports = [f"export {name}={shlex.quote(value)}" for name, value in variables]
        header = f"# a Paystar sandbox at {root}/api, its dashboard at {root}/_sandbox/ – Ctrl-C stops it"
        sys.stdout.write("\n".join((header, *exports, "")))
        sys.stdout.flush()

    host = "127.0.0.1" if allow_host is None else "0.0.0.0"  # noqa: S104 - requested with --allow-host
    # A ledger of payments that no sandbox knows any more would be wrong, so that file ends with the sandbox.
    with tempfile.TemporaryDirectory(prefix="paystar-sandbox-", ignore_cleanup_errors=True) as folder:
        asyncio.run(serve(served, port=port, host=host, allow_host=allow_host, ready=print_exports))
    return 0
