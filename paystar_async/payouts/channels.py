"""Payout channels: one interface for bank transfers and wallet settlements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import anyio

from paystar_async.errors import InvalidValue
from paystar_async.listing import PAGE_SIZE, parse_wallet_track_id
from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settle, Settlement, Transfer
from paystar_async.models.wallet import FindWalletTransfers, SettleWallet, WalletTransfer
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.models import ProductName
from paystar_async.response import Response
from paystar_async.values.field_type import short_repr

MAX_CONCURRENT_FINDS = 4


class NoListError(LookupError):
    """Raised for a channel whose transfers can be found by track_id but not listed: the wallet's."""


class Deliver(Protocol):
    """A function that sends a request and calls ``before_send`` right before the first byte."""

    async def __call__(
        self, value: Call[Any], timeout: float | None, before_send: Callable[[], None] | None = None, /
    ) -> Response[Any]:
        """Send a request; call ``before_send`` right before the first byte."""
        ...


class PayoutChannel(Protocol):
    """A channel through which transfers are paid and looked up."""

    @property
    def name(self) -> ProductName:
        """Return ``bank`` or ``wallet``."""
        ...

    @property
    def account(self) -> str:
        """Return the application's id, or the wallet's hashid."""
        ...

    def deposit(self, value: object) -> str:
        """Return the deposit account of a transfer; ``""`` if the channel has none.

        Raises:
            InvalidValue: the value is not a transfer of this channel, or its track_id is ambiguous.
        """
        ...

    def sent_track_id(self, stored: str) -> str:
        """Return the track_id that was sent, given the track_id that the bank stores."""
        ...

    async def send(self, values: Sequence[AnyTransfer], timeout: float, before_send: Callable[[], None]) -> object:
        """Send transfers in one call; return the response's value."""
        ...

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """Return the bank's entries of a transfer."""
        ...

    async def list(self, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
        """Return the page of a deposit account's transfers after the ``skip`` newest, newest first.

        Raises:
            NoListError: the channel has no list; no request was sent.
        """
        ...


class BankTransferChannel:
    """Bank transfers of an application.

    Args:
        deliver: sends a request; see Deliver.
        account: the application's id.
    """

    name: ProductName = "bank"

    def __init__(self, deliver: Deliver, account: str) -> None:
        self._deliver, self.account = deliver, account

    def deposit(self, value: object) -> str:
        """Return the deposit account of a transfer."""
        if not isinstance(value, Transfer):
            raise InvalidValue("transfers", expected="a Transfer each", got=f"a {type(value).__name__}")
        return value.deposit

    def sent_track_id(self, stored: str) -> str:
        """Return the same track_id: the bank stores track_ids unchanged."""
        return stored

    async def send(self, values: Sequence[AnyTransfer], timeout: float, before_send: Callable[[], None]) -> object:
        """Send transfers in one call; return the bank's entry of each."""
        call = Settle(transfers=cast("Sequence[Transfer]", values))
        return (await self._deliver(call, timeout, before_send)).value

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """Return the bank's entries of a transfer."""
        return await self._find(FindTransfers(track_id=track_id), timeout)

    async def list(self, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:
        """Return the page of a deposit account's transfers after the ``skip`` newest."""
        return await self._find(FindTransfers(deposit=deposit, limit=PAGE_SIZE, skip=skip or None), timeout)

    async def _find(self, call: FindTransfers, timeout: float) -> Sequence[Settlement]:
        return cast("Sequence[Settlement]", (await self._deliver(call, timeout)).value)


class WalletChannel:
    """Settlements of a wallet.

    Args:
        deliver: sends a request; see Deliver.
        account: the wallet's hashid.
    """

    name: ProductName = "wallet"

    def __init__(self, deliver: Deliver, account: str) -> None:
        self._deliver, self.account = deliver, account

    def deposit(self, value: object) -> str:
        """Return ``""``: a wallet has no deposit accounts."""
        if not isinstance(value, WalletTransfer):
            raise InvalidValue("transfers", expected="a WalletTransfer each", got=f"a {type(value).__name__}")
        if self.sent_track_id(value.track_id) != value.track_id:
            hint = "the service stores a track_id as wallet*track_id*n: this one would be ambiguous"
            raise InvalidValue(
                "track_id",
                expected="a track_id not in the form that the service stores",
                got=short_repr(value.track_id),
                hint=hint,
            )
        return ""

    def sent_track_id(self, stored: str) -> str:
        """Return the track_id that was sent, given the form that the service stores."""
        return parse_wallet_track_id(stored, self.account)

    async def send(self, values: Sequence[AnyTransfer], timeout: float, before_send: Callable[[], None]) -> object:
        """Send transfers in one call; return Accepted."""
        call = SettleWallet(transfers=cast("Sequence[WalletTransfer]", values))
        return (await self._deliver(call, timeout, before_send)).value

    async def find(self, track_id: str, timeout: float) -> Sequence[Settlement]:
        """Return the service's entries of a transfer."""
        response = await self._deliver(FindWalletTransfers(track_id=track_id), timeout)
        return cast("Sequence[Settlement]", response.value)

    async def list(self, deposit: str, skip: int, timeout: float) -> Sequence[Settlement]:  # noqa: ARG002
        """Raise NoListError: the transfers of a wallet cannot be listed."""
        raise NoListError("transfers of a wallet cannot be listed")


async def find_each(
    channel: PayoutChannel, track_ids: Iterable[str], *, timeout: float
) -> Mapping[str, Sequence[Settlement]]:
    """Look up transfers by their track_ids, at most ``MAX_CONCURRENT_FINDS`` at once.

    Args:
        channel: the channel of the transfers.
        track_ids: the track_ids to look up.
        timeout: seconds each request may take.

    Returns:
        The response's entries for each track_id; the caller checks that they are about it.

    Raises:
        StatusError, NotSent, NoResponse, InvalidResponse: a look-up failed; the remaining track_ids are not looked up.

    Source: GET /bank-transfer/settlement-requests, GET /wallet/settlement-requests
    """
    entries: dict[str, Sequence[Settlement]] = {}
    failures: list[Exception] = []
    remaining = iter(track_ids)

    async def look_up(scope: anyio.CancelScope) -> None:
        for track_id in remaining:
            try:
                entries[track_id] = await channel.find(track_id, timeout)
            except Exception as error:  # the task group would wrap the error in a group
                failures.append(error)
                scope.cancel()
                return

    async with anyio.create_task_group() as group:
        for _ in range(MAX_CONCURRENT_FINDS):
            group.start_soon(look_up, group.cancel_scope)
    if failures:
        raise failures[0]
    return entries
