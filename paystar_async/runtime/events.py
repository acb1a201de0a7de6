"""Events for ``on_event``, to be counted by metrics, and the logger; neither holds secrets."""

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, TextIO

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


class _FallbackHandler(logging.StreamHandler[TextIO]):
    """A handler that writes to stderr while the program has not configured logging itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record to the present stderr, unless another handler gets it."""
        if not logging.getLogger().handlers:
            self.stream = sys.stderr
            super().emit(record)


_fallback_handler = _FallbackHandler()
_fallback_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


def log_to_stderr(level: int) -> None:
    """Log from a level on: through the program's own handlers, or to stderr without any.

    Args:
        level: a level of ``logging``.
    """
    logger.logger.setLevel(level)
    logger.logger.addHandler(_fallback_handler)


@contextmanager
def replace_log_output(handler: logging.Handler) -> Generator[None]:
    """Log to a handler during the block, and not to stderr; warnings only, unless ``log_to_stderr`` set a level."""
    logs_to_stderr = _fallback_handler in logger.logger.handlers
    if not logs_to_stderr:
        handler.setLevel(logging.WARNING)
    logger.logger.removeHandler(_fallback_handler)
    logger.logger.addHandler(handler)
    try:
        yield
    finally:
        logger.logger.removeHandler(handler)
        if logs_to_stderr:
            logger.logger.addHandler(_fallback_handler)


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
