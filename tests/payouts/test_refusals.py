"""Test refusals: a refused call of several transfers may have executed some, which are looked up first."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from paystar_async.errors import ApplicationInactive, IpNotAllowed, PaystarError, StatusError
from paystar_async.errors import InsufficientBalance as NoMoney
from paystar_async.errors import InvalidInput as Invalid
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger import observations, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Backend
from tests.payouts.bank import Act, FakeBank, PayoutFixture, each, execute, raising, responding, transfers

POLICY = Policy(chunk=4, quiet_window=100.0)
SPACING = POLICY.not_found_interval
REFUSALS = [NoMoney(9, "no money"), Invalid(10, "bad"), IpNotAllowed(7, "not from there"), ApplicationInactive(3, "x")]


def entry(track_id: str | None, status: str, **more: Any) -> Settlement:
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)


def no_entries(_: str | None) -> object:
    return []


def fail_look_up(_: str | None) -> object:
    raise OSError("no response")


def execute_and_refuse(error: PaystarError, count: int) -> Act:
    """Return an act that executes the first ``count`` transfers and raises a refusal."""

    def act(bank: FakeBank, values: list[AnyTransfer]) -> object:
        bank.execute(values[:count])
        raise error

    return act  # type: ignore[return-value]


async def run_due_chunks(payout: PayoutFixture, backend: Backend, seconds: float) -> None:
    """Advance chunks that become due within ``seconds``, as a dispatcher would."""
    while due := await payout.worker.due():
        chunk, at = due[0]
        pause = max(0.0, at - await payout.ledger.time()) + 0.001
        seconds -= pause
        if seconds < 0:
            return
        backend.advance_clock(pause)
        await payout.worker.advance(chunk)


async def send_refused(payout: PayoutFixture, act: Act, count: int = 4) -> str:
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(count)), policy=POLICY)
    payout.bank.script.append(act)
    [chunk] = await payout.chunks()
    await payout.worker.advance(chunk)
    return chunk


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
async def test_advance_refused_call_is_unknown_until_looked_up(
    backend: Backend, payout: PayoutFixture, error: StatusError
) -> None:
    await send_refused(payout, execute_and_refuse(error, 2))
    assert await payout.states() == ["unknown"] * 4
    await run_due_chunks(payout, backend, SPACING - 1)
    assert payout.bank.look_ups == []  # the bank's list may lag behind its refusal
    assert await updates.resume(payout.ledger, "bank", "app-1") == 0
    await run_due_chunks(payout, backend, 500)
    await updates.resume(payout.ledger, "bank", "app-1")
    await run_due_chunks(payout, backend, 500)
    assert await payout.states() == ["success"] * 4
    assert set(payout.bank.executed.values()) == {1}


@pytest.mark.parametrize("resume_first", [True, False])
async def test_advance_no_funds_pauses_only_unlisted(
    backend: Backend, payout: PayoutFixture, resume_first: bool
) -> None:
    """``resume`` is kept if it comes before the look-up, and sends only unsent transfers."""
    await send_refused(payout, execute_and_refuse(NoMoney(9, "no money"), 1))
    if resume_first:
        assert await updates.resume(payout.ledger, "bank", "app-1") == 0
        await run_due_chunks(payout, backend, 60)
    else:
        await run_due_chunks(payout, backend, 60)
        assert await payout.states() == ["success"] + ["paused_funds"] * 3
        assert await updates.resume(payout.ledger, "bank", "app-1") == 3
        await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["success"] * 4
    assert payout.bank.calls == [[f"t-0000{number}" for number in range(4)], ["t-00001", "t-00002", "t-00003"]]


async def test_advance_no_funds_waits_for_resume_beside_pending(backend: Backend, payout: PayoutFixture) -> None:
    """A pending transfer delays no other transfer of its chunk."""
    payout.bank.status = TransferStatus.PENDING
    await send_refused(payout, execute_and_refuse(NoMoney(9, "no money"), 1))
    await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["pending"] + ["paused_funds"] * 3
    payout.bank.status = TransferStatus.SUCCESS
    assert await updates.resume(payout.ledger, "bank", "app-1") == 3
    await run_due_chunks(payout, backend, 1)
    assert await payout.states() == ["pending"] + ["success"] * 3


async def test_rejected_transfer_fails_without_its_chunk(backend: Backend, payout: PayoutFixture) -> None:
    def refuse_invalid(bank: FakeBank, values: list[AnyTransfer]) -> object:
        if any(value.track_id == "t-00002" for value in values):
            raise Invalid(10, "bad", fields={"destination_account": ["no such account"]})
        return bank.execute(values)

    payout.bank.script.extend([refuse_invalid] * 5)  # type: ignore[list-item]
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(4)), policy=POLICY)
    await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["success", "success", "failed", "success"]
    assert payout.bank.executed == {"t-00000": 1, "t-00001": 1, "t-00003": 1}
    assert [len(call) for call in payout.bank.calls] == [4, 1, 1, 1, 1]


async def test_advance_partial_look_up_decides_rest_later(backend: Backend, payout: PayoutFixture) -> None:
    await send_refused(payout, execute_and_refuse(NoMoney(9, "no money"), 0))
    part: list[Callable[[str | None], object]] = [
        no_entries,
        no_entries,
        fail_look_up,
    ]  # the list, and the first two of four
    payout.bank.finds.extend(part)
    await run_due_chunks(payout, backend, SPACING + 1)
    assert sorted(await payout.states()) == ["paused_funds", "unknown", "unknown", "unknown"]
    await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["paused_funds"] * 4
    assert await updates.resume(payout.ledger, "bank", "app-1") == 4
    await run_due_chunks(payout, backend, 1)
    assert set(payout.bank.executed.values()) == {1}


async def test_advance_look_up_without_response_is_retried(backend: Backend, payout: PayoutFixture) -> None:
    await send_refused(payout, execute_and_refuse(NoMoney(9, "no money"), 4))
    payout.bank.finds.extend([fail_look_up] * 6)
    await run_due_chunks(payout, backend, SPACING + 1)
    assert await payout.states() == ["unknown"] * 4
    await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["success"] * 4
    assert len(payout.bank.calls) == 1


@pytest.mark.parametrize(
    "entries", [[entry("other", "success")], [entry(None, "success")], [entry("t-00000", "queued")]]
)
async def test_advance_inconclusive_look_up_sends_nothing(
    backend: Backend, payout: PayoutFixture, entries: list[Settlement]
) -> None:
    """An entry of another transfer, or with an unknown status, is not "not found"."""
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(2)), policy=POLICY)
    payout.bank.script.append(execute_and_refuse(Invalid(10, "bad"), 2))
    payout.bank.finds.append(lambda _: entries)
    payout.bank.finds.append(lambda _: entries)
    await run_due_chunks(payout, backend, SPACING + 0.5)
    assert len(payout.bank.calls) == 1
    await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["success"] * 2
    assert set(payout.bank.executed.values()) == {1}


async def test_advance_refused_single_transfer_fails(payout: PayoutFixture) -> None:
    await send_refused(payout, raising(Invalid(10, "bad")), count=1)
    assert await payout.states() == ["failed"]
    assert payout.bank.look_ups == []


@pytest.mark.parametrize(
    ("listed", "ends"),
    [
        ([("success", "first")], "success"),
        ([("failed", "second"), ("success", "first")], "success"),
        ([("pending", "first")], "pending"),
        ([("failed", "second")], "failed"),
        ([], "failed"),
    ],
)
async def test_advance_failed_response_is_looked_up_first(
    backend: Backend, payout: PayoutFixture, listed: list[tuple[str, str]], ends: str
) -> None:
    """After a failover, a bank that refuses repeats reports "failed" for a transfer it has paid."""
    failed_entry = entry("t-00000", "failed", hashid="second", message="duplicate track_id")
    await send_refused(payout, responding(failed_entry), count=1)
    assert await payout.states() == ["unknown"]
    entries = [entry("t-00000", status, hashid=name) for status, name in listed]
    payout.bank.finds.append(lambda _: entries)
    await run_due_chunks(payout, backend, 1.5)
    assert await payout.states() == [ends]
    record = await payout.record()
    assert record.reason == ("duplicate track_id" if ends == "failed" else "")


async def test_advance_refused_again_is_looked_up(backend: Backend, payout: PayoutFixture) -> None:
    """The bank may list the first attempt late: a second look-up comes before ``failed``."""
    await send_refused(payout, raising(Invalid(10, "bad")), count=2)
    payout.bank.script.extend([execute, raising(Invalid(10, "bad"), executed=True)])
    await run_due_chunks(payout, backend, 60)
    assert await payout.states() == ["success"] * 2


async def send_with_late_response(
    payout: PayoutFixture, backend: Backend, late_entry: Settlement
) -> tuple[PayoutFixture, Callable[[], Awaitable[object]]]:
    """Return another process, and a function that delivers a response whose lease has expired."""
    sent, response_allowed = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        sent.set()
        await response_allowed.wait()

    payout.bank.on_response = wait
    await insert_batch(payout.ledger, payout.channel, "b", each(transfers(1)), policy=POLICY)
    payout.bank.script.append(responding(late_entry))
    [chunk] = await payout.chunks()
    task = asyncio.create_task(payout.worker.advance(chunk))
    await sent.wait()
    payout.bank.on_response = None
    backend.advance_clock(41)
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    await other.worker.advance(chunk)

    async def deliver_response() -> None:
        response_allowed.set()
        await task

    return other, deliver_response


def duplicate(hashid: str | None = "second") -> Settlement:
    return entry("t-00000", "failed", hashid=hashid, message="duplicate track_id")


@pytest.mark.parametrize("hashid", ["", "first"])
async def test_apply_late_response_failed_keeps_success(backend: Backend, payout: PayoutFixture, hashid: str) -> None:
    """A bank that refuses repeats reports "failed" for a transfer paid before the ledger was restored."""
    other, deliver_response = await send_with_late_response(payout, backend, duplicate(hashid and "second"))
    payout.bank.finds.append(lambda _: [entry("t-00000", "success", hashid=hashid)])
    await other.worker.advance((await payout.chunks())[0])
    assert await payout.states() == ["success"]
    await deliver_response()
    assert await payout.states() == ["success"]


@pytest.mark.parametrize("listed", ["success", None])
async def test_apply_late_response_failed_is_looked_up(
    backend: Backend, payout: PayoutFixture, listed: str | None
) -> None:
    other, deliver_response = await send_with_late_response(payout, backend, duplicate())
    assert await payout.states() == ["unknown"]
    await deliver_response()
    assert await payout.states() == ["unknown"]
    entries = [duplicate(), entry("t-00000", listed, hashid="first")] if listed else []
    payout.bank.finds.append(lambda _: entries)
    await run_due_chunks(other, backend, 2)
    assert await payout.states() == [listed or "failed"]


async def test_advance_failed_repeat_takes_pending_entry(backend: Backend, payout: PayoutFixture) -> None:
    await send_refused(payout, responding(duplicate()), count=1)
    payout.bank.finds.append(lambda _: [duplicate(), entry("t-00000", "pending", hashid="first")])
    await run_due_chunks(payout, backend, 1.5)
    assert await payout.states() == ["pending"]
    payout.bank.finds.append(lambda _: [duplicate()])
    await run_due_chunks(payout, backend, 1.5)
    assert await payout.states() == ["pending"]  # that entry is of the repeat alone
    payout.bank.finds.append(lambda _: [duplicate(), entry("t-00000", "failed", hashid="first")])
    await run_due_chunks(payout, backend, 3)
    assert await payout.states() == ["failed"]


async def test_advance_failed_repeat_keeps_success(backend: Backend, payout: PayoutFixture) -> None:
    """The bank reports no hashids."""
    nameless = duplicate(None)
    await send_refused(payout, responding(nameless), count=1)
    payout.bank.finds.append(lambda _: [entry("t-00000", "success")])
    await run_due_chunks(payout, backend, 1.5)
    await observations.apply_observations(payout.ledger, payout.channel, [nameless])
    assert await payout.states() == ["success"]
