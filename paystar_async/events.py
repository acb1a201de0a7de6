"""What the client tells ``on_event``: things a metric counts, none of them secret."""

from collections.abc import Callable
from typing import Literal

from attrs import frozen

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
