from typing import Any

import pytest

from paystar_async.errors import InvalidValue
from paystar_async.middleware.deadline import DeadlineMiddleware
from tests.support import RESPONSE, Next, QuickClock, request


async def test_a_timeout_becomes_the_moment_the_call_must_be_over() -> None:
    clock, rest = QuickClock(), Next(RESPONSE)
    clock.advance(100)

    assert await DeadlineMiddleware(clock)(request(timeout=30), rest) is RESPONSE

    assert rest.requests[0].deadline == 130
    assert rest.requests[0].time_left(clock.monotonic()) == 30


async def test_a_jump_of_the_wall_clock_moves_no_deadline() -> None:
    clock, rest = QuickClock(), Next(RESPONSE)
    await DeadlineMiddleware(clock)(request(timeout=30), rest)

    clock.jump(24 * 3600)

    assert rest.requests[0].time_left(clock.monotonic()) == 30


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
async def test_a_call_without_time_is_refused_before_anything_is_done(timeout: Any) -> None:
    rest = Next(RESPONSE)

    with pytest.raises(InvalidValue) as refusal:
        await DeadlineMiddleware(QuickClock())(request(timeout=timeout), rest)

    assert refusal.value.field == "timeout"
    assert rest.requests == []
