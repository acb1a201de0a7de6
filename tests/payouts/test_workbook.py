"""Test workbooks: hidden and invalid cells are never paid."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paystar_async.errors import InvalidValue
from paystar_async.payouts.validation import plan, validated_transfers
from tests.payouts.files import NAMES, row, table, write_csv, write_xlsx

NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def write_raw(path: Path, rows: str, *, before: str = "", after: str = "", prolog: str = "") -> Path:
    """Write a workbook of one sheet whose rows are this XML."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        sheets = '<sheets><sheet name="S" sheetId="1" r:id="a"/></sheets>'
        archive.writestr("xl/workbook.xml", f'<workbook xmlns="{NAMESPACE}" xmlns:r="{RELATIONS}">{sheets}</workbook>')
        relation = f'<Relationship Id="a" Type="{RELATIONS}/worksheet" Target="worksheets/s.xml"/>'
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}">{relation}</Relationships>')
        data = f"{before}<sheetData>{rows}</sheetData>{after}"
        archive.writestr("xl/worksheets/s.xml", f'{prolog}<worksheet xmlns="{NAMESPACE}">{data}</worksheet>')
    return path


def cell(value: object) -> str:
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


def xml_row(cells: Sequence[str], attributes: str = "") -> str:
    return f"<row {attributes}>{''.join(cells)}</row>"


def write_row(path: Path, replaced_cells: Mapping[str, str], attributes: str = "", **more: str) -> Path:
    """Write a sheet of one good row in which some cells are this XML."""
    good = row()
    cells = [replaced_cells.get(name) or cell(good[name]) for name in NAMES]
    return write_raw(path, xml_row([cell(name) for name in NAMES]) + xml_row(cells, attributes), **more)


ODD = (
    *(f'<c t="e"><v>{text}</v></c>' for text in ("#N/A", "#REF!", "#VALUE!", "#SPILL!", "")),
    *("<c><f>A1</f></c>", '<c t="str"><f>A1</f><v></v></c>', '<c t="b"><v>1</v></c>', '<c t="d"><v>2026-01-01</v></c>'),
    *(f"<c><v>{number}</v></c>" for number in ("5000.4", "1.1E+16", "6037990000000006", "NaN", "1e999", "-7")),
    *(cell(text) for text in ("#N/A", "########", "nan", "NULL", "Err:502", "1001.0", "1.1E+11", "TRUE", "1,001")),
)


@pytest.mark.parametrize("cell_xml", ODD)
@pytest.mark.parametrize("name", NAMES)
async def test_plan_invalid_cell_is_refused_with_its_name(name: str, cell_xml: str, tmp_path: Path) -> None:
    result = await plan(write_row(tmp_path / "a.xlsx", {name: cell_xml}))
    if name == "amount" and "1,001" in cell_xml:
        assert result.total == 1001
        return
    if (
        name.startswith("destination_")
        and "name" in name
        and ("1,001" in cell_xml or "1001.0" in cell_xml or "E+11" in cell_xml)
    ):
        return
    assert (result.ok, result.count) == (False, 0)
    assert str(result.bad[0]).startswith(f"cell {'ABCDEFG'[NAMES.index(name)]}2 ({name}): expected ")


VALUES = st.one_of(st.floats(), st.integers(), st.booleans(), st.text("0123456789.,eE+-#/٬٫ aN", max_size=24))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), value=VALUES, number=st.booleans())
async def test_plan_any_cell_is_read_exactly_or_refused(name: str, value: object, number: bool, tmp_path: Path) -> None:
    cell_xml = f"<c><v>{value}</v></c>" if number else cell(value)
    path = write_row(tmp_path / "a.xlsx", {name: cell_xml})
    result = await plan(path)
    if result.bad:
        assert (result.ok, result.bad[0].row) == (False, 2)
        return
    paid = [item async for item in validated_transfers(path)]
    expected = str(value).strip().replace(",", "").replace("\u066c", "")
    actual = getattr(paid[0], name)
    if name == "amount":
        assert actual == float(expected)
    elif actual is None:
        assert not expected
    else:
        assert str(actual).replace(",", "").replace("\u066c", "") == expected.replace(
            " ", "" if "account" in name else " "
        ) or (str(actual).replace(" ", "") == expected.replace(" ", ""))


async def test_plan_row_of_errors_is_refused(tmp_path: Path) -> None:
    for cell_xml in ODD[:7]:
        result = await plan(write_row(tmp_path / "a.xlsx", dict.fromkeys(NAMES, cell_xml)))
        assert {bad.row for bad in result.bad} == {2}


@pytest.mark.parametrize("attributes", ['hidden="1"', 'hidden="true"', 'ht="0" customHeight="1"'])
async def test_plan_hidden_row_is_refused(attributes: str, tmp_path: Path) -> None:
    result = await plan(write_row(tmp_path / "a.xlsx", {}, attributes))
    assert [str(bad) for bad in result.bad] == ["row 2: the row is hidden or filtered out: show it, or delete it"]


async def test_plan_row_hidden_by_default_is_refused(tmp_path: Path) -> None:
    rows_are_hidden = '<sheetFormatPr zeroHeight="1"/>'
    result = await plan(write_row(tmp_path / "a.xlsx", {}, before=rows_are_hidden))
    assert str(result.bad[0]).startswith("row 2: the row is hidden")
    assert (await plan(write_row(tmp_path / "b.xlsx", {}, 'hidden="0"', before=rows_are_hidden))).ok


@pytest.mark.parametrize("attribute", ['hidden="1"', 'width="0"'])
async def test_plan_hidden_column_is_refused(attribute: str, tmp_path: Path) -> None:
    before = f'<cols><col min="3" max="3" {attribute}/></cols>'
    with pytest.raises(InvalidValue, match=r"column C \(destination_account\) is hidden"):
        await plan(write_row(tmp_path / "a.xlsx", {}, before=before))


async def test_plan_merged_cells_are_refused(tmp_path: Path) -> None:
    after = '<mergeCells><mergeCell ref="G2:G3"/></mergeCells>'
    result = await plan(write_row(tmp_path / "a.xlsx", {}, after=after))
    assert str(result.bad[0]).startswith("row 2: cells G2:G3 are merged")


@pytest.mark.parametrize("reference", ["", "x", "A1:", "A0:B2", "A1:XFE1"])
async def test_plan_invalid_merged_range_is_refused(reference: str, tmp_path: Path) -> None:
    after = f'<mergeCells><mergeCell ref="{reference}"/></mergeCells>'
    with pytest.raises(InvalidValue, match="a cell"):
        await plan(write_row(tmp_path / "a.xlsx", {}, after=after))


@pytest.mark.parametrize("cell_xml", ['<c t="s"><v>-1</v></c>', '<c s="-1"><v>1000</v></c>'])
async def test_plan_negative_index_is_refused(cell_xml: str, tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", table([row()]))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = re.sub(rb'<c r="F2".*?</c>', cell_xml.replace("<c ", '<c r="F2" ').encode(), parts[sheet])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(InvalidValue, match="cannot be read"):
        await plan(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
async def test_plan_unusual_compression_is_refused(compression: int, tmp_path: Path) -> None:
    path = write_row(tmp_path / "a.xlsx", {})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(InvalidValue, match="compression"):
        await plan(path)


async def test_plan_disk_error_in_workbook_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterator[object]:
        raise OSError(5, "Input/output error")

    path = write_row(tmp_path / "a.xlsx", {})
    monkeypatch.setattr("paystar_async.payouts.workbook._SheetReader.rows", fail)
    with pytest.raises(InvalidValue, match="Input/output error"):
        await plan(path)


async def test_plan_repeated_row_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="row 1 twice"):
        await plan(write_row(tmp_path / "a.xlsx", {}, 'r="1"'))


@pytest.mark.parametrize("reference", ["A2", "B3"])
async def test_plan_cell_twice_or_of_other_row_is_refused(reference: str, tmp_path: Path) -> None:
    second = cell(row()["deposit"]).replace("<c ", f'<c r="{reference}" ')
    with pytest.raises(InvalidValue, match="a cell twice or out of order in row 2"):
        await plan(write_row(tmp_path / "a.xlsx", {"deposit": second}))


async def test_plan_two_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    """Programs differ in which of the two they show."""
    path = write_row(tmp_path / "a.xlsx", {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("xl/worksheets/s.xml", b"")
    with pytest.raises(InvalidValue, match="two parts of the same name"):
        await plan(path)


async def test_plan_document_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="a document type"):
        await plan(write_row(tmp_path / "a.xlsx", {}, prolog='<!DOCTYPE x [<!ENTITY e "1">]>'))


async def test_plan_oversized_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="a cell whose text is too long"):
        await plan(write_row(tmp_path / "a.xlsx", {"destination_firstname": cell("a" * 230_000)}))


async def test_plan_oversized_part_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paystar_async.payouts.workbook.MAX_PART_BYTES", 500)
    with pytest.raises(InvalidValue, match="too large"):
        await plan(write_row(tmp_path / "a.xlsx", {}))


@pytest.mark.parametrize("code", ["yyyy/mm/dd", "0%", '#,##0 "تومان"', "#,##0,", ";;;", "[h]:mm"])
async def test_plan_misleading_number_format_is_refused(code: str, tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", table([row(amount=45000)]))
    workbook: Any = openpyxl.load_workbook(path)
    workbook.active["A2"].number_format = code
    workbook.save(path)
    assert str((await plan(path)).bad[0]).startswith("cell A2 (amount): expected a value, got a")


def write_sheets(
    path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]], states: Mapping[str, str] | None = None
) -> Path:
    workbook: Any = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, lines in sheets.items():
        sheet = workbook.create_sheet(name)
        sheet.sheet_state = (states or {}).get(name, "visible")
        for line in lines:
            sheet.append(line)
    workbook.save(path)
    return path


async def test_plan_several_sheets_must_be_chosen(tmp_path: Path) -> None:
    path = write_sheets(tmp_path / "a.xlsx", {"Aban": table([row(1)]), "Azar": table([row(2), row(3)])})
    with pytest.raises(InvalidValue, match="several sheets: «Aban», «Azar»"):
        await plan(path)
    result = await plan(path, sheet="Azar")
    assert (result.count, result.sheet, result.rows, result.notices) == (2, "Azar", (2, 3), ("sheet «Aban»: not read",))
    with pytest.raises(InvalidValue, match="no sheet of the name «Dey»"):
        await plan(path, sheet="Dey")


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
async def test_plan_hidden_sheet_is_skipped_with_notice(state: str, tmp_path: Path) -> None:
    path = write_sheets(tmp_path / "a.xlsx", {"Aban": table([row(1)]), "Azar": table([row(2)])}, {"Aban": state})
    result = await plan(path)
    assert (result.total, result.notices) == (1_000_020, ("hidden sheet «Aban»: not read",))
    with pytest.raises(InvalidValue, match="the hidden sheet «Aban»"):
        await plan(path, sheet="Aban")


async def test_plan_sheet_of_csv_or_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no sheets"):
        await plan(write_csv(tmp_path / "a.csv", table([row(1)])), sheet="S")
    with pytest.raises(InvalidValue, match="no file"):
        await plan([row(1)], sheet="S")


async def test_plan_rows_after_gap_are_read_with_notice(tmp_path: Path) -> None:
    lines = [*table([row(1)]), *([[]] * 9), *table([row(2)])[1:]]
    result = await plan(write_sheets(tmp_path / "a.xlsx", {"S": lines}))
    assert (result.count, result.rows) == (2, (2, 12))
    assert result.notices == ("row 12 and below: read, although after a gap of empty rows",)
