"""Errors of ours as answers to a shop's own client: what happened, whether it may be repeated, and no more."""

import math
from collections.abc import Mapping

from attrs import field, frozen

from paystar_async.errors import (
    BadAnswer,
    ConfigurationError,
    InvalidValue,
    NotSent,
    OrderConflict,
    PaystarError,
    StatusError,
    StorageError,
    TrackIdConflict,
    Unanswered,
    UnknownOrder,
)
from paystar_async.events import logger

_ANSWERS: tuple[tuple[type[PaystarError], int, str], ...] = (
    (OrderConflict, 409, "This order is paid, or was made with another amount"),
    (UnknownOrder, 404, "There is no such order"),
    (InvalidValue, 422, "A value has not the shape it must have"),
    (TrackIdConflict, 409, "This was asked for before, with other contents"),
    (ConfigurationError, 500, "The payment service is not set up"),
    (StorageError, 503, "The payment service cannot work now"),
    (NotSent, 503, "The payment service cannot be reached"),
    (Unanswered, 504, "The payment service did not answer"),
    (BadAnswer, 502, "The payment service gave no clear answer"),
    (StatusError, 502, "The payment service refused"),
)


@frozen
class Answer:
    """An HTTP answer in JSON."""

    status: int
    body: Mapping[str, object]
    headers: dict[str, str] = field(factory=dict[str, str])


def answer_to(error: Exception, where: str) -> Answer:
    """The answer to an error, which is logged here.

    Args:
        error: what was raised.
        where: the shop's own method and path, for the log.

    Returns:
        ``{"detail", "executed"}`` and for a wrong value its ``field`` and what was ``expected``; ``executed`` is
        ``"maybe"`` where somebody must ask before anything is done again. Neither Paystar's message nor any value is
        in it.
    """
    status, detail = next(((http, text) for kind, http, text in _ANSWERS if isinstance(error, kind)), (500, "Error"))
    executed = error.executed if isinstance(error, PaystarError) else "maybe"
    body: dict[str, object] = {"detail": detail, "executed": executed}
    if isinstance(error, InvalidValue):
        body |= {"field": error.field, "expected": error.expected}
        logger.info("%s: %s", where, error)
    else:
        logger.error("%s: %s: %s", where, type(error).__name__, error)
    seconds = getattr(error, "retry_after", None)
    return Answer(status, body, {} if seconds is None else {"retry-after": str(math.ceil(seconds))})
