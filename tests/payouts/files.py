"""Helpers that write transfer files."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]

from paystar_async.payouts.validation import plan, validated_transfers

Write = Callable[[Sequence[Sequence[Any]]], Path]
"""A function that writes a file of these lines."""
IBAN = "IR062960000000100324200001"
DEPOSIT = "0100123456789"
NAMES = (
    "amount",
    "deposit",
    "destination_account",
    "destination_firstname",
    "destination_lastname",
    "track_id",
    "pay_id",
)
WALLET_NAMES = ("amount", "destination_number", "destination_firstname", "destination_lastname", "track_id")


def row(number: int = 1, **other: Any) -> dict[str, Any]:
    """Return the cells of a valid row, by column."""
    return {
        "amount": str(1_000_000 + 10 * number),
        "deposit": DEPOSIT,
        "destination_account": IBAN,
        "destination_firstname": "علی",
        "destination_lastname": "احمدی",
        "track_id": f"t-{number}",
        "pay_id": "",
        **other,
    }


def wallet_row(number: int = 1, **other: Any) -> dict[str, Any]:
    """Return the cells of a valid wallet row, by column."""
    return {
        "amount": str(1_000_000 + 10 * number),
        "destination_number": IBAN,
        "destination_firstname": "علی",
        "destination_lastname": "احمدی",
        "track_id": f"w-{number}",
        **other,
    }


def table(rows: Sequence[dict[str, Any]], names: Sequence[str] = NAMES) -> list[list[Any]]:
    """Return a header and its rows."""
    return [list(names), *([cells.get(name) for name in names] for cells in rows)]


def write_csv(path: Path, lines: Sequence[Sequence[Any]], *, encoding: str = "utf-8-sig", separator: str = ",") -> Path:
    with path.open("w", encoding=encoding, newline="") as text:
        csv.writer(text, delimiter=separator).writerows(lines)
    return path


def write_xlsx(path: Path, lines: Sequence[Sequence[Any]], *, above: int = 0) -> Path:
    workbook = openpyxl.Workbook()
    sheet: Any = workbook.active
    for number, line in enumerate(lines, 1 + above):
        for column, cell in enumerate(line, 1):
            sheet.cell(number, column).value = cell
    workbook.save(path)
    return path


async def read_transfers(source: Any) -> list[Any]:
    """Return all transfers of a source."""
    return [transfer async for transfer in validated_transfers(source)]


async def single_error(path: Path) -> str:
    """Return the only error of a file."""
    result = await plan(path)
    assert len(result.bad) == 1, result.bad
    return str(result.bad[0])
