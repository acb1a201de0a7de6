"""Test headings: Persian names, Toman, and titles above the headings."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.payouts.headings import column_name
from paystar_async.payouts.validation import plan
from tests.payouts.files import NAMES, row, table, write_csv

PERSIAN = ("مبلغ", "حساب مبدا", "شماره شبا", "نام", "نام خانوادگی", "شناسه پیگیری", "شناسه واریز")


def titled(headings: Sequence[str], *above: Sequence[str], rows: int = 1) -> list[list[str]]:
    return [*map(list, above), list(headings), *table([row(number + 1) for number in range(rows)])[1:]]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        *zip(PERSIAN, NAMES, strict=True),
        *((text, "amount") for text in ("مبلغ (ریال)", "مبلغ به ریال", "مبلغ‌ریال", "Amount (Rial)", "مبلغ واریزی")),
        *((text, "destination_account") for text in ("شبا", "شماره‌ي شبا".replace("ي", ""), "شماره حساب", "حساب مقصد")),
        *((text, "destination_firstname") for text in ("نام گيرنده", "نام صاحب حساب", " نام‌ ")),
        *((text, "track_id") for text in ("شناسه پيگيري", "کد رهگيري", "شناسه\u200cپیگیری:")),
        ("حساب مبدأ", "deposit"),
        ("شمارۀ حساب مبدأ", "deposit"),
    ],
)
def test_column_name_persian_heading_is_field(heading: str, name: str) -> None:
    assert column_name(heading) == name


async def test_plan_persian_headings_below_titles_are_read(tmp_path: Path) -> None:
    lines = titled(PERSIAN, ["حقوق آذر"], ["", "شرکت نمونه"], rows=2)
    result = await plan(write_csv(tmp_path / "a.csv", lines, separator=";"))
    assert (result.count, result.rows, result.notices) == (2, (4, 5), ("rows 1 to 2 above the headings: not read",))


async def test_plan_error_names_persian_heading(tmp_path: Path) -> None:
    lines = titled(PERSIAN)
    lines[1][0] = "5000.5"
    result = await plan(write_csv(tmp_path / "a.csv", lines))
    assert str(result.bad[0]) == "row 2, مبلغ: expected whole Rial, 1 or more, got text of 6 characters"


@pytest.mark.parametrize(
    ("headings", "above", "says"),
    [
        (("مبلغ (تومان)", *PERSIAN[1:]), [], "amounts are whole Rial"),
        (("مبلغ به تومان", *PERSIAN[1:]), [], "amounts are whole Rial"),
        (("Amount (Toman)", *NAMES[1:]), [], "amounts are whole Rial"),
        ((*PERSIAN, "مبلغ تومان"), [], "amounts are whole Rial"),
        (PERSIAN, [["مبالغ به تومان است"]], "speaks of Toman"),
        ((*PERSIAN, "مبلغ (ریال)"), [], "amount is there twice"),
        ((*PERSIAN, "شبا"), [], "destination_account is there twice"),
        (("مبلغ", "حساب مبدا", "شبا", "نام و نام خانوادگی", "شناسه پیگیری"), [], "names stand in two columns"),
        (("مبلغ", "حساب مبدا", "شماره کارت", *PERSIAN[3:]), [], "not to a card"),
        (PERSIAN, [["1000", "0100123456789", "IR1", "علی", "احمدی"]], "looks like a transfer"),
    ],
)
async def test_plan_ambiguous_heading_is_refused(
    headings: Sequence[str], above: list[list[str]], says: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidValue) as refused:
        await plan(write_csv(tmp_path / "a.csv", titled(headings, *above)))
    assert says in str(refused.value)


async def test_plan_row_number_column_is_skipped_with_notice(tmp_path: Path) -> None:
    lines = [["ردیف", *PERSIAN], ["1", *titled(PERSIAN)[1]]]
    result = await plan(write_csv(tmp_path / "a.csv", lines))
    assert (result.ok, result.notices) == (True, ("column A (ردیف): not read",))


async def test_plan_windows_1256_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="Windows-1256") as refused:
        await plan(write_csv(tmp_path / "a.csv", [["مبلغ", "نام"]], encoding="cp1256"))
    assert "CSV UTF-8" in refused.value.hint
