"""The Retry-After header: seconds and dates."""

from email.utils import formatdate

import pytest

from paystar_async.transport.retry_after import retry_after_seconds

NOW = 1_800_000_000.0


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (date(30), 30.0),
        (date(30).replace("GMT", "-0000"), 30.0),
        (date(30).removesuffix(" GMT"), 30.0),
        (date(0), 0.0),
        (date(-500), 0.0),
        ("Sun, 06 Nov 9999 08:49:37 GMT", pytest.approx(2.515e11, rel=0.01)),
        ("Sun, 31 Feb 2027 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
        ("", None),
        (", , ,", None),
        ("soon" * 100, None),
    ],
)
def test_retry_after_date_is_seconds_from_now(header: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": header}, NOW) == seconds


@pytest.mark.parametrize(
    ("sent_at", "seconds"), [(date(600), 30.0), (date(-600), 1230.0), (date(-(10**6)), 630.0), ("today", 630.0)]
)
def test_retry_after_date_counts_from_plausible_date(sent_at: str, seconds: float) -> None:
    assert retry_after_seconds({"retry-after": date(630), "date": sent_at}, NOW) == seconds
