"""A database whose statements and commits can be made to fail, before or after they are executed, and its payout."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from paystar_async.errors import StorageUnavailable
from paystar_async.payouts.ledger.session import LedgerDatabase
from paystar_async.runtime.clock import ManualClock
from paystar_async.storage.database import NONE, Database, Parameters, Row, Transaction
from paystar_async.storage.sqlite import SqliteDatabase
from tests.payouts.bank import PayoutFixture

StepKind = Literal["statement", "commit"]
Fault = Callable[[int, StepKind], object]


def no_fault(step: int, kind: StepKind) -> None:
    """Let the step succeed."""


class FaultyDatabase:
    """A database with faults at its steps.

    ``before`` may raise: the step is not executed. ``after`` may raise: the step was executed, unknown to the caller.
    """

    def __init__(self, inner: Database) -> None:
        self._inner = inner
        self.steps = 0
        self.before: Fault = no_fault
        self.after: Fault = no_fault

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Transaction, None]:
        async with self._inner.transaction() as transaction:
            yield _FaultyTransaction(self, transaction)
            self.step("commit", self.before)
        self.after(self.steps, "commit")

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        self.step("statement", self.before)
        return await self._inner.execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        self.step("statement", self.before)
        return await self._inner.fetch(sql, parameters)

    async def migrate(self, name: str, steps: Sequence[str]) -> None:
        await self._inner.migrate(name, steps)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def step(self, kind: StepKind, fault: Fault) -> None:
        self.steps += 1
        fault(self.steps, kind)


class _FaultyTransaction:
    def __init__(self, database: FaultyDatabase, inner: Transaction) -> None:
        self._database, self._inner = database, inner
        self.values = inner.values

    async def execute(self, sql: str, parameters: Parameters = NONE) -> int:
        self._database.step("statement", self._database.before)
        return await self._inner.execute(sql, parameters)

    async def fetch(self, sql: str, parameters: Parameters = NONE) -> list[Row]:
        self._database.step("statement", self._database.before)
        return await self._inner.fetch(sql, parameters)


FaultyPayout = tuple[PayoutFixture, FaultyDatabase]


def open_faulty_payout(path: Path) -> FaultyPayout:
    """Return a payout whose ledger is in a file, and the database whose steps can be made to fail."""
    clock = ManualClock()
    database = FaultyDatabase(SqliteDatabase(path, clock=clock))
    return PayoutFixture(LedgerDatabase(database, clock=clock), clock), database


def failing(step: int, kind: StepKind | None = None) -> Fault:
    """Return a fault that fails at this step, once."""

    def fault(current_step: int, current_kind: StepKind) -> None:
        if current_step == step and kind in (None, current_kind):
            raise StorageUnavailable("the disk is full")

    return fault
