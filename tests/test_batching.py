"""What a batch is made of; ``test_transfers.py`` holds what it does."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from paystar_async import Transfer
from paystar_async.batching import SLICE, Groups
from paystar_async.errors import InvalidValue, StorageUnavailable
from paystar_async.outcomes import Failed
from paystar_async.seen_track_ids import SeenTrackIds
from tests.support import Turns, transfer


async def test_groups_end_when_repeats_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise StorageUnavailable("no room")

    groups = Groups([transfer("t-0"), transfer("t-1")], 2, None)
    monkeypatch.setattr(SeenTrackIds, "add", fail)

    assert await groups.next() == ([], [])
    assert isinstance(groups.failure, StorageUnavailable)
    assert not groups.more
    groups.close()


async def test_what_a_source_gave_before_it_failed_is_told() -> None:
    def source() -> Iterator[Transfer]:
        yield transfer("t-0")
        yield transfer("t-1")
        raise LookupError("the file ends in the middle")

    with closing(Groups(source(), 5, None)) as groups:
        group, refused = await groups.next()

    assert group == []
    assert [type(one) for one in refused] == [Failed, Failed]
    assert [one.track_id for one in refused] == ["t-0", "t-1"]
    assert isinstance(groups.failure, LookupError)
    assert not groups.more


async def test_what_stands_before_one_that_is_no_transfer_is_told() -> None:
    source: list[Any] = [transfer("t-0"), "t-1", transfer("t-2")]
    with closing(Groups(source, 5, None)) as groups:
        group, refused = await groups.next()

    assert group == []
    assert [one.track_id for one in refused] == ["t-0"]
    assert isinstance(groups.failure, InvalidValue)
    assert groups.failure.field == "transfers[1]"


async def test_a_source_that_never_waits_is_read_a_slice_in_a_turn_of_the_loop() -> None:
    async with Turns() as turns:
        read: list[str] = []

        def source() -> Iterator[Transfer]:
            for number in range(3 * SLICE):
                read.append(f"t-{number}")
                yield transfer(f"t-{number}")

        done = turns.watch(read)
        with closing(Groups(source(), 3 * SLICE - 10, None)) as groups:
            group, _ = await groups.next()

    assert len(group) == 3 * SLICE - 10
    assert [len(one) for one in done if one] == [SLICE, SLICE, SLICE - 10]
