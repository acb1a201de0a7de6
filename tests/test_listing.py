"""Reading lists: the track_id in the form that a wallet's list keeps."""

from hypothesis import given
from hypothesis import strategies as st

from paystar_async.listing import own_track_id

TRACK_IDS = st.text(st.sampled_from("ab1*-"), min_size=1, max_size=12)


@given(track_id=TRACK_IDS, number=st.integers(1, 10**9), hashid=TRACK_IDS)
def test_own_track_id_of_stored_form_is_what_was_sent(track_id: str, number: int, hashid: str) -> None:
    assert own_track_id(f"{hashid}*{track_id}*{number}", hashid) == track_id


@given(stored=TRACK_IDS, number=st.integers(1, 10**9))
def test_own_track_id_of_another_wallet_is_unchanged(stored: str, number: int) -> None:
    assert own_track_id(stored, "w123") == stored
    assert own_track_id(f"w124*{stored}*{number}", "w123") == f"w124*{stored}*{number}"
