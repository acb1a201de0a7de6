"""httpx's connection pool, and another one once it has lost slots.

httpcore loses a slot for ever when a call is cancelled at certain moments: its shields hold against a scope of anyio,
not against a task's own ``cancel``. With the limiter in front no call ever waits for a slot, so one that has to is the
sign that slots were lost: then the pool is given up, and closed when its last call has ended.
"""

import httpx
from attrs import define

PATIENCE = 0.5
"""Seconds a call may wait for a slot before the pool counts as broken."""


@define(eq=False)
class Pool:
    """One pool, and how many calls are in it.

    Attributes:
        transport: what carries the calls.
        calls: how many are under way.
        broken: whether it takes no more of them.
    """

    transport: httpx.AsyncBaseTransport
    calls: int = 0
    broken: bool = False


class Pools:
    """The pool in use; those that were given up live until their last call has ended.

    Args:
        connections: how many connections a pool holds.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._pool: Pool | None = None

    def enter(self) -> Pool:
        """The pool to use, until ``leave``."""
        if self._pool is None:
            self._pool = Pool(_stock(self._connections))
        self._pool.calls += 1
        return self._pool

    async def leave(self, pool: Pool) -> None:
        """A call has ended."""
        pool.calls -= 1
        if pool.broken and not pool.calls:
            await pool.transport.aclose()

    def give_up(self, pool: Pool) -> None:
        """It has lost slots: the next call gets another."""
        pool.broken = True
        if self._pool is pool:
            self._pool = None

    async def aclose(self) -> None:
        """Close the pool in use."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.transport.aclose()


def _stock(connections: int) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30.0)
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits, retries=0)
