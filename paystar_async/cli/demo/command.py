"""``paystar demo``: the SDK against a bad network and a clock that jumps, counted by the other side."""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from paystar_async import (
    Application,
    Callback,
    Event,
    Gateway,
    Paystar,
    Rial,
    Transfer,
    Wallet,
    WalletTransfer,
    new_track_id,
)
from paystar_async.cli.console import output
from paystar_async.cli.demo import batch
from paystar_async.cli.demo.report import Report
from paystar_async.cli.demo.sandbox import DemoSandbox, own_sandbox
from paystar_async.cli.demo.transfers import pay_from_wallet
from paystar_async.cli.parameters import count, number, seed
from paystar_async.outcomes import Outcome, Succeeded
from paystar_async.payments import Verified

DEPOSIT = "0100123456789"
FILE, LEDGER, KEYS = "transfers.csv", "payouts.db", "keys.db"
SETTLE_SECONDS = 0.5
"""How long the bank of the demo takes; a real one takes hours, and nobody watches that long."""


def demo(
    *,
    transfers: Annotated[int, count("transfers in the batch")] = 1000,
    faults: Annotated[
        float,
        number(
            float, "a number from 0 to 0.5", lambda part: 0 <= part <= 0.5, "the part of all answers that goes wrong"
        ),
    ] = 0.05,
    seed: Annotated[int, seed("the sandbox's accounts and chances follow from it")] = 0,
    concurrency: Annotated[int, count("calls in flight at the most")] = 16,
) -> int:
    """Pay a thousand transfers through a bad network, and have the other side count.

    A sandbox is started on a free port of this machine. The two workflows of the reference run against it: a card
    is matched with a national id and paid to; a payment is paid on its page and verified, once more with the answer
    to verify lost. Then the batch, paid by a worker process that is killed -9 twice on the way: answers get lost and
    broken, every key expires midway, and the sandbox pays a repeated transfer again. At the end its books tell what was
    paid, and how often.

    The exit status is 0 only if every transfer was carried out exactly once, no fate is unknown, each key was
    renewed once and both workflows ended as they should.
    """
    # The process that is started needs it; missing, it is to be said here and in one line.
    import paystar_async.sandbox.server  # noqa: F401  # pyright: ignore[reportUnusedImport]

    console = output()
    report = asyncio.run(Demo(transfers, faults, seed, concurrency, console).run())
    console.print(report.table())
    console.print("everything is as it must be" if report.fine else "NOT everything is as it must be")
    return 0 if report.fine else 1


class Demo:
    """One run of the demo.

    Args:
        transfers: transfers in the batch.
        faults: the part of all answers that goes wrong.
        seed: the sandbox's accounts and chances follow from it.
        concurrency: calls in flight at the most.
        console: where it is told how far things are.
    """

    def __init__(self, transfers: int, faults: float, seed: int, concurrency: int, console: Console) -> None:
        self._transfers, self._faults, self._seed, self._concurrency = transfers, faults, seed, concurrency
        self._console = console
        self._events: Counter[str] = Counter()
        self._ends: dict[str, Outcome] = {}
        self._workflows: dict[str, bool] = {}
        self._kills = 0

    async def run(self) -> Report:
        """All of it, from the first workflow to the sandbox's books."""
        async with own_sandbox(self._seed) as sandbox:
            self._console.print(f"a sandbox plays Paystar at {sandbox.base_url}")
            began = time.monotonic()
            # A bank that pays a repeated transfer again forgives nothing; the reference does not promise better.
            await sandbox.do("settings", repeats_execute=True, settle_seconds=SETTLE_SECONDS)
            accounts, people = await sandbox.read("accounts"), (await sandbox.read("people"))["people"]
            with tempfile.TemporaryDirectory(prefix="paystar-demo-") as home:
                async with self._client(sandbox, accounts, Path(home)) as paystar:
                    await self._workflow_a(paystar, people[0])
                    await self._workflow_b(paystar, sandbox)
                    await self._from_wallet(paystar, people[1], "before its keys expire")
                    asked, resent = await self._batch(paystar, sandbox, accounts, people, Path(home))
                    await paystar.transfers.find(limit=1)  # renews the key, if the batch was too short to
                    await self._from_wallet(paystar, people[1], "after they expired")
            return Report(
                asked=asked,
                kills=self._kills,
                ends=self._ends,
                ledger=(await sandbox.read("ledger"))["transfers"],
                stats=await sandbox.read("stats"),
                workflows=self._workflows,
                retries=self._events["retry"],
                resent=resent,
                seconds=time.monotonic() - began,
            )

    def _client(self, sandbox: DemoSandbox, accounts: dict[str, Any], home: Path) -> Paystar:
        def count(event: Event) -> None:
            self._events[event.name] += 1

        return Paystar(
            Application(**accounts["application"]),
            Gateway(**accounts["gateway"]),
            Wallet(**accounts["wallet"]),
            base_url=sandbox.base_url,
            database=home / LEDGER,
            keys=str(home / KEYS),
            concurrency=self._concurrency,
            checks="strict",
            on_event=count,
        )

    async def _workflow_a(self, paystar: Paystar, person: dict[str, str]) -> None:
        """Identity, then settlement: pay to a person whose card and national id belong together."""
        match = await paystar.identity.match_card(
            national_id=person["national_id"], card_number=person["card"], birth_date=person["birth_date"]
        )
        if match.is_matched:
            transfer = _transfer(person, Rial(250_000))
            await paystar.transfers.settle(transfers=[transfer])
            self._ends[transfer.track_id] = await paystar.transfers.wait(track_id=transfer.track_id)
        ended = match.is_matched and all(isinstance(end, Succeeded) for end in self._ends.values())
        self._tell("workflow A: matched, paid, arrived", ended=ended)

    async def _workflow_b(self, paystar: Paystar, sandbox: DemoSandbox) -> None:
        """A payment: create, the payer pays, the callback is confirmed – also where verify is answered by nobody."""
        self._tell("workflow B: paid, verified", ended=await self._pay_and_confirm(paystar, sandbox))
        await sandbox.do("faults", endpoint="gateway.verify", kind="reset_after", times=1)
        ended = await self._pay_and_confirm(paystar, sandbox)
        self._tell("workflow B: verify unanswered, inquiry decides", ended=ended)

    async def _pay_and_confirm(self, paystar: Paystar, sandbox: DemoSandbox) -> bool:
        order_id, amount = new_track_id(), Rial(1_500_000)
        created = await paystar.gateway.create(
            amount=amount, order_id=order_id, callback="https://shop.example/paid", callback_method=1
        )
        brought = await sandbox.pay(paystar.gateway.payment_url(token=created.token))
        payment = await paystar.payments.confirm(Callback.parse(brought), amount=amount, order_id=order_id)
        return isinstance(payment.outcome, Verified)

    async def _from_wallet(self, paystar: Paystar, person: dict[str, str], when: str) -> None:
        """Use both keys of the wallet: the one that pays and the one that reads."""
        transfer = WalletTransfer(
            amount=Rial(120_000),
            destination_number=person["iban"],
            destination_firstname=person["first_name"],
            destination_lastname=person["last_name"],
            track_id=new_track_id(),
        )
        end = self._ends[transfer.track_id] = await pay_from_wallet(paystar, transfer)
        balance = await paystar.wallet.balance()
        self._tell(f"wallet, {when}: paid, arrived", ended=isinstance(end, Succeeded) and balance.total_amount > 0)

    async def _batch(
        self,
        paystar: Paystar,
        sandbox: DemoSandbox,
        accounts: dict[str, Any],
        people: list[dict[str, str]],
        home: Path,
    ) -> tuple[set[str], int]:
        """The batch, through bad answers, kills and the end of every key; its track_ids, and how many went again."""
        asked = [
            _transfer(people[number % len(people)], Rial(100_000 + 10 * number)) for number in range(self._transfers)
        ]
        batch.write(home / FILE, asked)
        what = f"{self._faults:.1%} of all answers go wrong, every key expires, the worker is killed twice"
        self._console.print(f"{len(asked):,} transfers; {what}", soft_wrap=True)
        await sandbox.spoil(self._faults)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            settled = progress.add_task("settled", total=len(asked))

            async def is_renewed() -> bool:
                return bool((await sandbox.read("stats"))["refreshes"].get("application"))

            paying = batch.Paying(
                settings={
                    "application": accounts["application"],
                    "base_url": sandbox.base_url,
                    "file": str(home / FILE),
                    "ledger": str(home / LEDGER),
                    "keys": str(home / KEYS),
                    "concurrency": self._concurrency,
                },
                count=len(asked),
                expire_keys=sandbox.expire_keys,
                is_renewed=is_renewed,
                moved=lambda count: progress.update(settled, completed=count),
            )
            await paying.run()
        self._kills = paying.kills
        self._events["retry"] += paying.retries
        ends, resent = await batch.ends(paystar)
        self._ends |= ends
        return {one.track_id for one in asked}, resent

    def _tell(self, what: str, *, ended: bool) -> None:
        self._workflows[what] = ended
        self._console.print(f"{what}: {'yes' if ended else 'NO'}")


def _transfer(person: dict[str, str], amount: int) -> Transfer:
    return Transfer(
        amount=amount,
        deposit=DEPOSIT,
        destination_account=person["iban"],
        destination_firstname=person["first_name"],
        destination_lastname=person["last_name"],
        track_id=new_track_id(),
    )
