"""Test plans: reading a batch from files and iterables, and listing its errors."""

import pickle
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from paystar_async import Transfer, WalletTransfer
from paystar_async.errors import InvalidRows, InvalidValue, RowError, StorageUnavailable
from paystar_async.payouts.validation import Plan, plan, validated_transfers
from tests.payouts.files import (
    IBAN,
    NAMES,
    Write,
    read_transfers,
    row,
    table,
    wallet_row,
    write_csv,
)


async def test_plan_file_reads_every_field(write: Write) -> None:
    path = write(table([row(1, pay_id="0123"), row(2)]))
    read = await read_transfers(path)
    assert read == [
        Transfer(
            amount=1_000_010,
            deposit="0100123456789",
            destination_account=IBAN,
            destination_firstname="علی",
            destination_lastname="احمدی",
            track_id="t-1",
            pay_id="0123",
        ),
        Transfer(
            amount=1_000_020,
            deposit="0100123456789",
            destination_account=IBAN,
            destination_firstname="علی",
            destination_lastname="احمدی",
            track_id="t-2",
        ),
    ]
    result = await plan(path)
    assert result == Plan(product="bank", count=2, total=2_000_030, bad=(), digest=result.digest)


async def test_plan_lists_all_errors_by_row(write: Write) -> None:
    lines = table(
        [
            row(1),
            row(2, destination_account="IR062960000000100324200002"),
            row(3, amount="12.5", deposit="12"),
            row(4, track_id="", destination_firstname="\u200c"),
            row(5),
        ]
    )
    lines.insert(4, [""] * len(NAMES))  # a blank row counts, as it does in the spreadsheet
    path = write(lines)
    result = await plan(path)
    assert [(error.row, error.field) for error in result.bad] == [
        (3, "destination_account"),
        (4, "amount"),
        (4, "deposit"),
        (6, "destination_firstname"),
        (6, "track_id"),
    ]
    assert (result.count, result.total) == (2, 2_000_060)
    with pytest.raises(InvalidRows) as refused:
        await read_transfers(path)
    assert refused.value.rows == result.bad
    position = "row 3, destination_account" if path.suffix == ".csv" else "cell C3 (destination_account)"
    assert f"{position}: expected an IBAN whose check digits fit, got IR******" in str(refused.value)


async def test_plan_repeated_track_id_names_both_rows(write: Write) -> None:
    path = write(table([row(1), row(2), row(3, track_id="t-1"), row(4, track_id="t-1")]))
    assert [str(error) for error in (await plan(path)).bad] == [
        "row 4, track_id: the same as in row 2: the transfer would be paid twice",
        "row 5, track_id: the same as in row 2: the transfer would be paid twice",
    ]


async def test_plan_accepts_any_iterable() -> None:
    async def later() -> AsyncIterator[Transfer]:
        for number in range(3):
            yield Transfer(**row(number, amount=1000, pay_id=None))

    assert (await plan(later())).total == 3000
    assert (await plan([row(1, amount=1000, pay_id=None), row(2, amount=5, pay_id=None)])).total == 1005
    assert (await plan(iter([WalletTransfer(**wallet_row(1, amount=7))]))).product == "wallet"


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (7, "row 2: expected a Transfer or a WalletTransfer, got an int"),
        (WalletTransfer(**wallet_row(1, amount=7)), "row 2: a WalletTransfer among Transfers"),
        ({**row(2, amount=1000, pay_id=None), "amout": 7}, "row 2: 'amout' is not a column"),
        ({"amount": 7.5, "deposit": "0100123456789"}, "row 2, amount: expected whole Rial"),
        (row(2, amount="1000", pay_id=None), "row 2, amount: expected whole Rial"),
        (row(2, amount=1000, pay_id=None, track_id=None), "row 2, track_id: expected 1 to 64 printable"),
    ],
)
async def test_plan_invalid_item_names_position(item: Any, says: str) -> None:
    result = await plan([Transfer(**row(1, amount=1000, pay_id=None)), item])
    assert says in " ".join(map(str, result.bad))
    assert result.count == 1


async def test_plan_wrong_checksum_is_refused() -> None:
    mistyped = row(1, amount=1000, pay_id=None, destination_account="IR062960000000100324200002")
    for item in (Transfer(**mistyped), mistyped):
        assert [error.field for error in (await plan([item])).bad] == ["destination_account"]


@pytest.mark.parametrize("source", [7, {"amount": 7}, b"a.csv", None])
async def test_plan_non_iterable_is_refused(source: Any) -> None:
    with pytest.raises(InvalidValue, match="an iterable of transfers"):
        await plan(source)


async def test_plan_empty_source_is_not_ok() -> None:
    assert not (await plan([])).ok
    with pytest.raises(InvalidValue, match="one transfer or more"):
        await read_transfers([])


async def test_validated_transfers_stop_at_invalid_row() -> None:
    consumed: list[object] = []

    async def consume() -> None:
        async for transfer in validated_transfers(
            [row(1, amount=1, pay_id=None), row(2, amount=0, pay_id=None), row(3, amount=1)]
        ):
            consumed.append(transfer)

    with pytest.raises(InvalidRows):
        await consume()
    assert len(consumed) == 1


async def test_validated_transfers_changed_since_plan_raise(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row(1), row(2)]))
    planned = await plan(path)
    assert len([transfer async for transfer in validated_transfers(path, planned=planned)]) == 2
    write_csv(path, table([row(1), row(2, destination_lastname="رضایی")]))
    consumed: list[object] = []

    async def consume() -> None:
        async for transfer in validated_transfers(path, planned=planned):
            consumed.append(transfer)

    with pytest.raises(InvalidValue, match="the file was changed: plan it again"):
        await consume()
    assert len(consumed) == 2


async def test_plan_full_disk_raises_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def connect_small(*_: Any, **__: Any) -> Any:
        table = real(":memory:", isolation_level=None)
        table.execute("PRAGMA max_page_count = 3")
        return table

    monkeypatch.setattr(sqlite3, "connect", connect_small)
    with pytest.raises(StorageUnavailable, match="repeated track_ids: database or disk is full"):
        await plan([row(number, amount=1, pay_id=None) for number in range(1000)])


def test_invalid_rows_names_first_rows_and_pickles() -> None:
    error = InvalidRows([RowError(number, "amount", "too little") for number in range(2, 10)])
    assert "row 2, amount: too little; row 3" in str(error)
    assert str(error).count("too little") == 5
    assert "and 3 more" in str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.rows, str(copied)) == (error.rows, str(error))
