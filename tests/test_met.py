"""What a batch remembers of the track_ids it met."""

import sys
from array import array
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import met as module
from paystar_async.met import Met

TEXTS = st.lists(st.text(max_size=3))


@given(TEXTS)
def test_a_text_is_new_once(texts: list[str]) -> None:
    met = Met()
    seen: set[str] = set()
    for text in texts:
        assert met.add(text) is (text not in seen)
        seen.add(text)


def test_so_it_is_where_the_interpreters_own_hash_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sys", SimpleNamespace(hash_info=SimpleNamespace(width=32)))
    met = Met()

    assert [met.add(text) for text in ("a", "b", "a", "\ud800", "\ud800")] == [True, True, False, True, False]


def test_texts_that_share_most_of_their_number_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_number", int)
    numbers = [place << 8 for place in range(40)] + [1 << 24, 1 << 56, 0]
    met = Met()

    assert [met.add(str(number)) for number in numbers] == [True] * 42 + [False]
    assert not any(met.add(str(number)) for number in numbers)


def test_it_takes_little_more_than_six_bytes_each() -> None:
    met = Met()
    for number in range(100_000):
        assert met.add(f"salary-{number:08}")
    held: list[array[int]] = [part for both in met._buckets.values() for part in both]  # pyright: ignore[reportPrivateUsage]

    assert sum(map(len, held)) == 200_000
    assert sum(map(sys.getsizeof, held)) < 9 * 100_000
    assert not any(met.add(f"salary-{number:08}") for number in range(0, 100_000, 7))
