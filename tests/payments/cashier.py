"""A worker of a shop in a process of its own: confirms what it is given, in any order, until it is done or killed.

``python -m tests.payments.cashier BASE_URL GATEWAY_ID SIGN_KEY DATABASE TOLD SEED``; the callbacks come in as JSON.
It says when it is ready, which payments it was told of, and when it is done.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from paystar_async import Callback, Gateway, Paystar
from paystar_async.payments import Payment, Verified


def note(told: Path, payment_id: str) -> None:
    with told.open("a") as file:
        file.write(f"{payment_id}\n")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(base_url: str, gateway: str, sign_key: str, database: str, told: str, seed: str) -> None:
    callbacks = [Callback.parse(one) for one in json.load(sys.stdin)]
    random.Random(seed).shuffle(callbacks)
    async with Paystar(
        gateway=Gateway(id=gateway, sign_key=sign_key), base_url=base_url, database=database, max_retries=0
    ) as paystar:

        @paystar.payments.on_verified
        async def fulfil(payment: Payment) -> None:
            await asyncio.sleep(0.03)  # a shop takes its time, and may be killed meanwhile
            note(Path(told), payment.id)
            say(payment.id)

        say("ready")
        payments = await asyncio.gather(*[paystar.payments.confirm(one) for one in callbacks])
        assert all(isinstance(one.outcome, Verified) for one in payments)
    say("done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
