"""Processes killed while they confirm: every order is verified once, and every payment is notified."""

import json
import random
import subprocess
import sys
from pathlib import Path

from paystar_async import Gateway, Paystar
from paystar_async.payments import Payment
from paystar_async.payments.models import OrderStatus
from paystar_async.runtime.clock import ManualClock
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payments.shop import AMOUNT, CALLBACK_URL, token_of

ORDERS = 30
KILLED_AFTER = [1, 4, 8]
"""Notifications after which each process is killed."""


async def test_confirm_in_killed_processes_verifies_once(tmp_path: Path) -> None:
    sandbox, notified, orders = Sandbox(), tmp_path / "notified", tmp_path / "paystar.db"
    notified.touch()
    sign_key = sandbox.gateway.sign_key
    assert sign_key is not None
    account = Gateway(id=sandbox.gateway.id, sign_key=sign_key)
    async with Paystar(gateway=account, engine=sandbox.engine(), database=orders) as paystar:
        pages = [
            await paystar.payments.start(amount=AMOUNT, order_id=f"o-{n}", callback=CALLBACK_URL) for n in range(ORDERS)
        ]
    callbacks = json.dumps([sandbox.pay(token_of(page)) for page in pages])

    def start_worker(number: int) -> "subprocess.Popen[str]":
        arguments = [base_url, account.id.reveal(), sign_key.reveal(), str(orders), str(notified), f"{number}"]
        command = [sys.executable, "-m", "tests.payments.confirm_worker", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(callbacks)
        process.stdin.close()
        return process

    def read_line(process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    with running(sandbox) as base_url:
        for number, count in enumerate(KILLED_AFTER):
            with start_worker(number) as dying, start_worker(number + 100) as other:
                assert (read_line(dying), read_line(other)) == ("ready", "ready")
                for _ in range(count):
                    read_line(dying)
                dying.kill()
                if random.Random(number).random() < 0.5:
                    other.kill()
        with start_worker(200) as last:
            assert last.stdout is not None
            assert last.stdout.read().splitlines()[-1] == "done"

    # The next sweep repeats the notifications of a killed process once its lease has expired.
    clock = ManualClock()
    clock.jump(2_000_000_000 - clock.time())
    notified_later: list[Payment] = []
    async with Paystar(
        gateway=account, engine=sandbox.engine(), database=SqliteDatabase(orders, clock=clock)
    ) as paystar:
        paystar.payments.on_verified(notified_later.append)
        await paystar.payments.sweep()
        orders_after = [await paystar.payments.find(order_id=f"o-{n}") for n in range(ORDERS)]

    assert [order and order.state for order in orders_after] == [OrderStatus.VERIFIED] * ORDERS
    ids = {f"{page.order_id}:{page.ref_num}" for page in pages}
    assert {*notified.read_text().splitlines(), *(payment.id for payment in notified_later)} == ids
