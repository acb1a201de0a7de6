"""Escaped text for databases whose encoding lacks letters."""

import pytest

from paystar_async.storage.narrow import is_narrow, narrow_parameters, widen_row


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII", None])
def test_is_narrow_unicode_encoding_is_false(encoding: str | None) -> None:
    assert not is_narrow(encoding)


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1256", "KOI8R"])
def test_is_narrow_encoding_without_persian_is_true(encoding: str) -> None:
    assert is_narrow(encoding)


@pytest.mark.parametrize("text", ["", "plain", "علی", "a\\b", "\\u06cc", "line\nbreak", "é", "😀", "'quoted'"])
def test_widen_row_restores_narrowed_text(text: str) -> None:
    narrowed = narrow_parameters({"name": text, "count": 1, "none": None})
    assert str(narrowed["name"]).isascii()
    assert widen_row(narrowed) == {"name": text, "count": 1, "none": None}


@pytest.mark.parametrize("text", ["C:\\users", "é\\n", "a\\"])
def test_widen_row_foreign_text_is_unchanged(text: str) -> None:
    assert widen_row({"name": text}) == {"name": text}
