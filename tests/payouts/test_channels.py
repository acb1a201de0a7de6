"""Test channels: looking up transfers, and the wallet's missing list."""

from typing import Any

import pytest

from paystar_async.models.base import Call
from paystar_async.models.transfers import FindTransfers, Settlement, TransferStatus
from paystar_async.payouts.channels import BankTransferChannel, NoListError, WalletChannel, find_each
from paystar_async.response import Response


class RecordingService:
    """A service that has one transfer of t1 and two of t2."""

    def __init__(self) -> None:
        self.calls: list[Call[Any]] = []

    async def deliver(self, value: Call[Any], *_: object) -> Response[Any]:
        self.calls.append(value)
        assert isinstance(value, FindTransfers)
        count = {"t1": 1, "t2": 2}.get(value.track_id or "", 0)
        entries = [Settlement(track_id=value.track_id, status=TransferStatus.SUCCESS)] * count
        return Response(value=entries, status="ok", message="", http_status=200, headers={}, body=b"")


async def test_find_each_returns_entries_by_track_id() -> None:
    entries = await find_each(
        BankTransferChannel(RecordingService().deliver, "app-1"), (f"t{number}" for number in range(1, 9)), timeout=1.0
    )
    assert [len(entries[f"t{number}"]) for number in range(1, 9)] == [1, 2, 0, 0, 0, 0, 0, 0]


async def test_list_of_wallet_raises_without_request() -> None:
    service = RecordingService()
    with pytest.raises(NoListError, match="wallet"):
        await WalletChannel(service.deliver, "w-1").list("", 0, 1.0)
    assert service.calls == []
