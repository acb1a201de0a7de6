"""The deadline middleware turns a timeout into a deadline."""

from typing import Any

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.middleware.deadline import DeadlineMiddleware
from tests.support import RESPONSE, Next, QuickClock, request


async def test_deadline_is_set_from_timeout() -> None:
    clock, inner = QuickClock(), Next(RESPONSE)
    clock.advance(100)

    assert await DeadlineMiddleware(clock)(request(timeout=30), inner) is RESPONSE

    assert inner.requests[0].deadline == 130
    assert inner.requests[0].time_left(clock.monotonic()) == 30


async def test_deadline_is_unchanged_by_wall_clock_jump() -> None:
    clock, inner = QuickClock(), Next(RESPONSE)
    await DeadlineMiddleware(clock)(request(timeout=30), inner)

    clock.jump(24 * 3600)

    assert inner.requests[0].time_left(clock.monotonic()) == 30


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
async def test_deadline_with_invalid_timeout_raises_before_sending(timeout: Any) -> None:
    inner = Next(RESPONSE)

    with pytest.raises(InvalidValue) as raised:
        await DeadlineMiddleware(QuickClock())(request(timeout=timeout), inner)

    assert raised.value.field == "timeout"
    assert inner.requests == []
