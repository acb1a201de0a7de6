import pytest

from paystar_async.storage.narrow import is_narrow, narrow_parameters, widen_row


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII", None])
def test_is_narrow_of_an_encoding_with_all_letters_is_false(encoding: str | None) -> None:
    assert not is_narrow(encoding)


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1256", "KOI8R"])
def test_is_narrow_of_an_encoding_without_persian_is_true(encoding: str) -> None:
    assert is_narrow(encoding)


@pytest.mark.parametrize("text", ["", "plain", "علی", "a\\b", "\\u06cc", "line\nbreak", "é", "😀", "'quoted'"])
def test_widened_text_is_what_was_narrowed(text: str) -> None:
    kept = narrow_parameters({"name": text, "count": 1, "none": None})
    assert str(kept["name"]).isascii()
    assert widen_row(kept) == {"name": text, "count": 1, "none": None}


@pytest.mark.parametrize("text", ["C:\\users", "é\\n", "a\\"])
def test_widened_foreign_text_is_kept(text: str) -> None:
    assert widen_row({"name": text}) == {"name": text}
