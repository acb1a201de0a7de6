"""What the client tells ``on_event``: things a metric counts, none of them secret."""

import logging
from collections.abc import Callable
from typing import Literal

from attrs import frozen

from paystar_async.errors import ConfigurationError

_logger = logging.getLogger("paystar_async")

EventName = Literal[
    "key_refreshed",
    "key_adopted",
    "key_lost",
    "key_healed",
    "key_refresh_failed",
    "retry",
    "payouts_halted",
    "payouts_short",
    "payouts_refused",
]


@frozen(kw_only=True)
class Event:
    """Something that happened beside a call's own result.

    Attributes:
        name: what happened.
        realm: in whose realm.
        account: for which account id.
        detail: the endpoint or the reason, in words.
    """

    name: EventName
    realm: str
    account: str
    detail: str = ""


OnEvent = Callable[[Event], object]


def notifier(on_event: OnEvent | None) -> OnEvent:
    """What logs each event and hands it on; what ``on_event`` raises is logged, and the call goes on.

    Raises:
        ConfigurationError: it cannot be called.
    """
    if on_event is not None and not callable(on_event):
        raise ConfigurationError("on_event must be a function that takes an Event")

    def notify(event: Event) -> None:
        _logger.info("%s: %s %s %s", event.name, event.realm, event.account, event.detail)
        try:
            if on_event is not None:
                on_event(event)
        except Exception:
            _logger.exception("on_event raised on %s; the call goes on", event.name)

    return notify
