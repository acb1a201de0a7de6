"""A sandbox on one host and a shop on another, in network namespaces; run as the router between them.

The arguments are a folder for the results, and the command line of ``paystar`` on the host of the sandbox.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from paystar_async import Callback, Gateway, Paystar
from paystar_async.errors import ConfigurationError
from tests.soak.network import Network, end_with_parent
from tests.support import environment_without_paystar

SECONDS = 60.0


async def shop(database: str) -> None:
    """Take a payment from the environment's Paystar, whose payer chooses with ``trigger``."""
    async with Paystar.from_env(database=database) as client:
        started = await client.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        trigger = [sys.executable, "-m", "paystar_async", "sandbox", "trigger", "payment-paid", "--no-callback"]
        paid = await asyncio.to_thread(subprocess.run, trigger, check=True, capture_output=True)
        payment = await client.payments.confirm(Callback.parse(json.loads(paid.stdout)["callback"]["fields"]))
        sys.stdout.write(f"payment {type(payment.outcome).__name__} at http://{urlsplit(started.url).netloc}\n")
        sys.stdout.write(f"wallet {(await client.wallet.balance()).total_amount}\n")
    try:
        Paystar.from_env(gateway=Gateway(id="real-canary", sign_key="real-canary"))
    except ConfigurationError as error:
        sys.stdout.write(f"refused {str(error).partition(' – ')[0]}\n")


def run_router(folder: Path, command: Sequence[str]) -> None:
    """Start the sandbox, wait for its variables, and run the shop and ``paystar sandbox logs``."""
    end_with_parent()
    network = Network(["paystar", "shop"], folder / "hosts", "shop")
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{network.address('paystar')} paystar\n")
    env_file = folder / "sandbox.env"
    paystar = [sys.executable, "-m", "paystar_async"]
    options: dict[str, object] = {"env": environment_without_paystar(), "stdout": subprocess.PIPE}
    with network.start("paystar", [*paystar, *command, "--env-file", str(env_file)], **options) as sandbox:
        assert sandbox.stdout is not None
        sandbox.stdout.readline()  # listening
        variables = [line for line in env_file.read_text().splitlines() if line.startswith("PAYSTAR_")]
        for file, arguments in (
            ("shop.txt", [sys.executable, "-m", "tests.sandbox.two_hosts", "shop", str(folder / "paystar.db")]),
            ("logs.txt", [*paystar, "sandbox", "logs", "--no-follow"]),
        ):
            with (folder / file).open("w") as output:
                network.run("shop", ["env", *variables, *arguments], SECONDS, output)
        sandbox.terminate()


if __name__ == "__main__":
    if sys.argv[1] == "shop":
        asyncio.run(shop(sys.argv[2]))
    else:
        run_router(Path(sys.argv[1]), sys.argv[2:])
