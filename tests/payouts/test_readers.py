"""Test readers: CSV files and workbooks, and files that cannot be read."""

from pathlib import Path

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.payouts.validation import plan
from tests.payouts.files import (
    NAMES,
    read_transfers,
    row,
    table,
    write_csv,
    write_xlsx,
)


@pytest.mark.parametrize("separator", [";", "\t"])
async def test_plan_csv_separator_is_detected(separator: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "salaries.csv", table([row(1)]), separator=separator)
    assert (await plan(path)).count == 1


async def test_plan_csv_line_break_in_quotes_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", table([row(1, destination_lastname='احمدی، "زاده", jr')]))
    assert (await read_transfers(path))[0].destination_lastname == 'احمدی، "زاده", jr'
    path = write_csv(tmp_path / "b.csv", table([row(1, destination_lastname="a\nb"), row(2, amount="0")]))
    assert [error.row for error in (await plan(path)).bad] == [2, 3]


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
async def test_validated_transfers_wrong_file_has_hint(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidValue) as refused:
        await read_transfers(path)
    assert says in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("name", ["none.csv", "none.xlsx", "", "x.csv/none.csv"])
async def test_plan_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x")
    with pytest.raises(InvalidValue) as refused:
        await plan(tmp_path / name)
    assert refused.value.executed == "no"


async def test_plan_empty_workbook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="an empty file"):
        await plan(write_xlsx(tmp_path / "a.xlsx", []))
