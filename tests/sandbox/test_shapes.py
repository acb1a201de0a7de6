"""A sandbox that responds in recorded shapes: names, types, nulls, wrappers and HTTP statuses."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from paystar_async import Paystar
from paystar_async.conform import ShapeRecorder
from paystar_async.conform.recorder import read_observations
from paystar_async.endpoint import Observation
from paystar_async.errors import InvalidResponse, UnknownRefNum
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.shapes import RecordedShapes, reshape
from tests.payouts.sandbox_clients import transfer

RANDOM_ID = re.compile(r"text:(letters|id):9-16(\|text:(letters|id):9-16)*")
"""A random id may happen to be all letters."""


@asynccontextmanager
async def connect(sandbox: Sandbox, *middleware: Any) -> AsyncGenerator[Paystar]:
    async with Paystar(
        sandbox.application, sandbox.gateway, sandbox.wallet, engine=sandbox.engine(), middleware=middleware
    ) as paystar:
        yield paystar


async def record(sandbox: Sandbox, path: Path) -> list[Observation]:
    """Return the observations of a few calls to a sandbox."""
    async with connect(sandbox, ShapeRecorder(path)) as paystar:
        for items in ([transfer(1)], [transfer(2), transfer(3)]):
            await paystar.transfers.settle(transfers=items)
        await paystar.transfers.find(limit=5)
        for call in (paystar.wallet.balance(), paystar.transfers.balance(account_number="0100123456789")):
            with suppress(InvalidResponse):
                await call
        with pytest.raises(UnknownRefNum):
            await paystar.gateway.inquiry(ref_num="unknown")
    return read_observations(path)[0]


def without_facts(observations: list[Observation]) -> list[tuple[object, ...]]:
    return [
        (item.endpoint, item.http_status, item.status, item.sent, RANDOM_ID.sub("id", item.shape))
        for item in observations
    ]


@pytest.mark.parametrize(
    "deviations",
    [
        (),
        ("balance-fields",),
        ("batch-response", "list-shape"),
        ("refusal-http",),
        ("amount-dots",),
        ("statement-lines",),
    ],
)
async def test_recorded_shapes_repeat_the_recorded_service(deviations: tuple[str, ...], tmp_path: Path) -> None:
    service = Sandbox(settle_seconds=3_600.0)
    for assumption in deviations:
        service.break_assumption(assumption)
    recorded = await record(service, tmp_path / "service.jsonl")
    replica = Sandbox(settle_seconds=3_600.0)
    replica.deviations.append(RecordedShapes(recorded))
    assert without_facts(await record(replica, tmp_path / "replica.jsonl")) == without_facts(recorded)


async def test_recorded_shapes_leave_money_as_it_is(tmp_path: Path) -> None:
    service = Sandbox()
    service.break_assumption("list-shape")
    replica = Sandbox(settle_seconds=0.0)
    replica.deviations.append(RecordedShapes(await record(service, tmp_path / "service.jsonl")))
    async with connect(replica) as paystar:
        await paystar.transfers.settle(transfers=[transfer(9)])
        (settlement,) = await paystar.transfers.find(track_id=transfer(9).track_id)
    assert settlement.status == "success"
    assert [line.count for line in replica.ledger.values()] == [1]


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (10_000, "text:digits:5-8", "10000"),
        (10_000, "text:grouped:5-8", "10,000"),
        (10_000, "text:dotted:5-8", "10.000"),
        (10_000, "text:decimal:5-8", "10000.00"),
        (10_000, "float:whole", 10_000.0),
        ("50,000", "int:5-8", 50_000),
        (True, "int:1-4", 1),
        (1, "bool", True),
        (5, "int:9-16", 5),
        ("x", "null", None),
        (None, "null|text:digits:1-4", None),
        (None, "text:digits:1-4", "1"),
        ("abc", "text:time:17-32", "2026-01-01 00:00:00"),
        ("abc", "text:id:1-4", "abc"),
        ("abc", "unknown", "abc"),
        ("success", "word:known", "success"),
        (None, "word:known", "pending"),
        ([1, 2], {"data": ["int:1-4"], "total": "int:1-4"}, {"data": [1, 2], "total": 1}),
        ([1, 2], {"#": "int:1-4"}, {"0": 1, "1": 2}),
        ([{"id": 1}], {"id": "text:digits:1-4"}, {"id": "1"}),
        ({"id": 1}, [{"id": "int:1-4"}], [{"id": 1}]),
        ({"id": 1}, [], [{"id": 1}]),
        ({"id": 1, "own": 2}, {"id": "int:1-4", "…": "unknown", "code": "absent|int:1-4"}, {"id": 1}),
        ({}, {"items": ["int:1-4"], "name": "text:letters:5-8"}, {"items": [], "name": "sample"}),
    ],
)
def test_reshape_gives_value_the_shape(value: object, shape: object, expected: object) -> None:
    assert reshape(value, shape) == expected
    assert type(reshape(value, shape)) is type(expected)
