"""Real processes, killed with -9 while they confirm: every order is verified once, and every one is told."""

import json
import random
import subprocess
import sys
from pathlib import Path

from paystar_async import Gateway, Paystar
from paystar_async.clock import ManualClock
from paystar_async.payments import Payment
from paystar_async.payments.models import OrderStatus
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payments.shop import AMOUNT, BACK, token_of

ORDERS = 30
KILLED_AFTER = [1, 4, 8]
"""How many orders a process has been told of when it is killed."""


async def test_processes_that_are_killed_while_they_confirm(tmp_path: Path) -> None:
    sandbox, told, orders = Sandbox(), tmp_path / "told", tmp_path / "paystar.db"
    told.touch()
    sign_key = sandbox.gateway.sign_key
    assert sign_key is not None
    account = Gateway(id=sandbox.gateway.id, sign_key=sign_key)
    async with Paystar(gateway=account, engine=sandbox.engine(), database=orders) as paystar:
        pages = [await paystar.payments.start(amount=AMOUNT, order_id=f"o-{n}", callback=BACK) for n in range(ORDERS)]
    callbacks = json.dumps([sandbox.pay(token_of(one)) for one in pages])

    def cashier(number: int) -> "subprocess.Popen[str]":
        given = [base_url, account.id.reveal(), sign_key.reveal(), str(orders), str(told), f"{number}"]
        command = [sys.executable, "-m", "tests.payments.cashier", *given]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        process.stdin.write(callbacks)
        process.stdin.close()
        return process

    def said(process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    with running(sandbox) as base_url:
        for number, count in enumerate(KILLED_AFTER):
            with cashier(number) as dying, cashier(number + 100) as other:
                assert (said(dying), said(other)) == ("ready", "ready")
                for _ in range(count):
                    said(dying)
                dying.kill()
                if random.Random(number).random() < 0.5:
                    other.kill()
        with cashier(200) as last:
            assert last.stdout is not None
            assert last.stdout.read().splitlines()[-1] == "done"

    # What a killed process had to tell is told by the next sweep, when its lease is over.
    clock = ManualClock()
    clock.jump(2_000_000_000 - clock.time())
    heard: list[Payment] = []
    async with Paystar(
        gateway=account, engine=sandbox.engine(), database=SqliteDatabase(orders, clock=clock)
    ) as paystar:
        paystar.payments.on_verified(heard.append)
        await paystar.payments.sweep()
        found = [await paystar.payments.find(order_id=f"o-{n}") for n in range(ORDERS)]

    assert [one and one.state for one in found] == [OrderStatus.VERIFIED] * ORDERS
    ids = {f"{one.order_id}:{one.ref_num}" for one in pages}
    assert {*told.read_text().splitlines(), *(one.id for one in heard)} == ids
