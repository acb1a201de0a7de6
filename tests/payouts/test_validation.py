"""Test plans: reading a batch from files and iterables, and listing its errors."""

import pickle
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from paystar_async import Transfer, WalletTransfer
from paystar_async.errors import InvalidRows, InvalidValue, RowError, StorageUnavailable
from paystar_async.payouts.validation import Plan, plan, validated_transfers
from tests.payouts.files import IBAN, NAMES, WALLET_NAMES, row, table, wallet_row, write_csv, write_xlsx

Write = Callable[[Sequence[Sequence[Any]]], Path]


@pytest.fixture(params=["csv", "xlsx"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Return a function that writes a file of either kind."""
    if request.param == "csv":
        return lambda lines: write_csv(tmp_path / "salaries.csv", lines)
    return lambda lines: write_xlsx(tmp_path / "salaries.xlsx", lines)


async def transfers(source: Any) -> list[Any]:
    return [transfer async for transfer in validated_transfers(source)]


async def one_reason(path: Path) -> str:
    """Return the only error of a file."""
    result = await plan(path)
    assert len(result.bad) == 1, result.bad
    return str(result.bad[0])


async def test_plan_file_reads_every_field(write: Write) -> None:
    path = write(table([row(1, pay_id="0123"), row(2)]))
    read = await transfers(path)
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


async def test_plan_wallet_columns_are_recognised(write: Write) -> None:
    path = write(table([wallet_row(1)], WALLET_NAMES))
    assert (await plan(path)).product == "wallet"
    assert isinstance((await transfers(path))[0], WalletTransfer)


async def test_validated_transfers_accept_column_spellings(write: Write) -> None:
    names = ["Track ID", "destination-lastname", " Destination_Firstname", "AMOUNT", "deposit", "destination account"]
    cells = ["t-1", "احمدی", "علی", "1000", "0100123456789", IBAN]
    assert [transfer.amount for transfer in await transfers(write([names, cells]))] == [1000]


async def test_validated_transfers_normalize_digits(write: Write) -> None:
    cells = row(amount="۱٬۲۳۴٬۵۶۰", deposit=" ۰۱۰۰۱۲۳۴۵۶۷۸۹ ", destination_account="ir06 2960 0000 0010 0324 2000 01")
    cells |= {"track_id": "t-۱", "pay_id": "۱۲۳"}
    read = (await transfers(write(table([cells]))))[0]
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
        await transfers(path)
    assert refused.value.rows == result.bad
    position = "row 3, destination_account" if path.suffix == ".csv" else "cell C3 (destination_account)"
    assert f"{position}: expected an IBAN whose check digits fit, got IR******" in str(refused.value)


async def test_plan_reasons_mask_personal_data(write: Write) -> None:
    path = write(table([row(1, destination_account="IR062960000000100324200002", destination_lastname="x" * 300)]))
    reason = " ".join(map(str, (await plan(path)).bad))
    assert "IR********************0002" not in reason.replace("IR" + "*" * 20 + "0002", "")
    assert "0629600000001003242" not in reason
    assert "xxx" not in reason


async def test_plan_repeated_track_id_names_both_rows(write: Write) -> None:
    path = write(table([row(1), row(2), row(3, track_id="t-1"), row(4, track_id="t-1")]))
    assert [str(error) for error in (await plan(path)).bad] == [
        "row 4, track_id: the same as in row 2: the transfer would be paid twice",
        "row 5, track_id: the same as in row 2: the transfer would be paid twice",
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+98912", "-5", "@SUM(A1)", "  =cmd|' /C calc'!A0"])
@pytest.mark.parametrize("field", ["track_id", "destination_lastname", "pay_id"])
async def test_plan_formula_cell_is_refused(cell: str, field: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row() | {field: cell}]))
    assert "formula" in await one_reason(path)


@pytest.mark.parametrize("cell", ["1.23E+12", "1,23E+12", "1e+15"])
@pytest.mark.parametrize("field", ["track_id", "deposit", "destination_account", "pay_id"])
async def test_plan_rounded_number_is_refused(cell: str, field: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row() | {field: cell}]))
    assert "rounds long ones" in await one_reason(path)


@pytest.mark.parametrize("field", ["deposit", "destination_account", "track_id", "pay_id", "destination_firstname"])
@pytest.mark.parametrize("cell", [1_001_234, 12.5, True, date(2026, 1, 1)])
async def test_plan_workbook_identifier_must_be_text(field: str, cell: Any, tmp_path: Path) -> None:
    reason = await one_reason(write_xlsx(tmp_path / "salaries.xlsx", table([row() | {field: cell}])))
    position = f"cell {'ABCDEFG'[NAMES.index(field)]}2 ({field}): expected a "
    assert reason.startswith((position + "cell of text", position + "value, got a date or time"))
    assert "1001234" not in reason


async def test_plan_workbook_whole_number_is_amount(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(1, amount=1_500_000), row(2, amount=1_500_000.0)]))
    assert (await plan(path)).total == 3_000_000


@pytest.mark.parametrize("cell", [1000.5, 2.0**60, True, date(2026, 1, 1), -3])
async def test_plan_workbook_other_number_is_refused(cell: Any, tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(amount=cell)]))
    assert (await one_reason(path)).startswith("cell A2 (amount): expected ")


async def test_plan_workbook_rows_keep_their_numbers(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(1), row(2, amount="0")]), above=3)
    assert (await one_reason(path)).startswith("cell A6 (amount)")


async def test_plan_extra_cells_are_refused(tmp_path: Path) -> None:
    lines = table([row(1), row(2)])
    lines[1] += ["", " "]
    lines[2] += ["left over"]
    reason = await one_reason(write_csv(tmp_path / "salaries.csv", lines))
    assert reason.startswith("row 3: the row has more cells than there are columns")


async def test_plan_unnamed_column_must_be_empty(tmp_path: Path) -> None:
    lines = [[*line, ""] for line in table([row(1), row(2)])]
    assert (await plan(write_csv(tmp_path / "a.csv", lines))).ok
    lines[2][-1] = "?"
    assert await one_reason(write_csv(tmp_path / "a.csv", lines)) == "row 3: a cell in a column without a name"


async def test_plan_short_row_needs_required_fields(tmp_path: Path) -> None:
    lines = table([row(1), row(2)])
    lines[1].pop()
    lines[2] = lines[2][:5]
    assert (await one_reason(write_csv(tmp_path / "a.csv", lines))).startswith("row 3, track_id: expected 1 to 64")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("amout", *NAMES[1:]), "'amout' is no column, did you mean amount?"),
        ((*NAMES[:5], "trackid"), "'trackid' is no column, did you mean track_id?"),
        (NAMES[1:], "amount is missing"),
        ((*NAMES, "amount"), "amount is there twice"),
        ((*NAMES, "salary"), "'salary' is no column"),
        ((*NAMES, "Ali Ahmadi 12"), "'ali_ahmadi_12' is no column"),
        ((*NAMES, "0912 123"), "text of 8 characters is no column"),
        ((*WALLET_NAMES[1:], "amont"), "'amont' is no column, did you mean amount?"),
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
    assert refused.value.got == "'amout' is no column, did you mean amount?"


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
        (7, "row 2: expected a Transfer or a WalletTransfer, got a int"),
        (WalletTransfer(**wallet_row(1, amount=7)), "row 2: a WalletTransfer among Transfers"),
        ({**row(2, amount=1000, pay_id=None), "amout": 7}, "row 2: 'amout' is no column"),
        ({"amount": 7.5, "deposit": "0100123456789"}, "row 2, amount: expected whole Rial"),
        (row(2, amount="1000", pay_id=None), "row 2, amount: expected whole Rial"),
        (row(2, amount=1000, pay_id=None, track_id=None), "row 2, track_id: expected 1 to 64 printable"),
    ],
)
async def test_plan_invalid_item_names_position(item: Any, says: str) -> None:
    result = await plan([Transfer(**row(1, amount=1000, pay_id=None)), item])
    assert says in " ".join(map(str, result.bad))
    assert result.count == 1


async def test_plan_checksums_are_verified_if_strict() -> None:
    mistyped = Transfer(**row(1, amount=1000, pay_id=None, destination_account="IR062960000000100324200002"))
    for source in ([mistyped], [row(1, amount=1000, pay_id=None, destination_account="IR062960000000100324200002")]):
        assert [error.field for error in (await plan(source)).bad] == ["destination_account"]
        assert (await plan(source, strict=False)).ok
    assert (await plan([{"amount": 0, **row(1, amount=0, pay_id=None)}], strict=False)).bad


@pytest.mark.parametrize("source", [7, {"amount": 7}, b"a.csv", None])
async def test_plan_non_iterable_is_refused(source: Any) -> None:
    with pytest.raises(InvalidValue, match="an iterable of transfers"):
        await plan(source)


async def test_plan_empty_source_is_not_ok() -> None:
    assert not (await plan([])).ok
    with pytest.raises(InvalidValue, match="one transfer or more"):
        await transfers([])


async def test_validated_transfers_stop_at_invalid_row() -> None:
    taken: list[object] = []

    async def take() -> None:
        async for transfer in validated_transfers(
            [row(1, amount=1, pay_id=None), row(2, amount=0, pay_id=None), row(3, amount=1)]
        ):
            taken.append(transfer)

    with pytest.raises(InvalidRows):
        await take()
    assert len(taken) == 1


async def test_validated_transfers_changed_since_plan_raise(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row(1), row(2)]))
    planned = await plan(path)
    assert len([transfer async for transfer in validated_transfers(path, planned=planned)]) == 2
    write_csv(path, table([row(1), row(2, destination_lastname="رضایی")]))
    taken: list[object] = []

    async def take() -> None:
        async for transfer in validated_transfers(path, planned=planned):
            taken.append(transfer)

    with pytest.raises(InvalidValue, match="changed since"):
        await take()
    assert len(taken) == 2


async def test_plan_full_disk_raises_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def small(*_: Any, **__: Any) -> Any:
        table = real(":memory:", isolation_level=None)
        table.execute("PRAGMA max_page_count = 3")
        return table

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StorageUnavailable, match="repeated track_ids: database or disk is full"):
        await plan([row(number, amount=1, pay_id=None) for number in range(1000)])


def test_invalid_rows_names_first_rows_and_pickles() -> None:
    error = InvalidRows([RowError(number, "amount", "too little") for number in range(2, 10)])
    assert "row 2, amount: too little; row 3" in str(error)
    assert str(error).count("too little") == 5
    assert "and 3 more" in str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.rows, str(copied)) == (error.rows, str(error))
