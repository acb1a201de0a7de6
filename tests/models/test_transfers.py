"""Models of transfers: generated track_ids."""

from paystar_async import new_track_id
from paystar_async.values.field_type import find_field_type
from paystar_async.values.text import TrackId


def test_new_track_id_is_unique_sorted_and_valid() -> None:
    track_ids = [new_track_id() for _ in range(2000)]
    track_id_type = find_field_type(TrackId)

    assert len(set(track_ids)) == 2000
    assert [track_id[:11] for track_id in track_ids] == sorted(track_id[:11] for track_id in track_ids)
    assert track_id_type is not None
    for track_id in track_ids[:20]:
        assert len(track_id) == 26
        assert track_id.isalnum()
        assert track_id_type.convert(track_id, "track_id") == track_id
