"""Test number formats: a format that shows the number itself gives no reason to refuse the cell."""

import pytest

from paystar_async.payouts.number_formats import format_reason


@pytest.mark.parametrize("code", ["General", "0", "#,##0", '#,##0 "ریال"', "#,##0;[Red]-#,##0", "@", "#,##0.00"])
def test_format_reason_plain_number_is_empty(code: str) -> None:
    assert format_reason(164, code) == ""
