"""A plan says what a batch would pay, and everything that is wrong with it."""

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
    """Writes a file of either kind."""
    if request.param == "csv":
        return lambda lines: write_csv(tmp_path / "salaries.csv", lines)
    return lambda lines: write_xlsx(tmp_path / "salaries.xlsx", lines)


async def transfers(source: Any) -> list[Any]:
    return [one async for one in validated_transfers(source)]


async def one_reason(path: Path) -> str:
    """The only thing that is wrong with a file."""
    told = await plan(path)
    assert len(told.bad) == 1, told.bad
    return str(told.bad[0])


async def test_a_file_is_read_to_the_last_field(write: Write) -> None:
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
    told = await plan(path)
    assert told == Plan(product="bank", count=2, total=2_000_030, bad=(), digest=told.digest)


async def test_the_columns_say_that_it_is_the_wallet_that_pays(write: Write) -> None:
    path = write(table([wallet_row(1)], WALLET_NAMES))
    assert (await plan(path)).product == "wallet"
    assert isinstance((await transfers(path))[0], WalletTransfer)


async def test_columns_may_stand_in_any_order_and_in_other_spelling(write: Write) -> None:
    names = ["Track ID", "destination-lastname", " Destination_Firstname", "AMOUNT", "deposit", "destination account"]
    cells = ["t-1", "احمدی", "علی", "1000", "0100123456789", IBAN]
    assert [one.amount for one in await transfers(write([names, cells]))] == [1000]


async def test_persian_digits_spaces_and_thousands_are_put_right(write: Write) -> None:
    cells = row(amount="۱٬۲۳۴٬۵۶۰", deposit=" ۰۱۰۰۱۲۳۴۵۶۷۸۹ ", destination_account="ir06 2960 0000 0010 0324 2000 01")
    cells |= {"track_id": "t-۱", "pay_id": "۱۲۳"}
    read = (await transfers(write(table([cells]))))[0]
    assert (read.amount, read.deposit, read.destination_account) == (1_234_560, "0100123456789", IBAN)
    assert (read.track_id, read.pay_id) == ("t-1", "123")


@pytest.mark.parametrize("amount", ["1,000,000", "۱,۰۰۰,۰۰۰", "1000000", "\u200e1000000", "1,000\u00ad,000\u061c"])
async def test_a_whole_amount_is_taken_however_it_is_grouped(amount: str, write: Write) -> None:
    assert (await plan(write(table([row(amount=amount)])))).total == 1_000_000


@pytest.mark.parametrize(
    "amount", ["1000.5", "1000.0", "1,00", "1e6", "٫5", "-5", "0", "ten", "9" * 19, "9" * 30, "1 000"]
)
async def test_any_other_amount_is_refused(amount: str, write: Write) -> None:
    told = await plan(write(table([row(amount=amount)])))
    assert [(one.row, one.field) for one in told.bad] == [(2, "amount")]
    assert not told.ok


async def test_all_that_is_wrong_is_told_with_the_row_the_spreadsheet_shows(write: Write) -> None:
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
    told = await plan(path)
    assert [(one.row, one.field) for one in told.bad] == [
        (3, "destination_account"),
        (4, "amount"),
        (4, "deposit"),
        (6, "destination_firstname"),
        (6, "track_id"),
    ]
    assert (told.count, told.total) == (2, 2_000_060)
    with pytest.raises(InvalidRows) as refused:
        await transfers(path)
    assert refused.value.rows == told.bad
    place = "row 3, destination_account" if path.suffix == ".csv" else "cell C3 (destination_account)"
    assert f"{place}: expected an IBAN whose check digits fit, got IR******" in str(refused.value)


async def test_what_is_personal_is_masked_in_the_reasons(write: Write) -> None:
    path = write(table([row(1, destination_account="IR062960000000100324200002", destination_lastname="x" * 300)]))
    said = " ".join(map(str, (await plan(path)).bad))
    assert "IR********************0002" not in said.replace("IR" + "*" * 20 + "0002", "")
    assert "0629600000001003242" not in said
    assert "xxx" not in said


async def test_a_repeated_track_id_is_told_with_both_rows(write: Write) -> None:
    path = write(table([row(1), row(2), row(3, track_id="t-1"), row(4, track_id="t-1")]))
    assert [str(one) for one in (await plan(path)).bad] == [
        "row 4, track_id: the same as in row 2: the transfer would be paid twice",
        "row 5, track_id: the same as in row 2: the transfer would be paid twice",
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+98912", "-5", "@SUM(A1)", "  =cmd|' /C calc'!A0"])
@pytest.mark.parametrize("field", ["track_id", "destination_lastname", "pay_id"])
async def test_what_a_spreadsheet_takes_for_a_formula_is_refused(cell: str, field: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row() | {field: cell}]))
    assert "formula" in await one_reason(path)


@pytest.mark.parametrize("cell", ["1.23E+12", "1,23E+12", "1e+15"])
@pytest.mark.parametrize("field", ["track_id", "deposit", "destination_account", "pay_id"])
async def test_a_number_that_a_spreadsheet_has_rounded_is_refused(cell: str, field: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row() | {field: cell}]))
    assert "rounds long ones" in await one_reason(path)


@pytest.mark.parametrize("field", ["deposit", "destination_account", "track_id", "pay_id", "destination_firstname"])
@pytest.mark.parametrize("cell", [1_001_234, 12.5, True, date(2026, 1, 1)])
async def test_in_a_workbook_an_identifier_must_be_a_text(field: str, cell: Any, tmp_path: Path) -> None:
    said = await one_reason(write_xlsx(tmp_path / "salaries.xlsx", table([row() | {field: cell}])))
    place = f"cell {'ABCDEFG'[NAMES.index(field)]}2 ({field}): expected a "
    assert said.startswith((place + "cell of text", place + "value, got a date or time"))
    assert "1001234" not in said


async def test_in_a_workbook_a_whole_number_is_an_amount(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(1, amount=1_500_000), row(2, amount=1_500_000.0)]))
    assert (await plan(path)).total == 3_000_000


@pytest.mark.parametrize("cell", [1000.5, 2.0**60, True, date(2026, 1, 1), -3])
async def test_in_a_workbook_no_other_number_is_an_amount(cell: Any, tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(amount=cell)]))
    assert (await one_reason(path)).startswith("cell A2 (amount): expected ")


async def test_rows_of_a_workbook_have_the_numbers_it_shows(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "salaries.xlsx", table([row(1), row(2, amount="0")]), above=3)
    assert (await one_reason(path)).startswith("cell A6 (amount)")


@pytest.mark.parametrize("separator", [";", "\t"])
async def test_a_header_parted_otherwise_says_so_for_the_file(separator: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row(1)]), separator=separator)
    assert (await plan(path)).count == 1


async def test_a_text_may_hold_commas_quotes_and_line_breaks_are_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", table([row(1, destination_lastname='احمدی، "زاده", jr')]))
    assert (await transfers(path))[0].destination_lastname == 'احمدی، "زاده", jr'
    path = write_csv(tmp_path / "b.csv", table([row(1, destination_lastname="a\nb"), row(2, amount="0")]))
    assert [one.row for one in (await plan(path)).bad] == [2, 3]


async def test_cells_beyond_the_columns_are_refused_and_blank_ones_are_not(tmp_path: Path) -> None:
    lines = table([row(1), row(2)])
    lines[1] += ["", " "]
    lines[2] += ["left over"]
    said = await one_reason(write_csv(tmp_path / "salaries.csv", lines))
    assert said.startswith("row 3: the row has more cells than there are columns")


async def test_a_column_without_a_name_must_be_empty(tmp_path: Path) -> None:
    lines = [[*line, ""] for line in table([row(1), row(2)])]
    assert (await plan(write_csv(tmp_path / "a.csv", lines))).ok
    lines[2][-1] = "?"
    assert await one_reason(write_csv(tmp_path / "a.csv", lines)) == "row 3: a cell in a column without a name"


async def test_rows_may_be_shorter_than_the_header_where_fields_may_be_left_out(tmp_path: Path) -> None:
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
async def test_a_wrong_header_is_told_by_its_columns(names: Sequence[str], says: str, write: Write) -> None:
    with pytest.raises(InvalidValue) as refused:
        await plan(write(table([row(1)], names)))
    assert says in str(refused.value)
    assert refused.value.field.startswith("salaries.")


async def test_names_of_columns_that_are_close_are_not_called_missing(write: Write) -> None:
    with pytest.raises(InvalidValue) as refused:
        await plan(write(table([row(1)], ("amout", *NAMES[1:]))))
    assert refused.value.got == "'amout' is no column, did you mean amount?"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "an empty file"),
        ("a.csv", b"\xef\xbb\xbf\n\n , \n", "an empty file"),
        ("a.csv", ",".join(NAMES).encode(), "a header and no rows"),
        ("a.csv", ",".join(NAMES).encode("utf-16"), "UTF-16: save it as CSV UTF-8"),
        ("a.csv", (",".join(NAMES) + "\nعلي").encode("cp1256"), "not UTF-8"),
        ("a.csv", b"PK\x03\x04 and so on", "call it .xlsx"),
        ("a.csv", b"\xd0\xcf\x11\xe0 and so on", "save it as .xlsx"),
        ("a.csv", (",".join(NAMES) + '\n"no end').encode(), "no CSV in row 2"),
        ("a.csv", (",".join(NAMES) + "\na\x00b").encode(), ""),
        ("a.pdf", b"%PDF", "a file of kind .pdf"),
        ("a", b"amount", "a file of kind none"),
        ("a.xlsx", b"PK\x03\x04 and so on", "a workbook that cannot be read"),
        ("a.xlsx", b"amount,deposit", "a workbook that cannot be read"),
    ],
)
async def test_a_file_that_is_none_is_told_with_what_to_do(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidValue) as refused:
        await transfers(path)
    assert says in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("name", ["none.csv", "none.xlsx", "", "x.csv/none.csv"])
async def test_a_file_that_is_not_there_is_told_by_its_path(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x")
    with pytest.raises(InvalidValue) as refused:
        await plan(tmp_path / name)
    assert refused.value.executed == "no"


async def test_an_empty_workbook_is_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="an empty file"):
        await plan(write_xlsx(tmp_path / "a.xlsx", []))


async def test_transfers_and_mappings_may_come_from_any_iterable() -> None:
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
async def test_a_bad_item_of_an_iterable_is_told_by_its_place(item: Any, says: str) -> None:
    told = await plan([Transfer(**row(1, amount=1000, pay_id=None)), item])
    assert says in " ".join(map(str, told.bad))
    assert told.count == 1


async def test_checksums_are_proved_unless_that_is_not_wanted() -> None:
    mistyped = Transfer(**row(1, amount=1000, pay_id=None, destination_account="IR062960000000100324200002"))
    for source in ([mistyped], [row(1, amount=1000, pay_id=None, destination_account="IR062960000000100324200002")]):
        assert [one.field for one in (await plan(source)).bad] == ["destination_account"]
        assert (await plan(source, strict=False)).ok
    assert (await plan([{"amount": 0, **row(1, amount=0, pay_id=None)}], strict=False)).bad


@pytest.mark.parametrize("source", [7, {"amount": 7}, b"a.csv", None])
async def test_what_is_no_iterable_is_refused(source: Any) -> None:
    with pytest.raises(InvalidValue, match="an iterable of transfers"):
        await plan(source)


async def test_nothing_to_pay_is_refused_and_so_planned() -> None:
    assert not (await plan([])).ok
    with pytest.raises(InvalidValue, match="one transfer or more"):
        await transfers([])


async def test_after_a_bad_row_no_other_is_handed_on() -> None:
    taken: list[object] = []

    async def take() -> None:
        async for one in validated_transfers(
            [row(1, amount=1, pay_id=None), row(2, amount=0, pay_id=None), row(3, amount=1)]
        ):
            taken.append(one)

    with pytest.raises(InvalidRows):
        await take()
    assert len(taken) == 1


async def test_what_is_not_what_was_planned_is_refused_at_the_end(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row(1), row(2)]))
    planned = await plan(path)
    assert len([one async for one in validated_transfers(path, planned=planned)]) == 2
    write_csv(path, table([row(1), row(2, destination_lastname="رضایی")]))
    taken: list[object] = []

    async def take() -> None:
        async for one in validated_transfers(path, planned=planned):
            taken.append(one)

    with pytest.raises(InvalidValue, match="changed since"):
        await take()
    assert len(taken) == 2


async def test_a_full_disk_is_told_while_repeats_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    def small(*_: Any, **__: Any) -> Any:
        table = real(":memory:", isolation_level=None)
        table.execute("PRAGMA max_page_count = 3")
        return table

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StorageUnavailable, match="repeated track_ids: database or disk is full"):
        await plan([row(number, amount=1, pay_id=None) for number in range(1000)])


def test_the_error_names_the_first_rows_and_travels_whole() -> None:
    error = InvalidRows([RowError(number, "amount", "too little") for number in range(2, 10)])
    assert "row 2, amount: too little; row 3" in str(error)
    assert str(error).count("too little") == 5
    assert "and 3 more" in str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.rows, str(copied)) == (error.rows, str(error))
