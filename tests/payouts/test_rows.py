"""Test rows: columns and cells become the fields of transfers, or errors."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from paystar_async import WalletTransfer
from paystar_async.errors import InvalidValue
from paystar_async.payouts.validation import plan
from tests.payouts.files import (
    IBAN,
    NAMES,
    WALLET_NAMES,
    Write,
    read_transfers,
    row,
    single_error,
    table,
    wallet_row,
    write_csv,
    write_xlsx,
)


async def test_plan_wallet_columns_are_recognised(write: Write) -> None:
    path = write(table([wallet_row(1)], WALLET_NAMES))
    assert (await plan(path)).product == "wallet"
    assert isinstance((await read_transfers(path))[0], WalletTransfer)


async def test_validated_transfers_accept_column_spellings(write: Write) -> None:
    names = ["Track ID", "destination-lastname", " Destination_Firstname", "AMOUNT", "deposit", "destination account"]
    cells = ["t-1", "احمدی", "علی", "1000", "0100123456789", IBAN]
    assert [transfer.amount for transfer in await read_transfers(write([names, cells]))] == [1000]


async def test_validated_transfers_normalize_digits(write: Write) -> None:
    cells = row(amount="۱٬۲۳۴٬۵۶۰", deposit=" ۰۱۰۰۱۲۳۴۵۶۷۸۹ ", destination_account="ir06 2960 0000 0010 0324 2000 01")
    cells |= {"track_id": "t-۱", "pay_id": "۱۲۳"}
    read = (await read_transfers(write(table([cells]))))[0]
    assert (read.amount, read.deposit, read.destination_account) == (1_234_560, "0100123456789", IBAN)
    assert (read.track_id, read.pay_id) == ("t-1", "123")


@pytest.mark.parametrize("amount", ["1,000,000", "۱,۰۰۰,۰۰۰", "1000000", "\u200e1000000", "1,000\u00ad,000\u061c"])
async def test_plan_grouped_amount_is_read(amount: str, write: Write) -> None:
    assert (await plan(write(table([row(amount=amount)])))).total == 1_000_000


@pytest.mark.parametrize(
    "amount", ["1000.5", "1000.0", "1,00", "1e6", "٫5", "-5", "0", "ten", "9" * 19, "9" * 30, "1 000"]
)
async def test_plan_invalid_amount_is_refused(amount: str, write: Write) -> None:
    result = await plan(write(table([row(amount=amount)])))
    assert [(error.row, error.field) for error in result.bad] == [(2, "amount")]
    assert not result.ok


async def test_plan_reasons_mask_personal_data(write: Write) -> None:
    path = write(table([row(1, destination_account="IR062960000000100324200002", destination_lastname="x" * 300)]))
    reason = " ".join(map(str, (await plan(path)).bad))
    assert "IR********************0002" not in reason.replace("IR" + "*" * 20 + "0002", "")
    assert "0629600000001003242" not in reason
    assert "xxx" not in reason


@pytest.mark.parametrize("cell", ["=1+1", "+98912", "-5", "@SUM(A1)", "  =cmd|' /C calc'!A0"])
@pytest.mark.parametrize("field", ["track_id", "destination_lastname", "pay_id"])
async def test_plan_formula_cell_is_refused(cell: str, field: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row() | {field: cell}]))
    assert "formula" in await single_error(path)


@pytest.mark.parametrize("cell", ["1.23E+12", "1,23E+12", "1e+15"])
@pytest.mark.parametrize("field", ["track_id", "deposit", "destination_account", "pay_id"])
async def test_plan_rounded_number_is_refused(cell: str, field: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row() | {field: cell}]))
    assert "rounds long ones" in await single_error(path)


@pytest.mark.parametrize("field", ["deposit", "destination_account", "track_id", "pay_id", "destination_firstname"])
@pytest.mark.parametrize("cell", [1_001_234, 12.5, True, date(2026, 1, 1)])
async def test_plan_workbook_identifier_must_be_text(field: str, cell: Any, tmp_path: Path) -> None:
    reason = await single_error(write_xlsx(tmp_path / "salaries.xlsx", table([row() | {field: cell}])))
    position = f"cell {'ABCDEFG'[NAMES.index(field)]}2 ({field}): expected a "
    assert reason.startswith((position + "cell of text", position + "value, got a date or time"))
    assert "1001234" not in reason


async def test_plan_workbook_whole_number_is_amount(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(1, amount=1_500_000), row(2, amount=1_500_000.0)]))
    assert (await plan(path)).total == 3_000_000


@pytest.mark.parametrize("cell", [1000.5, 2.0**60, True, date(2026, 1, 1), -3])
async def test_plan_workbook_other_number_is_refused(cell: Any, tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(amount=cell)]))
    assert (await single_error(path)).startswith("cell A2 (amount): expected ")


async def test_plan_workbook_rows_keep_their_numbers(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(1), row(2, amount="0")]), above=3)
    assert (await single_error(path)).startswith("cell A6 (amount)")


async def test_plan_extra_cells_are_refused(tmp_path: Path) -> None:
    lines = table([row(1), row(2)])
    lines[1] += ["", " "]
    lines[2] += ["left over"]
    reason = await single_error(write_csv(tmp_path / "salaries.csv", lines))
    assert reason.startswith("row 3: the row has more cells than there are columns")


async def test_plan_unnamed_column_must_be_empty(tmp_path: Path) -> None:
    lines = [[*line, ""] for line in table([row(1), row(2)])]
    assert (await plan(write_csv(tmp_path / "a.csv", lines))).ok
    lines[2][-1] = "?"
    assert await single_error(write_csv(tmp_path / "a.csv", lines)) == "row 3: a cell in a column without a name"


async def test_plan_short_row_needs_required_fields(tmp_path: Path) -> None:
    lines = table([row(1), row(2)])
    lines[1].pop()
    lines[2] = lines[2][:5]
    assert (await single_error(write_csv(tmp_path / "a.csv", lines))).startswith("row 3, track_id: expected 1 to 64")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("amout", *NAMES[1:]), "'amout' is not a column, did you mean amount?"),
        ((*NAMES[:5], "trackid"), "'trackid' is not a column, did you mean track_id?"),
        (NAMES[1:], "amount is missing"),
        ((*NAMES, "amount"), "amount is there twice"),
        ((*NAMES, "salary"), "'salary' is not a column: delete it"),
        ((*NAMES, "Ali Ahmadi 12"), "'ali_ahmadi_12' is not a column"),
        ((*NAMES, "0912 123"), "text of 8 characters is not a column"),
        ((*WALLET_NAMES[1:], "amont"), "'amont' is not a column, did you mean amount?"),
        (("IR062960000000100324200001", "علی"), "a first row that names none of them"),
    ],
)
async def test_plan_wrong_header_names_columns(names: Sequence[str], says: str, write: Write) -> None:
    with pytest.raises(InvalidValue) as refused:
        await plan(write(table([row(1)], names)))
    assert says in str(refused.value)
    assert refused.value.field.startswith("salaries.")


async def test_plan_similar_column_is_not_missing(write: Write) -> None:
    with pytest.raises(InvalidValue) as refused:
        await plan(write(table([row(1)], ("amout", *NAMES[1:]))))
    assert refused.value.got == "other ones: 'amout' is not a column, did you mean amount?"
