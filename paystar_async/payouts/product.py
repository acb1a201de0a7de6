"""The two things that can be paid out – bank transfers and wallet settlements – behind one shape."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from paystar_async.endpoint import Response
from paystar_async.models.base import Call
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.classify import Value
from paystar_async.payouts.records import ProductName


class Deliver(Protocol):
    """Sends a request value behind a fence: ``Paystar._deliver``."""

    async def __call__(
        self, value: Call[Any], timeout: float | None, before_send: Callable[[], None] | None = None, /
    ) -> Response[Any]:
        """Send it; ``before_send`` is called right before the first byte."""
        ...


class Product(Protocol):
    """What payouts needs to know of what it pays out."""

    name: ProductName
    account: str

    def deposit(self, value: Value) -> str:
        """The deposit account a transfer leaves; ``""`` where there is none."""
        ...

    def matches(self, stored: str, track_id: str) -> bool:
        """Whether a track_id as the bank keeps it is that of a transfer."""
        ...

    async def send(self, values: Sequence[Value], timeout: float, before_send: Callable[[], None]) -> object:
        """Send them in one call; the answer's value."""
        ...

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """What the bank has of one transfer."""
        ...

    async def list(self, deposit: str, limit: int, skip: int, timeout: float) -> Sequence[Settlement] | None:
        """The newest transfers of a deposit account; None where the bank has no such list."""
        ...


class Bank:
    """Bank transfers of an application.

    Args:
        deliver: sends a request value behind a fence.
        account: the application's id.
    """

    name: ProductName = "bank"

    def __init__(self, deliver: Deliver, account: str) -> None:
        self._deliver, self.account = deliver, account


class WalletPayouts:
    """Settlements of a wallet.

    Args:
        deliver: sends a request value behind a fence.
        account: the wallet's hashid.
    """

    name: ProductName = "wallet"

    def __init__(self, deliver: Deliver, account: str) -> None:
        self._deliver, self.account = deliver, account
