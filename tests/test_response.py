"""``paystar_async.response``: what the repr of a response shows."""

from paystar_async import Response
from paystar_async.models.identity import Match


def test_repr_shows_neither_headers_nor_body() -> None:
    response = Response(
        value=Match(is_matched=True),
        status=1,
        message="done",
        http_status=200,
        headers={"set-cookie": "session=very-secret"},
        body=b'{"iban": "IR820540102680020817909002"}',
    )
    shown = repr(response)
    assert "is_matched=True" in shown
    assert "very-secret" not in shown
    assert "IR82" not in shown
