"""``paystar demo``: run the SDK against a faulty sandbox and check the result with the sandbox ledger."""

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

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
from paystar_async.cli.console import EXIT_FAILED, print_json, stderr_console, stdout_console
from paystar_async.cli.demo.batch import BatchRun, read_outcomes, write_csv
from paystar_async.cli.demo.report import Report
from paystar_async.cli.demo.sandbox import DemoSandbox, start_sandbox
from paystar_async.cli.demo.transfers import pay_from_wallet
from paystar_async.cli.json_output import JSON_OPTION
from paystar_async.cli.parameters import count_parameter, number_parameter, seed_parameter
from paystar_async.cli.progress import progress_bar
from paystar_async.outcomes import Outcome, Succeeded
from paystar_async.payments import Verified

DEPOSIT = "0100123456789"
FILE, LEDGER, KEYS = "transfers.csv", "payouts.db", "keys.db"
SETTLE_SECONDS = 0.5
"""The time the demo's bank takes to decide a transfer; a real bank takes hours."""

_FAULTS = number_parameter(
    float, "a number from 0 to 0.5", lambda rate: 0 <= rate <= 0.5, "the part of all responses that fails"
)


def demo(
    *,
    transfers: Annotated[int, count_parameter("transfers in the batch")] = 1000,
    faults: Annotated[float, _FAULTS] = 0.05,
    seed: Annotated[int, seed_parameter("the seed of the sandbox's credentials and random faults")] = 0,
    concurrency: Annotated[int, count_parameter("maximum number of calls in flight")] = 16,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> int:
    """Pay a thousand transfers over a faulty network, and check the result with the sandbox ledger.

    A sandbox is started on a free port of this machine. Two workflows run against it: a card is matched with a
    national id and paid to; a payment is paid on its page and verified, and a second one is verified although the
    response to verify is lost. Then a batch is paid by a worker process that is killed with -9 twice: responses are
    lost and broken, every key expires midway, and the sandbox executes a repeated transfer again. At the end the
    sandbox ledger shows what was paid, and how often.

    The exit status is 0 only if every transfer was executed exactly once, none is unresolved, each key was refreshed
    once and both workflows succeeded.
    """
    # The sandbox process needs it: a missing package is reported here, in one line.
    import paystar_async.sandbox.server  # noqa: F401  # pyright: ignore[reportUnusedImport]

    console = stderr_console() if as_json else stdout_console()
    report = asyncio.run(Demo(transfers, faults, seed, concurrency, console).run())
    if as_json:
        print_json(report.to_json())
    else:
        console.print(report.table())
    console.print("all checks passed" if report.is_passed else "SOME CHECKS FAILED")
    return 0 if report.is_passed else EXIT_FAILED


class Demo:
    """One run of the demo.

    Args:
        transfers: transfers in the batch.
        fault_rate: the part of all responses that fails.
        seed: the seed of the sandbox's credentials and random faults.
        concurrency: maximum number of calls in flight.
        console: the console for progress messages.
    """

    def __init__(self, transfers: int, fault_rate: float, seed: int, concurrency: int, console: Console) -> None:
        self._transfer_count, self._fault_rate, self._seed = transfers, fault_rate, seed
        self._concurrency, self._console = concurrency, console
        self._events: Counter[str] = Counter()
        self._outcomes: dict[str, Outcome] = {}
        self._workflows: dict[str, bool] = {}
        self._kills = 0

    async def run(self) -> Report:
        """Run the workflows and the batch, and return the report."""
        async with start_sandbox(self._seed) as sandbox:
            self._console.print(f"a sandbox is running at {sandbox.base_url}")
            started_at = time.monotonic()
            # The bank executes a repeated transfer again, because the API reference does not promise otherwise.
            await sandbox.change_control("settings", repeats_execute=True, settle_seconds=SETTLE_SECONDS)
            credentials = await sandbox.read_control("accounts")
            people = (await sandbox.read_control("people"))["people"]
            with tempfile.TemporaryDirectory(prefix="paystar-demo-") as folder:
                async with self._make_client(sandbox, credentials, Path(folder)) as paystar:
                    await self._run_workflow_a(paystar, people[0])
                    await self._run_workflow_b(paystar, sandbox)
                    await self._pay_from_wallet(paystar, people[1], "before its keys expire")
                    requested, resent = await self._run_batch(paystar, sandbox, credentials, people, Path(folder))
                    await paystar.transfers.find(limit=1)  # refreshes the key if the batch was too short to do it
                    await self._pay_from_wallet(paystar, people[1], "after they expired")
            return Report(
                requested=requested,
                kills=self._kills,
                outcomes=self._outcomes,
                ledger=(await sandbox.read_control("ledger"))["transfers"],
                stats=await sandbox.read_control("stats"),
                workflows=self._workflows,
                retries=self._events["request_retried"],
                resent=resent,
                seconds=time.monotonic() - started_at,
            )

    def _make_client(self, sandbox: DemoSandbox, credentials: dict[str, Any], folder: Path) -> Paystar:
        def count_event(event: Event) -> None:
            self._events[event.name] += 1

        return Paystar(
            Application(**credentials["application"]),
            Gateway(**credentials["gateway"]),
            Wallet(**credentials["wallet"]),
            base_url=sandbox.base_url,
            database=folder / LEDGER,
            keys=str(folder / KEYS),
            concurrency=self._concurrency,
            checks="strict",
            on_event=count_event,
        )

    async def _run_workflow_a(self, paystar: Paystar, person: dict[str, str]) -> None:
        """Match a card with a national id, then pay to its owner."""
        match = await paystar.identity.match_card(
            national_id=person["national_id"], card_number=person["card"], birth_date=person["birth_date"]
        )
        if match.is_matched:
            transfer = _make_transfer(person, Rial(250_000))
            await paystar.transfers.settle(transfers=[transfer])
            self._outcomes[transfer.track_id] = await paystar.transfers.wait(track_id=transfer.track_id)
        succeeded = match.is_matched and all(isinstance(outcome, Succeeded) for outcome in self._outcomes.values())
        self._record_workflow("workflow A: matched, paid", succeeded=succeeded)

    async def _run_workflow_b(self, paystar: Paystar, sandbox: DemoSandbox) -> None:
        """Create, pay and confirm a payment; then another whose response to verify is lost."""
        self._record_workflow("workflow B: paid, verified", succeeded=await self._pay_and_confirm(paystar, sandbox))
        await sandbox.change_control("faults", endpoint="gateway.verify", kind="reset_after", times=1)
        succeeded = await self._pay_and_confirm(paystar, sandbox)
        self._record_workflow("workflow B: no response to verify, inquiry decides", succeeded=succeeded)

    async def _pay_and_confirm(self, paystar: Paystar, sandbox: DemoSandbox) -> bool:
        order_id, amount = new_track_id(), Rial(1_500_000)
        created = await paystar.gateway.create(
            amount=amount, order_id=order_id, callback="https://shop.example/paid", callback_method=1
        )
        callback_fields = await sandbox.pay(paystar.gateway.payment_url(token=created.token))
        payment = await paystar.payments.confirm(Callback.parse(callback_fields), amount=amount, order_id=order_id)
        return isinstance(payment.outcome, Verified)

    async def _pay_from_wallet(self, paystar: Paystar, person: dict[str, str], moment: str) -> None:
        """Use both keys of the wallet: the key that pays and the key that reads."""
        transfer = WalletTransfer(
            amount=Rial(120_000),
            destination_number=person["iban"],
            destination_firstname=person["first_name"],
            destination_lastname=person["last_name"],
            track_id=new_track_id(),
        )
        outcome = self._outcomes[transfer.track_id] = await pay_from_wallet(paystar, transfer)
        balance = await paystar.wallet.balance()
        succeeded = isinstance(outcome, Succeeded) and balance.total_amount > 0
        self._record_workflow(f"wallet, {moment}: paid", succeeded=succeeded)

    async def _run_batch(
        self,
        paystar: Paystar,
        sandbox: DemoSandbox,
        credentials: dict[str, Any],
        people: list[dict[str, str]],
        folder: Path,
    ) -> tuple[set[str], int]:
        """Pay the batch despite faults, kills and expired keys; return its track_ids and the number sent again."""
        transfers = [
            _make_transfer(people[number % len(people)], Rial(100_000 + 10 * number))
            for number in range(self._transfer_count)
        ]
        write_csv(folder / FILE, transfers)
        conditions = f"{self._fault_rate:.1%} of all responses fail, every key expires, the worker is killed twice"
        self._console.print(f"{len(transfers):,} transfers; {conditions}", soft_wrap=True)
        await sandbox.inject_faults(self._fault_rate)
        with progress_bar(self._console, transient=False) as progress:
            task = progress.add_task("settled", total=len(transfers))

            async def is_key_refreshed() -> bool:
                return bool((await sandbox.read_control("stats"))["refreshes"].get("application"))

            batch_run = BatchRun(
                settings={
                    "application": credentials["application"],
                    "base_url": sandbox.base_url,
                    "file": str(folder / FILE),
                    "ledger": str(folder / LEDGER),
                    "keys": str(folder / KEYS),
                    "concurrency": self._concurrency,
                },
                transfer_count=len(transfers),
                expire_keys=sandbox.expire_keys,
                is_key_refreshed=is_key_refreshed,
                on_progress=lambda settled: progress.update(task, completed=settled),
            )
            await batch_run.run()
        self._kills = batch_run.kills
        self._events["request_retried"] += batch_run.retries
        outcomes, resent = await read_outcomes(paystar)
        self._outcomes |= outcomes
        return {transfer.track_id for transfer in transfers}, resent

    def _record_workflow(self, description: str, *, succeeded: bool) -> None:
        self._workflows[description] = succeeded
        self._console.print(f"{description}: {'yes' if succeeded else 'NO'}")


def _make_transfer(person: dict[str, str], amount: int) -> Transfer:
    return Transfer(
        amount=amount,
        deposit=DEPOSIT,
        destination_account=person["iban"],
        destination_firstname=person["first_name"],
        destination_lastname=person["last_name"],
        track_id=new_track_id(),
    )
