"""Wake events: wake all sleepers, or the next sleep."""

import asyncio

from paystar_async.runtime.clock import ManualClock
from paystar_async.runtime.wake_event import WakeEvent
from tests.support import wait_all_tasks_blocked


async def test_wake_event_set_before_sleep_wakes_once() -> None:
    event = WakeEvent(clock := ManualClock())
    event.set()
    await event.sleep(1.0)
    sleeper = asyncio.create_task(event.sleep(1.0))
    await wait_all_tasks_blocked()
    assert not sleeper.done()
    clock.advance(1.0)
    await sleeper


async def test_wake_event_set_wakes_all_sleepers() -> None:
    event = WakeEvent(ManualClock())
    sleepers = [asyncio.create_task(event.sleep(60.0)) for _ in range(3)]
    await wait_all_tasks_blocked()

    event.set()
    await asyncio.wait_for(asyncio.gather(*sleepers), 5)
