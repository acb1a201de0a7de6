"""The two things that can be paid out – bank transfers and wallet settlements – behind one shape."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import anyio

from paystar_async.endpoint import Response
from paystar_async.errors import InvalidValue
from paystar_async.listing import PAGE_SIZE, parse_wallet_track_id
from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settle, Settlement, Transfer
from paystar_async.models.wallet import FindWalletTransfers, SettleWallet, WalletTransfer
from paystar_async.payouts.classify import Value
from paystar_async.payouts.models import ProductName
from paystar_async.values.field_type import shown

FINDS_AT_ONCE = 4


class NoListError(LookupError):
    """Raised for a product whose transfers cannot be listed, only found by track_id: a wallet's."""


class Deliver(Protocol):
    """Sends a request value behind a fence: ``Session.deliver``."""

    async def __call__(
        self, value: Call[Any], timeout: float | None, before_send: Callable[[], None] | None = None, /
    ) -> Response[Any]:
        """Send it; ``before_send`` is called right before the first byte."""
        ...


class PayoutChannel(Protocol):
    """What payouts needs to know of what it pays out."""

    @property
    def name(self) -> ProductName:
        """``bank`` or ``wallet``."""
        ...

    @property
    def account(self) -> str:
        """The application's id, or the wallet's hashid."""
        ...

    def deposit(self, value: object) -> str:
        """The deposit account a transfer leaves; ``""`` where there is none.

        Raises:
            InvalidValue: it is no transfer of this product, or one whose track_id could be taken for another's.
        """
        ...

    def own(self, stored: str) -> str:
        """Our track_id, given one as the bank keeps it."""
        ...

    async def send(self, values: Sequence[Value], timeout: float, before_send: Callable[[], None]) -> object:
        """Send them in one call; the answer's value."""
        ...

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """What the bank has of one transfer."""
        ...

    async def list(self, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
        """Return the page of a deposit account's transfers behind ``skip`` newer ones, newest first.

        Raises:
            NoListError: the product has no list; nothing was asked, and nothing is known of what is absent.
        """
        ...


class BankTransferChannel:
    """Bank transfers of an application.

    Args:
        deliver: sends a request value behind a fence.
        account: the application's id.
    """

    name: ProductName = "bank"

    def __init__(self, deliver: Deliver, account: str) -> None:
        self._deliver, self.account = deliver, account

    def deposit(self, value: object) -> str:
        """The deposit account a transfer leaves."""
        if not isinstance(value, Transfer):
            raise InvalidValue("transfers", expected="a Transfer each", got=f"a {type(value).__name__}")
        return value.deposit

    def own(self, stored: str) -> str:
        """The bank keeps a track_id as it was sent."""
        return stored

    async def send(self, values: Sequence[Value], timeout: float, before_send: Callable[[], None]) -> object:
        """Send them in one call; what the bank says of each."""
        call = Settle(transfers=cast("Sequence[Transfer]", values))
        return (await self._deliver(call, timeout, before_send)).value

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """What the bank has of one transfer."""
        return await self._found(FindTransfers(track_id=track_id), timeout)

    async def list(self, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
        """Return the page of a deposit account's transfers behind ``skip`` newer ones."""
        return await self._found(FindTransfers(deposit=deposit, limit=PAGE_SIZE, skip=skip or None), timeout)

    async def _found(self, call: FindTransfers, timeout: float) -> Sequence[Settlement]:
        return cast("Sequence[Settlement]", (await self._deliver(call, timeout)).value)


class WalletChannel:
    """Settlements of a wallet.

    Args:
        deliver: sends a request value behind a fence.
        account: the wallet's hashid.
    """

    name: ProductName = "wallet"

    def __init__(self, deliver: Deliver, account: str) -> None:
        self._deliver, self.account = deliver, account

    def deposit(self, value: object) -> str:
        """A wallet is one account."""
        if not isinstance(value, WalletTransfer):
            raise InvalidValue("transfers", expected="a WalletTransfer each", got=f"a {type(value).__name__}")
        if self.own(value.track_id) != value.track_id:
            hint = "the service keeps a track_id as wallet*track_id*n: this one could be taken for another's"
            raise InvalidValue("track_id", expected="one of your own making", got=shown(value.track_id), hint=hint)
        return ""

    def own(self, stored: str) -> str:
        """Return the track_id that was sent, out of the form the service keeps."""
        return parse_wallet_track_id(stored, self.account)

    async def send(self, values: Sequence[Value], timeout: float, before_send: Callable[[], None]) -> object:
        """Send them in one call; that they were taken."""
        call = SettleWallet(transfers=cast("Sequence[WalletTransfer]", values))
        return (await self._deliver(call, timeout, before_send)).value

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """What the service has of one transfer."""
        answer = await self._deliver(FindWalletTransfers(track_id=track_id), timeout)
        return cast("Sequence[Settlement]", answer.value)

    async def list(self, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:  # noqa: ARG002
        """Raise NoListError: there is no list of a wallet's transfers."""
        raise NoListError("transfers of a wallet cannot be listed")


async def find_each(
    product: PayoutChannel, track_ids: Iterable[str], *, timeout: float
) -> Mapping[str, Sequence[Settlement]]:
    """Look transfers up by their track_ids, a few at once.

    Args:
        product: what is paid out.
        track_ids: those to look up.
        timeout: seconds each request may take.

    Returns:
        The entries of the response about each track_id; whose they are, each entry says itself.

    Raises:
        StatusError, NotSent, NoResponse, InvalidResponse: one could not be looked up; the others are
            not looked up any more.

    Source: GET /bank-transfer/settlement-requests, GET /wallet/settlement-requests
    """
    entries: dict[str, Sequence[Settlement]] = {}
    failures: list[Exception] = []
    remaining = iter(track_ids)

    async def look_up(scope: anyio.CancelScope) -> None:
        for track_id in remaining:
            try:
                entries[track_id] = await product.find(track_id, timeout)
            except Exception as error:  # a group would wrap it in one of its own
                failures.append(error)
                scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(FINDS_AT_ONCE):
            group.start_soon(look_up, group.cancel_scope)
    if failures:
        raise failures[0]
    return entries
