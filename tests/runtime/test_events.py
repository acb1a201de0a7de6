"""Events for ``on_event``: an error of the user's function fails no call."""

import pytest

from paystar_async.runtime.events import Event
from tests.support import Engine, KeyServer, QuickClock, client


async def test_on_event_that_raises_is_logged_and_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []

    def broken(event: Event) -> None:
        events.append(event)
        raise RuntimeError("no room for a metric")

    clock = QuickClock()
    server = KeyServer(clock)
    server.keys.clear()

    assert (await client(Engine(server), clock=clock, on_event=broken).wallet.balance()).total_amount == 1

    assert [event.name for event in events] == ["key_refreshed"]
    assert "on_event raised on key_refreshed; the call goes on" in caplog.text
