import pytest

from paystar_async.storage.narrow import narrowed, widened


@pytest.mark.parametrize("text", ["", "plain", "علی", "a\\b", "\\u06cc", "line\nbreak", "é", "😀", "'quoted'"])
def test_widened_text_is_what_was_narrowed(text: str) -> None:
    kept = narrowed({"name": text, "count": 1, "none": None})
    assert str(kept["name"]).isascii()
    assert widened(kept) == {"name": text, "count": 1, "none": None}


@pytest.mark.parametrize("text", ["C:\\users", "é\\n", "a\\"])
def test_widened_foreign_text_is_kept(text: str) -> None:
    assert widened({"name": text}) == {"name": text}
