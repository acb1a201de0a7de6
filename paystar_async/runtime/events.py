"""Events for ``on_event``, to be counted by metrics, and the logger; neither holds secrets."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from attrs import frozen

from paystar_async.errors import ConfigurationError
from paystar_async.errors.text import visible

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class SafeLogger(_Adapter):
    """The package's logger: an error of a filter or handler never reaches the call that logs.

    Otherwise an executed call would end with a foreign exception and lose its result. Texts are logged as one line
    without control characters.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line; report an error of a filter or handler on stderr, as ``logging`` itself does."""
        if not self.isEnabledFor(level):
            return
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the caller's line, not this one
        try:
            super().log(level, msg, *map(_single_line, args), **kwargs)
        except Exception as error:
            _report_problem(error)


def _single_line(argument: object) -> object:
    return visible(str(argument)) if isinstance(argument, str | BaseException) else argument


def _report_problem(error: Exception) -> None:
    if logging.raiseExceptions and sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]
        with suppress(OSError, ValueError):
            sys.stderr.write(f"paystar_async: a logging filter or handler raised {type(error).__name__}\n")


logger = SafeLogger(logging.getLogger("paystar_async"), {})
"""The logger of the package."""

EventName = Literal[
    "key_refreshed",
    "key_reloaded",
    "refresh_token_rejected",
    "key_replaced",
    "key_refresh_failed",
    "request_retried",
    "payouts_suspended",
    "payouts_insufficient_funds",
    "payouts_unauthorized",
]


@frozen(kw_only=True)
class Event:
    """An event beside the result of a call.

    Attributes:
        name: kind of event.
        realm: realm of the account.
        account: id of the account.
        detail: the endpoint or the reason, as text.
    """

    name: EventName
    realm: str
    account: str
    detail: str = ""


OnEvent = Callable[[Event], object]


def event_notifier(on_event: OnEvent | None) -> OnEvent:
    """Return a function that logs each event and calls ``on_event``, whose errors are logged and not raised.

    Raises:
        ConfigurationError: ``on_event`` is not callable.
    """
    if on_event is not None and not callable(on_event):
        raise ConfigurationError("on_event must be a function that takes an Event")

    def notify(event: Event) -> None:
        logger.info("%s: %s %s %s", event.name, event.realm, event.account, event.detail)
        try:
            if on_event is not None:
                on_event(event)
        except Exception:
            logger.exception("on_event raised on %s; the call goes on", event.name)

    return notify
