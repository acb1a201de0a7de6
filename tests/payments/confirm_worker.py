"""A worker process of a shop that confirms callbacks in random order.

``python -m tests.payments.confirm_worker BASE_URL GATEWAY_ID SIGN_KEY DATABASE NOTIFIED SEED`` reads callbacks as JSON
from stdin, and prints when it is ready, the ids of the payments it was notified of, and when it is done.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from paystar_async import Callback, Gateway, Paystar
from paystar_async.payments import Payment, Verified


def append_line(file_path: Path, payment_id: str) -> None:
    with file_path.open("a") as file:
        file.write(f"{payment_id}\n")


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(base_url: str, gateway: str, sign_key: str, database: str, notified: str, seed: str) -> None:
    callbacks = [Callback.parse(callback) for callback in json.load(sys.stdin)]
    random.Random(seed).shuffle(callbacks)
    async with Paystar(
        gateway=Gateway(id=gateway, sign_key=sign_key), base_url=base_url, database=database, max_retries=0
    ) as paystar:

        @paystar.payments.on_verified
        async def fulfil(payment: Payment) -> None:
            await asyncio.sleep(0.03)  # long enough for the process to be killed
            append_line(Path(notified), payment.id)
            print_line(payment.id)

        print_line("ready")
        payments = await asyncio.gather(*[paystar.payments.confirm(callback) for callback in callbacks])
        assert all(isinstance(payment.outcome, Verified) for payment in payments)
    print_line("done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
