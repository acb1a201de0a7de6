"""Run the simulation of one seed, and return its result."""

import asyncio
import logging
import random
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from unittest.mock import patch

import anyio
from attrs import define, evolve, field, frozen

from paystar_async import Application, Paystar, Wallet
from paystar_async.client import client
from paystar_async.errors import PaystarError
from paystar_async.middleware.retry import RetryMiddleware
from paystar_async.payouts.channels import BankTransferChannel, WalletChannel
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.dispatcher import DueQueue
from paystar_async.payouts.ledger import observations, queries, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.observations import Resolution
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.payouts.models import LookBeforeSend, Policy
from paystar_async.payouts.worker import ChunkWorker
from paystar_async.runtime.tasks import BackgroundTasks
from tests.payouts.bank import each
from tests.payouts.simulator.bank import HASHID, Bank, Repeats
from tests.payouts.simulator.batches import DEPOSITS, draw_batches
from tests.payouts.simulator.engine import SimEngine
from tests.payouts.simulator.faulty_middleware import FaultyMiddleware
from tests.payouts.simulator.invariants import InvariantChecker
from tests.payouts.simulator.loop import run_virtual
from tests.payouts.simulator.losses import RecordLosses, draw_losses
from tests.payouts.simulator.store import SimDatabase, Store
from tests.payouts.simulator.world import QUIET_SECONDS, Host, HostClock, Machine, World

APPLICATION = Application(id="app-1", access_password="pass-app", api_key="key-0")
WALLET = Wallet(hashid=HASHID, password="p@ss", sign_key="test-sign-key", api_key="key-0", inquiry_key="key-0")
MAX_SECONDS = 7 * 86_400.0
LOOK_INTERVAL_SECONDS = 60.0

logger = logging.getLogger("paystar_async")


@frozen
class SeedResult:
    """The result of a seed.

    Attributes:
        seed: the seed.
        violations: the violated invariants.
        trace: the events, in order.
        states: the final states of the transfers.
        executions: the number of payments of the bank.
        crashes: the number of processes that died.
        losses: the number of times the store lost records.
    """

    seed: int
    violations: tuple[str, ...]
    trace: tuple[tuple[float, str], ...]
    states: tuple[str, ...]
    executions: int
    crashes: int
    losses: int


@define(eq=False)
class Simulation:
    """The simulation of one seed: its processes, store, bank and operator."""

    world: World
    store: Store
    bank: Bank
    checker: InvariantChecker
    wallet: bool
    policy: Policy
    batches: dict[str, list[AnyTransfer]]
    machines: list[Machine]
    operator_rng: random.Random
    hosts: list[Host] = field(factory=list[Host])
    started: int = 0
    submitted: set[str] = field(factory=set[str])
    advance_tasks: dict[str, list["asyncio.Task[None]"]] = field(factory=dict[str, list["asyncio.Task[None]"]])
    references: list[object] = field(factory=list[object])
    losses: RecordLosses = field(init=False)
    _stopped: list[Machine] | None = None

    def start_host(self, machine: Machine) -> None:
        """Start a process that submits missing batches and advances due chunks."""
        if self._stopped is not None:
            self._stopped.append(machine)
            return
        self.started += 1
        host = Host(
            world=self.world,
            name=f"p{self.started}",
            clock=HostClock(self.world, machine),
            on_death=lambda host: self._on_death(host, machine),
        )
        self.hosts.append(host)
        self.references.append(asyncio.create_task(self._run_host(host)))

    def _on_death(self, host: Host, machine: Machine) -> None:
        self.store.on_host_death(host)
        self.world.call_later(
            self.world.rng.choice((0.1, 5.0, 120.0, 2 * QUIET_SECONDS)), lambda: self.start_host(machine)
        )

    def stop_hosts(self) -> None:
        """Stop all processes until ``restart_hosts``."""
        self._stopped = []
        for host in self.hosts:
            if not host.is_immune:
                host.die("the stop")

    def restart_hosts(self) -> None:
        """Start the stopped processes; the store may have lost batches.

        A lost batch is submitted again as a batch that may have been paid.
        """
        self.submitted = {row["batch_id"] for row in self.store.rows("SELECT batch_id FROM paystar_payout_batches")}
        if self.policy.look_before_send != "never":
            self.policy = evolve(self.policy, look_before_send="always")
        stopped, self._stopped = self._stopped or [], None
        for machine in stopped:
            self.start_host(machine)

    def on_commit(self) -> None:
        """Check a commit, and count it for the planned losses."""
        self.checker.on_commit()
        self.losses.on_commit(self.track_ids)

    @property
    def track_ids(self) -> list[str]:
        """The track_ids of all batches."""
        return sorted({transfer.track_id for batch in self.batches.values() for transfer in batch})

    async def _run_host(self, host: Host) -> None:
        try:
            await self._work(host)
        except Exception as error:
            self.world.add_violation(f"{host.name} raises {error!r}")
            raise

    async def _work(self, host: Host) -> None:
        due_queue, ledger, channel = self._create_worker(host)
        first = True
        while True:
            pause = LOOK_INTERVAL_SECONDS * 10
            try:
                for batch_id in [name for name in self.batches if first and name not in self.submitted]:
                    await insert_batch(ledger, channel, batch_id, each(self.batches[batch_id]), policy=self.policy)
                    self.submitted.add(batch_id)
                first = False
                pause = await self._advance_due(host, due_queue)
            except PaystarError as error:
                self.world.note(f"{host.name} meets {type(error).__name__}: {error.args[0]}")
                pause = 5.0
                if ledger.identity.failure is not None:
                    host.die("a replaced ledger")
            await asyncio.sleep(pause)
            await host.wait_until_running()

    def _create_worker(self, host: Host) -> tuple[DueQueue, LedgerDatabase, BankTransferChannel | WalletChannel]:
        paystar = Paystar(
            APPLICATION,
            wallet=WALLET,
            engine=SimEngine(self.bank, host),
            clock=host.clock,
            max_retries=1,
            timeout=30.0,
            middleware=[FaultyMiddleware(host)] if self.world.fault_rates.middleware_fault else [],
        )
        deliver = paystar._loop_state().deliver  # pyright: ignore[reportPrivateUsage]
        channel = WalletChannel(deliver, HASHID) if self.wallet else BankTransferChannel(deliver, APPLICATION.id)
        ledger = LedgerDatabase(SimDatabase(self.store, host), clock=host.clock)
        background = BackgroundTasks()
        self.references += [paystar, background]
        worker = ChunkWorker(ledger, [channel], host.clock, background, lambda: True, lambda _: None)
        return DueQueue(ledger, [channel], worker), ledger, channel

    async def _advance_due(self, host: Host, due_queue: DueQueue) -> float:
        """Advance due chunks, sometimes early or twice at once; return the seconds until the next round."""
        rng = self.world.rng
        due, now = [(chunk.chunk_id, chunk.at) for chunk in await due_queue.due(100)], await due_queue.now()
        chunks = [chunk_id for chunk_id, when in due if when <= now or rng.random() < 0.05]
        chunks += [chunk_id for chunk_id in chunks if rng.random() < 0.1]
        tasks = [asyncio.create_task(self._advance(host, due_queue.worker, chunk_id)) for chunk_id in chunks]
        self.advance_tasks[host.name] = tasks
        if tasks:
            await asyncio.wait(tasks)
        waits = [when - now for chunk_id, when in due if chunk_id not in chunks]
        return max(0.1, min([10 * LOOK_INTERVAL_SECONDS, *waits])) if not tasks else rng.random()

    def on_response(self, host: Host, response: Mapping[str, Any]) -> None:
        """Sometimes cancel the caller for which a process has just received a response."""
        self.checker.on_response(host, response)
        if self.world.fault_rates.cancelled_caller and self.world.chance(0.5):
            for task in self.advance_tasks[host.name]:
                self.world.call_later(0.15 * self.world.rng.random(), task.cancel)

    async def _advance(self, host: Host, worker: ChunkWorker, chunk_id: str) -> None:
        try:
            await self._wait_for(host, worker, chunk_id)
        except Exception as error:
            self.world.add_violation(f"{host.name} raises {error!r}")

    async def _wait_for(self, host: Host, worker: ChunkWorker, chunk_id: str) -> None:
        """Advance a chunk; sometimes give up in one of three ways."""
        world = self.world
        with suppress(PaystarError, TimeoutError):
            if not world.chance(world.fault_rates.cancelled_caller):
                await worker.advance(chunk_id)
                return
            patience = 3 * world.rng.random() ** 2
            world.note(f"{host.name} will wait {patience:.3f} s")
            match world.rng.randrange(3):
                case 0:
                    async with asyncio.timeout(patience):
                        await worker.advance(chunk_id)
                case 1:
                    with anyio.move_on_after(patience):
                        await worker.advance(chunk_id)
                case _:
                    task = asyncio.create_task(worker.advance(chunk_id))
                    self.references.append(task)
                    task.add_done_callback(_consume_result)
                    await asyncio.wait([task], timeout=patience)
                    task.cancel()

    async def run_operator(self) -> None:
        """Look at the holds now and then, refill the accounts, and resume; in some seeds give other commands too."""
        rng = self.operator_rng
        command_rate = rng.choice((0.0, 0.0, 1.0))
        clock = HostClock(self.world, self.machines[0])
        host = Host(world=self.world, name="operator", clock=clock, on_death=lambda _: None, is_immune=True)
        self.hosts.append(host)
        _, ledger, channel = self._create_worker(host)
        while True:
            looks = 1 if command_rate else 10  # commands are given while transfers are sent
            await asyncio.sleep(LOOK_INTERVAL_SECONDS * looks * (0.5 + self.world.rng.random()))
            if ledger.identity.failure is not None:
                _, ledger, channel = self._create_worker(host)
            if rng.random() < command_rate and not self.world.is_fault_free:
                with suppress(PaystarError):
                    await self._command(rng, ledger, channel)
            if self.checker.is_settled():
                continue
            with suppress(PaystarError):
                if any(hold.is_active for hold in await queries.holds(ledger, channel.name, channel.account)):
                    self.bank.refill()
                    self.world.note("operator resumes")
                    await updates.resume(ledger, channel.name, channel.account)

    async def _command(
        self, rng: random.Random, ledger: LedgerDatabase, channel: BankTransferChannel | WalletChannel
    ) -> None:
        """Pause and resume an account, or decide transfers by the bank's statement, while processes run."""
        deposit = rng.choice(["", *DEPOSITS]) if channel.name == "bank" else ""
        if rng.random() < 0.5:
            self.world.note(f"operator pauses {deposit or 'everything'}")
            await updates.pause(ledger, channel.name, channel.account, deposit)
            await asyncio.sleep(rng.choice((0.1, 60.0, 3 * LOOK_INTERVAL_SECONDS)))
            self.world.note(f"operator resumes {deposit or 'everything'}")
            await updates.resume(ledger, channel.name, channel.account, deposit or None)
            return
        for record in await queries.review(ledger, channel.name, channel.account, 3):
            statement = self.bank.statement(record.track_id)
            if statement is None:
                continue
            verdict: Resolution = rng.choice(("failed", "resend")) if statement == "failed" else statement
            self.checker.decided.add((record.track_id, verdict))
            self.world.note(f"operator decides {record.track_id}: {verdict}")
            # Two operators at once: one decision is recorded.
            await asyncio.gather(
                *(self._resolve(ledger, channel, record.track_id, verdict) for _ in range(rng.randint(1, 2)))
            )

    async def _resolve(
        self, ledger: LedgerDatabase, channel: BankTransferChannel | WalletChannel, track_id: str, verdict: Resolution
    ) -> None:
        with suppress(PaystarError):
            await observations.resolve(ledger, channel.name, channel.account, track_id, verdict)

    async def jump_clocks(self) -> None:
        """Sometimes set a wall clock."""
        while True:
            await asyncio.sleep(60.0)
            if self.world.chance(self.world.fault_rates.clock_jump):
                machine = self.world.rng.choice(self.machines)
                seconds = self.world.rng.choice((-86_400.0, -600.0, 600.0, 3600.0, 86_400.0))
                self.world.note(f"a clock jumps by {seconds:.0f} s")
                machine.wall_offset += seconds

    async def run(self) -> None:
        for machine in self.machines:
            self.start_host(machine)
        self.references += [asyncio.create_task(self.run_operator()), asyncio.create_task(self.jump_clocks())]
        while self.world.now < MAX_SECONDS:
            await asyncio.sleep(LOOK_INTERVAL_SECONDS)
            # Backups are restored late, too: when everything was paid.
            if (
                self.checker.states.keys() == set(self.track_ids)
                and self.checker.is_settled()
                and not self.losses.begin()
            ):
                break
        self.losses.upcoming.clear()
        await asyncio.sleep(self.world.fault_rates.max_delay_seconds + 2 * 3600.0)
        self.checker.check_end(self.track_ids)

    async def discard(self) -> None:
        for host in self.hosts:
            host.discard()
        for _ in range(3):
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)


def _note_failure(world: World, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Record a violation if the simulator itself fails; errors of simulated tasks are checked elsewhere."""
    if "handle" in context:
        world.add_violation(f"the simulator fails: {context.get('exception')!r}")
    else:
        loop.default_exception_handler(context)


def _consume_result(task: "asyncio.Task[float | None]") -> None:
    """Consume the result of a task whose caller was cancelled."""
    if not task.cancelled():
        task.exception()


def run_seed(seed: int) -> SeedResult:
    """Run the simulation of a seed."""
    disabled, logger.disabled = logger.disabled, True
    try:
        with _fixed_randomness(seed):
            return run_virtual(_run_seed(seed))
    finally:
        logger.disabled = disabled


async def _run_seed(seed: int) -> SeedResult:
    rng = random.Random(f"{seed}:cast")
    world = World(seed, resend=rng.random() < 0.5)
    machines = [
        Machine(f"m-{number}", wall_offset=rng.uniform(-60, 60), monotonic_offset=rng.random() * 1e6)
        for number in range(rng.randint(1, 3))
    ]
    store = Store(world, server=len(machines) > 1)
    checker = InvariantChecker(world, store)
    wallet = rng.random() < 0.3
    bank = Bank(world, wallet, rng.choice((30_000, 10**12)), checker.on_request)
    checker.bank = bank
    asyncio.get_running_loop().set_exception_handler(partial(_note_failure, world))
    bank.repeats = Repeats(refused=rng.random() < 0.4, listed=rng.random() < 0.5)
    bank.hashid_style = rng.choice(("own", "own", "shared", "none"))
    # A policy without look-ups before the first send assumes a bank that refuses repeats.
    look_policies: tuple[LookBeforeSend, ...] = (
        "recovered",
        "always",
        "never" if bank.repeats.refused else "recovered",
    )
    simulation = Simulation(
        world=world,
        store=store,
        bank=bank,
        checker=checker,
        wallet=wallet,
        policy=Policy(
            chunk=rng.choice((1, 2, 5)),
            concurrency=rng.choice((1, 4)),
            quiet_window=QUIET_SECONDS,
            resend=world.resend,
            look_before_send=rng.choice(look_policies),
        ),
        batches=draw_batches(rng, world, wallet=wallet),
        machines=machines,
        operator_rng=random.Random(f"{seed}:operator"),
    )
    bank.on_response, store.on_commit = simulation.on_response, simulation.on_commit
    simulation.losses = RecordLosses(
        world, store, bank, checker, draw_losses(rng), stop=simulation.stop_hosts, restart=simulation.restart_hosts
    )
    # Only a process that has read all rows notices an older store by its rows: it must be the only process.
    is_alone = any(not loss.is_restore and not loss.is_new_origin for loss in simulation.losses.upcoming)
    simulation.machines = machines[:1] if is_alone else machines * 2 if len(machines) == 1 else machines
    store.snapshots = [] if simulation.losses.upcoming else None
    try:
        await simulation.run()
    finally:
        await simulation.discard()
        store.connection.close()
    return SeedResult(
        seed=seed,
        violations=tuple(world.violations),
        trace=tuple(world.trace),
        states=tuple(str(state) for state, _ in checker.states.values()),
        executions=sum(map(len, bank.executed.values())),
        crashes=sum(" dies at " in event for _, event in world.trace),
        losses=sum("the store is back" in event for _, event in world.trace),
    )


@contextmanager
def _fixed_randomness(seed: int) -> Generator[None]:
    """Make all random numbers depend on the seed."""
    state = random.getstate()
    random.seed(seed)
    try:
        own = random.Random(f"{seed}:secrets")

        def token_hex(size: int) -> str:
            return own.randbytes(size).hex()

        with (
            patch.object(client, "RetryMiddleware", partial(RetryMiddleware, random=random.Random(f"{seed}:retry"))),
            patch.object(secrets, "token_hex", token_hex),
        ):
            yield
    finally:
        random.setstate(state)


def first_violation(seeds: Sequence[int]) -> SeedResult | None:
    """Return the result of the first seed that violates an invariant, or None."""
    for seed in seeds:
        result = run_seed(seed)
        if result.violations:
            return result
    return None
