"""What a batch remembers of the track_ids it met."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import met as module
from paystar_async.met import Met

TEXTS = st.lists(st.text(max_size=3))
SMALL = {"BUCKETS": 2, "DRAWERS": 2, "PIECE": 16, "PAGE": 32}
"""So few and so small that a handful of numbers fills them."""


@pytest.fixture
def met() -> Iterator[Met]:
    met = Met()
    yield met
    met.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Met]:
    for name, value in SMALL.items():
        monkeypatch.setattr(module, name, value)
    met = Met()
    yield met
    met.close()


def in_memory(met: Met) -> int:
    """Bytes of whole numbers that are not on the disk."""
    return sum(map(len, met._latest))  # pyright: ignore[reportPrivateUsage]


@given(TEXTS)
def test_a_text_is_new_once(texts: list[str]) -> None:
    met = Met()
    seen: set[str] = set()
    for text in texts:
        assert met.add(text) is (text not in seen)
        seen.add(text)


@given(st.lists(st.integers(0, 300), max_size=400))
def test_it_is_new_once_wherever_the_numbers_lie(numbers: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(module, name, value)
        met = Met()
        seen: set[int] = set()
        for number in numbers:
            assert met.add(str(number)) is (number not in seen)
            seen.add(number)
        met.close()


def test_so_it_is_where_the_interpreters_own_hash_is_short(met: Met, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sys", SimpleNamespace(hash_info=SimpleNamespace(width=32)))

    assert [met.add(text) for text in ("a", "b", "a", "\ud800", "\ud800")] == [True, True, False, True, False]


def test_texts_that_share_most_of_their_number_are_told_apart(small: Met, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_number", int)
    numbers = [place << 8 for place in range(40)] + [1 << 24, -1, -(1 << 62)]

    assert all(small.add(str(number)) for number in numbers)
    assert not any(small.add(str(number)) for number in numbers)
    assert in_memory(small) < 32


def test_a_hundred_thousand_take_little_more_than_two_bytes_each(met: Met) -> None:
    for number in range(100_000):
        assert met.add(f"salary-{number:08}")
    parts: list[bytes] = met._parts  # pyright: ignore[reportPrivateUsage]

    assert sum(map(len, parts)) == 200_000
    assert in_memory(met) < 256 * 512
    assert not any(met.add(f"salary-{number:08}") for number in range(0, 100_000, 7))


def test_where_nothing_can_be_written_all_stays_in_memory_until_it_can(
    small: Met, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(**_: Any) -> Any:
        raise OSError("no room on the disk")

    with monkeypatch.context() as full:
        full.setattr(module, "TemporaryFile", no_room)
        assert all(small.add(f"a-{number}") for number in range(50))
        assert in_memory(small) == 50 * 8
        assert not any(small.add(f"a-{number}") for number in range(50))

    assert all(small.add(f"b-{number}") for number in range(50))
    assert in_memory(small) < 32
    assert not any(small.add(f"{letter}-{number}") for letter in "ab" for number in range(50))


def test_a_write_that_came_halfway_is_done_again(small: Met, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(small.add(f"a-{number}") for number in range(20))
    file: Any = small._file  # pyright: ignore[reportPrivateUsage]

    class Full:
        def seek(self, place: int) -> None:
            file.seek(place)

        def write(self, data: bytes) -> int:
            return int(file.write(data[:5]))

        def read(self, size: int) -> bytes:
            return bytes(file.read(size))

    monkeypatch.setattr(small, "_file", Full())
    assert all(small.add(f"b-{number}") for number in range(20))
    monkeypatch.setattr(small, "_file", file)

    assert not any(small.add(f"{letter}-{number}") for letter in "ab" for number in range(20))


def test_a_number_that_can_no_longer_be_read_counts_as_met(small: Met, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(small.add(f"a-{number}") for number in range(20))
    file: Any = small._file  # pyright: ignore[reportPrivateUsage]
    file.truncate(0)
    assert not any(small.add(f"a-{number}") for number in range(20))

    class Broken:
        def seek(self, place: int) -> None:
            raise OSError("input/output error")

    monkeypatch.setattr(small, "_file", Broken())
    assert not any(small.add(f"a-{number}") for number in range(20))
    monkeypatch.setattr(small, "_file", file)
