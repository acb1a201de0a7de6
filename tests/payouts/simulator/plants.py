"""Bugs planted into the real code, each a mistake that a payout service is known to make."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import anyio

from paystar_async.errors import Unanswered
from paystar_async.payouts import advance, decide
from paystar_async.payouts.classify import Known, Value, Verdict, classify


@contextmanager
def naive_retry() -> Generator[None]:
    """No answer? Send it again."""

    def hasty(result: object, values: Sequence[Value], own: Any, *more: Any) -> Mapping[str, Known]:
        if isinstance(result, Unanswered):
            return {one.track_id: Known(verdict=Verdict.NOT_SENT, reason="timed out") for one in values}
        return classify(result, values, own, *more)

    with patch.object(advance, "classify", hasty):
        yield


@contextmanager
def asked_once() -> Generator[None]:
    """Ask at once, and take the first "not found" at its word."""
    count = decide._count  # pyright: ignore[reportPrivateUsage]

    def hasty(held: Any, word: Any, policy: Any, at: float) -> int:
        return decide.ENOUGH_NOT_FOUNDS if word is decide.ABSENT else count(held, word, policy, at)

    with patch.object(decide, "_count", hasty):
        yield


@contextmanager
def no_fence() -> Generator[None]:
    """Once claimed, it is sent, however long that took."""

    def open_for_ever(_: advance.Fence) -> None:
        pass

    with patch.object(advance.Fence, "__call__", open_for_ever):
        yield


@contextmanager
def no_shield() -> Generator[None]:
    """Whoever stops waiting stops the work as well."""
    scope = anyio.CancelScope

    def bare(*, shield: bool) -> anyio.CancelScope:
        return scope()

    with patch.object(advance.Advancer, "advance", _at_hand), patch.object(anyio, "CancelScope", bare):
        yield


@contextmanager
def freed_when_cancelled() -> Generator[None]:
    """It was cancelled, so it was not sent."""

    def hasty(result: object, values: Sequence[Value], own: Any, *more: Any) -> Mapping[str, Known]:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            return {one.track_id: Known(verdict=Verdict.NOT_SENT, reason="cancelled") for one in values}
        return classify(result, values, own, *more)

    with patch.object(advance.Advancer, "advance", _at_hand), patch.object(advance, "classify", hasty):
        yield


async def _at_hand(self: advance.Advancer, chunk_id: str) -> float | None:
    """A step in the caller's own task."""
    return await self._step(chunk_id)  # pyright: ignore[reportPrivateUsage]


Plant = Callable[[], AbstractContextManager[None]]
PLANTS: Sequence[Plant] = (naive_retry, asked_once, no_fence, no_shield, freed_when_cancelled)
