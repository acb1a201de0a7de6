"""Test the worker: sends, status checks, holds and limits, on each backend."""

import asyncio

import pytest

from paystar_async.errors import (
    ApplicationInactive,
    ConfigurationError,
    ExpiredToken,
    InsufficientBalance,
    InvalidInput,
    InvalidResponse,
    NoResponse,
    NotSent,
    ServerFault,
    StatusError,
)
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.ledger import observations, queries, updates
from paystar_async.payouts.ledger.insert import insert_batch
from paystar_async.payouts.ledger.leases import load_chunk
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Backend
from tests.payouts.bank import DEPOSIT, PayoutFixture, each, raising, responding, transfer, transfers, wallet_transfer

PENDING, FAILED = TransferStatus.PENDING, TransferStatus.FAILED


async def plan_batch(payout: PayoutFixture, count: int = 3, batch_id: str = "b", **policy: object) -> list[str]:
    await insert_batch(payout.ledger, payout.channel, batch_id, each(transfers(count)), policy=Policy(**policy))  # type: ignore[arg-type]
    return await payout.chunks(batch_id)


async def advance_when_due(payout: PayoutFixture, backend: Backend, chunk: str, times: int = 1) -> None:
    """Advance a chunk each time it is due, as a dispatcher would."""
    for _ in range(times):
        due = await payout.worker.advance(chunk)
        if due is None:
            return
        backend.advance_clock(max(0.0, due - await payout.ledger.time()) + 0.001)


async def test_advance_planned_chunk_is_sent_once(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    assert await payout.worker.advance(chunk) is None
    assert await payout.states() == ["success"] * 3
    assert payout.bank.calls == [["t-00000", "t-00001", "t-00002"]]
    assert await payout.causes("t-00001") == ["submit", "intent", "response"]
    record = await payout.record("t-00001")
    assert (record.ref_code, record.hashid, record.attempt) == ("r-t-00001", "h-t-00001", 1)


async def test_advance_repeated_sends_nothing_more(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    for _ in range(5):
        assert await payout.worker.advance(chunk) is None
    assert payout.bank.executed == {f"t-0000{number}": 1 for number in range(3)}


async def test_advance_unknown_chunk_is_noop(payout: PayoutFixture) -> None:
    assert await payout.worker.advance("nothing.0000000") is None


async def test_advance_concurrent_calls_send_once(backend: Backend, payout: PayoutFixture) -> None:
    chunks = await plan_batch(payout, 12, chunk=2, concurrency=100)
    other_processes = [PayoutFixture(backend.ledger(), backend.clock, payout.bank) for _ in range(3)]
    payout.bank.on_send = lambda: asyncio.sleep(0)
    await asyncio.gather(*(process.worker.advance(chunk) for chunk in chunks for process in (payout, *other_processes)))
    assert payout.bank.executed == {f"t-{number:05d}": 1 for number in range(12)}
    assert await payout.states() == ["success"] * 12


async def test_advance_records_sending_before_request(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    states: list[str] = []

    def record_states() -> None:
        states.extend(state for (state,) in backend.sql("SELECT state FROM paystar_payout_transfers"))

    payout.bank.on_send = record_states
    await payout.worker.advance(chunk)
    assert states == ["sending"] * 3


async def test_send_deadline_expired_sends_nothing(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    payout.bank.on_send = lambda: payout.clock.advance(5.0)
    due = await payout.worker.advance(chunk)
    assert due is not None
    assert payout.bank.executed == {}
    assert await payout.states() == ["planned"] * 3
    assert await payout.causes("t-00000") == ["submit", "intent", "not_sent"]


async def test_send_deadline_suspended_machine_sends_nothing(payout: PayoutFixture) -> None:
    """A monotonic clock stops during a suspend, in which other hosts may have sent the transfer."""
    [chunk] = await plan_batch(payout)
    payout.bank.on_send = lambda: payout.clock.jump(3600)
    await payout.worker.advance(chunk)
    assert payout.bank.executed == {}
    assert await payout.states() == ["planned"] * 3


async def test_advance_unreadable_list_looks_up_each_transfer(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    payout.bank.script.append(raising(NoResponse("no response"), executed=True))
    await payout.worker.advance(chunk)

    def return_unreadable(_: str | None) -> object:
        raise InvalidResponse("$", "an entry of another transfer")

    payout.bank.finds.append(return_unreadable)
    backend.advance_clock(2)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["success"] * 3


async def test_advance_failed_look_up_delays_no_other(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 2)
    payout.bank.script.append(raising(NoResponse("no response"), executed=True))
    await payout.worker.advance(chunk)
    find = payout.channel.find

    async def fail_first_look_up(track_id: str, timeout: float) -> object:
        if track_id == "t-00000":
            raise InvalidResponse("$", "no list")
        return await find(track_id, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payout.channel, "find", fail_first_look_up)
        for _ in range(2):
            backend.advance_clock(5)
            await payout.worker.advance(chunk)
    assert await payout.states() == ["unknown", "success"]


async def test_send_deadline_expires_with_its_call(payout: PayoutFixture) -> None:
    """An engine that goes on after its call ended – a retry, a thread – cannot send."""
    [chunk] = await plan_batch(payout)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(chunk)
    [before_send] = payout.bank.before_sends
    with pytest.raises(NotSent):
        before_send()


async def test_advance_not_sent_is_planned_with_backoff(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    pauses: list[float] = []
    for _ in range(9):
        payout.bank.script.append(raising(NotSent("no connection")))
        now = await payout.ledger.time()
        due = await payout.worker.advance(chunk)
        assert due is not None
        pauses.append(due - now)
        assert await payout.worker.advance(chunk) == pytest.approx(due)  # not earlier
        backend.advance_clock(due - now + 0.001)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60], abs=0.4)
    await payout.worker.advance(chunk)
    assert payout.bank.executed == {f"t-0000{number}": 1 for number in range(3)}


@pytest.mark.parametrize(
    "error",
    [
        NoResponse("no response"),
        InvalidResponse("$", "HTML", http_status=502),
        ServerFault(0, "fault"),
        StatusError(77, "an unknown status"),
        RuntimeError("a user middleware"),
        InvalidInput(10, "no", http_status=500, executed="maybe"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("executed", [True, False])
async def test_advance_unknown_result_is_checked_not_resent(
    backend: Backend, payout: PayoutFixture, error: Exception, executed: bool
) -> None:
    [chunk] = await plan_batch(payout)
    payout.bank.script.append(raising(error, executed=executed))
    due = await payout.worker.advance(chunk)
    assert due is not None
    assert await payout.states() == ["unknown"] * 3
    backend.advance_clock(2)
    await advance_when_due(payout, backend, chunk, times=4)
    assert len(payout.bank.calls) == 1
    assert await payout.states() == (["success"] if executed else ["unknown"]) * 3


async def test_advance_missing_in_response_is_unknown(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    payout.bank.script.append(lambda bank, values: bank.execute(values)[1:])
    await payout.worker.advance(chunk)
    assert await payout.states() == ["unknown", "success", "success"]


async def test_advance_reordered_response_matches_by_track_id(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)

    def respond_in_reverse(bank: object, values: object) -> list[Settlement]:
        statuses = ("failed", "pending", "success")
        entries = [
            Settlement(track_id=f"t-0000{number}", status=TransferStatus(status))
            for number, status in enumerate(statuses)
        ]
        return entries[::-1]

    payout.bank.script.append(respond_in_reverse)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["unknown", "pending", "success"]  # a failure is looked up before it is final


async def test_advance_other_amount_needs_review(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 1)
    wrong = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, extra={"amount": "999"})
    payout.bank.script.append(responding(wrong))
    assert await payout.worker.advance(chunk) is None
    assert await payout.states() == ["needs_review"]
    [waits] = await queries.review(payout.ledger, "bank", "app-1")
    assert "amount" in waits.reason


async def test_advance_expired_send_lease_is_unknown(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    hung = asyncio.Event()
    payout.bank.on_send = hung.wait
    lost = asyncio.create_task(payout.worker.advance(chunk))
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    await other.wait_for_states(*["sending"] * 3)
    due = await other.worker.advance(chunk)
    assert due == pytest.approx(await other.ledger.time() + 40, abs=2)
    backend.advance_clock(39)
    await other.worker.advance(chunk)
    assert await other.states() == ["sending"] * 3
    backend.advance_clock(2)
    await other.worker.advance(chunk)
    assert await other.states() == ["unknown"] * 3
    assert await other.causes("t-00000") == ["submit", "intent", "lease"]
    record = await queries.find_transfer(other.ledger, "bank", "app-1", "t-00000")
    assert record is not None  # the quiet window begins when the lease expires
    assert record.unknown_since == pytest.approx(await other.ledger.time(), abs=1)
    hung.set()  # the sender continues after its deadline
    await lost
    assert payout.bank.executed == {}
    assert await other.states() == ["unknown"] * 3


async def test_advance_late_response_is_recorded(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    slow = asyncio.Event()
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    sent = asyncio.Event()

    async def delay_response() -> None:
        sent.set()
        await slow.wait()

    payout.bank.on_response = delay_response
    lost = asyncio.create_task(payout.worker.advance(chunk))
    await sent.wait()
    backend.advance_clock(41)
    await other.worker.advance(chunk)
    assert await other.states() == ["unknown"] * 3
    slow.set()
    await lost
    assert await other.states() == ["success"] * 3
    assert (await other.causes("t-00000"))[-2:] == ["lease", "late"]


async def test_advance_outdated_response_changes_nothing(backend: Backend, payout: PayoutFixture) -> None:
    """The response says "pending", and by the time it is read a check has found the bank's decision."""
    [chunk] = await plan_batch(payout, 1)
    slow, sent = asyncio.Event(), asyncio.Event()
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    payout.bank.status = TransferStatus.PENDING

    async def delay_response() -> None:
        sent.set()
        await slow.wait()

    payout.bank.on_response = delay_response
    lost = asyncio.create_task(payout.worker.advance(chunk))
    await sent.wait()
    backend.advance_clock(41)
    payout.bank.statuses["t-00000"] = TransferStatus.FAILED
    await other.worker.advance(chunk)
    await other.worker.advance(chunk)
    assert await other.states() == ["failed"]
    slow.set()
    await lost
    assert await other.states() == ["failed"]


async def test_advance_overtaken_check_leaves_chunk_due(
    backend: Backend, payout: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late response of "pending" is recorded during a check that finds "success": the chunk stays due."""
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("no response"), executed=True))
    await payout.worker.advance(chunk)
    find = payout.channel.find

    async def overtaken(track_id: str, timeout: float) -> object:
        entries = await find(track_id, timeout)
        await observations.apply_observations(
            payout.ledger, payout.channel, [Settlement(track_id=track_id, status=TransferStatus.PENDING)]
        )
        return entries

    backend.advance_clock(2)
    with monkeypatch.context() as patch:
        patch.setattr(payout.channel, "find", overtaken)
        assert await payout.worker.advance(chunk) is not None
    assert await payout.states() == ["pending"]
    await payout.worker.advance(chunk)
    assert await payout.states() == ["success"]


async def test_advance_three_not_founds_need_review(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(chunk)
    waited = 0.0
    while (due := await payout.worker.advance(chunk)) is not None:
        pause = max(0.0, due - await payout.ledger.time()) + 0.001
        backend.advance_clock(pause)
        waited += pause
    assert await payout.states() == ["needs_review"]
    assert await payout.causes("t-00000") == ["submit", "intent", "response", "found", "found"]
    assert 1000 < waited < 900 + 2 * 60 + 3  # on a server, real time has passed too
    assert len(payout.bank.look_ups) > 20  # early and often
    assert payout.bank.executed == {}
    events = await queries.events(payout.ledger, "bank", "app-1", "t-00000")
    assert [event.after.value for event in events[-2:]] == ["not_accepted", "needs_review"]


async def test_advance_early_not_found_is_not_counted(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(chunk)
    backend.advance_clock(890)
    for _ in range(5):
        await payout.worker.advance(chunk)
        backend.advance_clock(1.9)
    record = await payout.record()
    assert len(payout.bank.look_ups) >= 1
    assert (record.state.value, record.not_found_count) == ("unknown", 0)


async def test_advance_found_late_takes_bank_status(backend: Backend, payout: PayoutFixture) -> None:
    """The bank executes the transfer after "not found" results have been counted."""
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(chunk)
    backend.advance_clock(901)
    await payout.worker.advance(chunk)
    backend.advance_clock(61)
    await payout.worker.advance(chunk)
    record = await payout.record()
    assert record.not_found_count == 2
    payout.bank.execute([transfer(0)])
    backend.advance_clock(61)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["success"]


async def test_advance_found_resets_not_found_count(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(chunk)
    backend.advance_clock(901)
    await payout.worker.advance(chunk)
    backend.advance_clock(61)
    odd = Settlement(track_id="t-00000", status=TransferStatus("queued"))
    payout.bank.finds.append(lambda _: [odd])
    await payout.worker.advance(chunk)
    record = await payout.record()
    assert (record.state.value, record.not_found_count) == ("unknown", 0)


async def test_advance_response_about_others_stays_unknown(backend: Backend, payout: PayoutFixture) -> None:
    """A bank that ignores the requested track_id returns its newest transfers."""
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("no response")))
    await payout.worker.advance(chunk)
    backend.advance_clock(901)
    for _ in range(6):
        payout.bank.finds.append(lambda _: [Settlement(track_id="another", status=TransferStatus.SUCCESS)])
        await payout.worker.advance(chunk)
        backend.advance_clock(61)
    assert await payout.states() == ["unknown"]


async def test_advance_resend_keeps_track_id(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 2, resend=True, quiet_window=30.0)
    payout.bank.script.append(lambda bank, values: (bank.execute(values[1:]), raising(NoResponse("x"))(bank, values)))
    await payout.worker.advance(chunk)
    backend.advance_clock(31)
    await advance_when_due(payout, backend, chunk, times=10)
    assert await payout.states() == ["planned", "success"]
    [_, resent_chunk] = await payout.chunks()
    assert await payout.worker.advance(resent_chunk) is None
    assert payout.bank.calls == [["t-00000", "t-00001"], ["t-00000"]]
    assert payout.bank.executed == {"t-00000": 1, "t-00001": 1}
    assert await payout.states() == ["success"] * 2


async def test_advance_resend_stops_at_max_attempts(backend: Backend, payout: PayoutFixture) -> None:
    await plan_batch(payout, 1, resend=True, quiet_window=30.0)
    for _ in range(4):
        payout.bank.script.append(raising(NoResponse("x")))
    for _ in range(3):
        for chunk in await payout.chunks():
            await advance_when_due(payout, backend, chunk, times=40)
    assert await payout.states() == ["needs_review"]
    assert len(payout.bank.calls) == 3


async def test_advance_failed_resend_is_unknown(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 1, resend=True, quiet_window=30.0)
    payout.bank.script.append(raising(NoResponse("x")))
    await payout.worker.advance(chunk)
    backend.advance_clock(31)
    await advance_when_due(payout, backend, chunk, times=10)
    [_, resent_chunk] = await payout.chunks()
    # The first attempt was executed after all, and the bank refuses the track_id now.
    payout.bank.execute([transfer(0)])
    refused = Settlement(track_id="t-00000", status=FAILED, message="used before")
    payout.bank.script.append(responding(refused))
    await payout.worker.advance(resent_chunk)
    assert await payout.states() == ["unknown"]
    backend.advance_clock(2)
    await payout.worker.advance(resent_chunk)
    assert await payout.states() == ["success"]


async def test_advance_pending_is_checked_with_backoff(backend: Backend, payout: PayoutFixture) -> None:
    payout.bank.status = PENDING
    [chunk] = await plan_batch(payout)
    due = await payout.worker.advance(chunk)
    pauses: list[float] = []
    for _ in range(20):
        assert due is not None
        now = await payout.ledger.time()
        pauses.append(due - now)
        backend.advance_clock(due - now + 0.001)
        due = await payout.worker.advance(chunk)
    assert [round(pause / 5) for pause in pauses] == sorted(round(pause / 5) for pause in pauses)
    assert pauses[-1] == pytest.approx(300, abs=1)
    assert await payout.states() == ["pending"] * 3
    assert payout.bank.look_ups == [None] * 20  # one request for the list covers all three
    payout.bank.statuses.clear()  # a transfer that is missing from the list stays pending
    backend.advance_clock(301)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["pending"] * 3


async def test_advance_pending_takes_bank_status(backend: Backend, payout: PayoutFixture) -> None:
    payout.bank.status = PENDING
    [chunk] = await plan_batch(payout)
    await payout.worker.advance(chunk)
    payout.bank.statuses |= {"t-00000": TransferStatus.SUCCESS, "t-00001": FAILED}
    backend.advance_clock(2)
    await payout.worker.advance(chunk)
    assert await payout.states() == ["success", "failed", "pending"]
    payout.bank.statuses["t-00002"] = TransferStatus.SUCCESS
    backend.advance_clock(2)
    assert await payout.worker.advance(chunk) is None


async def test_advance_failed_check_changes_nothing(backend: Backend, payout: PayoutFixture) -> None:
    payout.bank.script.append(raising(NoResponse("x"), executed=True))
    [chunk] = await plan_batch(payout, 2)
    await payout.worker.advance(chunk)

    def fail(_: str | None) -> object:
        raise NoResponse("again")

    for _ in range(3):
        payout.bank.finds.append(fail)
        backend.advance_clock(60)
        assert await payout.worker.advance(chunk) is not None
    assert await payout.states() == ["unknown"] * 2
    backend.advance_clock(60)
    assert await payout.worker.advance(chunk) is None
    assert await payout.states() == ["success"] * 2


async def test_advance_refused_account_is_suspended_once(backend: Backend, payout: PayoutFixture) -> None:
    chunks = await plan_batch(payout, 12, chunk=1)
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    payout.bank.script.extend([raising(ApplicationInactive(3, "inactive"))] * 3)
    payout.bank.on_send = asyncio.Barrier(3).wait
    await asyncio.gather(*(payout.worker.advance(chunk) for chunk in chunks[:2]), other.worker.advance(chunks[2]))
    payout.bank.on_send = None
    assert await payout.worker.advance(chunks[3]) is None  # not before resume
    assert [event.name for event in payout.events + other.events] == ["payouts_suspended"]
    assert await payout.states() == ["planned"] * 12
    assert len(payout.bank.calls) == 3
    assert [chunk for chunk, _ in await payout.worker.due()] == chunks[4:]
    await updates.resume(payout.ledger, "bank", "app-1")
    for chunk in chunks:
        assert await payout.worker.advance(chunk) is None
    assert payout.bank.executed == {f"t-{number:05d}": 1 for number in range(12)}


async def test_advance_no_funds_pauses_until_resume(payout: PayoutFixture) -> None:
    values = [transfer(number, deposit=DEPOSIT if number % 2 else "0119999999999") for number in range(4)]
    await insert_batch(payout.ledger, payout.channel, "b", each(values), policy=Policy(chunk=1))
    payout.bank.script.append(raising(InsufficientBalance(9, "no money")))
    first, second, third, fourth = await payout.chunks()
    snapshot = await load_chunk(payout.ledger, first)
    assert snapshot is not None
    short = snapshot.chunk.deposit
    assert await payout.worker.advance(first) is None
    for chunk in (second, third, fourth):
        await payout.worker.advance(chunk)
    states = {record.track_id: record.state.value for _, record in await queries.page(payout.ledger, "b")}
    paused = [value.track_id for value in values if value.deposit == short]
    assert {name for name, state in states.items() if state != "success"} == set(paused)
    assert [event.name for event in payout.events] == ["payouts_insufficient_funds"]
    assert sorted(states.values()) == ["paused_funds", "planned", "success", "success"]
    assert await updates.resume(payout.ledger, "bank", "app-1", short) == 1
    for chunk in (first, second, third, fourth):
        await payout.worker.advance(chunk)
    assert payout.bank.executed == {value.track_id: 1 for value in values}
    assert await payout.states() == ["success"] * 4


async def test_advance_refused_key_retries_with_event(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    payout.bank.script.append(raising(ExpiredToken(5, "expired")))
    due = await payout.worker.advance(chunk)
    assert due is not None
    assert await payout.states() == ["planned"] * 3
    assert [event.name for event in payout.events] == ["payouts_unauthorized"]
    backend.advance_clock(6)
    assert await payout.worker.advance(chunk) is None
    assert await payout.states() == ["success"] * 3


async def test_advance_concurrency_limits_deposit_account(backend: Backend, payout: PayoutFixture) -> None:
    chunks = await plan_batch(payout, 6, chunk=1, concurrency=2)
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    active, max_active = 0, 0
    released = asyncio.Event()

    async def hold_request() -> None:
        nonlocal active, max_active
        active += 1
        max_active = max(max_active, active)
        if active > 2:
            released.set()
        await released.wait()
        active -= 1

    payout.bank.on_send = hold_request
    tasks = [
        asyncio.create_task((payout, other)[number % 2].worker.advance(chunk)) for number, chunk in enumerate(chunks)
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 4:
        more, _ = await asyncio.wait(set(tasks) - done, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert (active, max_active) == (2, 2)
    released.set()
    await asyncio.gather(*tasks)
    assert len(payout.bank.executed) == 2
    for chunk in chunks:
        await payout.worker.advance(chunk)
    assert len(payout.bank.executed) == 6
    assert max_active == 2


async def test_advance_rate_limits_deposit_account(backend: Backend, payout: PayoutFixture) -> None:
    chunks = await plan_batch(payout, 4, chunk=1, rate=0.5)
    assert await payout.worker.advance(chunks[0]) is None
    due = await payout.worker.advance(chunks[1])
    assert due == pytest.approx(await payout.ledger.time() + 2, abs=0.5)
    assert len(payout.bank.calls) == 1
    backend.advance_clock(2.001)
    assert await payout.worker.advance(chunks[1]) is None
    assert len(payout.bank.calls) == 2


async def test_pause_account_stops_sends_not_checks(backend: Backend, payout: PayoutFixture) -> None:
    first, second = await plan_batch(payout, 4, chunk=2)
    payout.bank.status = PENDING
    await payout.worker.advance(first)
    await updates.pause(payout.ledger, "bank", "app-1")
    assert await payout.worker.advance(second) is None
    payout.bank.statuses = dict.fromkeys(payout.bank.statuses, TransferStatus.SUCCESS)
    backend.advance_clock(2)
    assert await payout.worker.advance(first) is None
    assert await payout.states() == ["success", "success", "planned", "planned"]
    assert await updates.resume(payout.ledger, "bank", "app-1") == 0
    await payout.worker.advance(second)
    assert len(payout.bank.calls) == 2


async def test_pause_deposit_keeps_others_paying(payout: PayoutFixture) -> None:
    values = [transfer(0), transfer(1, deposit="0119999999999")]
    await insert_batch(payout.ledger, payout.channel, "b", each(values))
    await updates.pause(payout.ledger, "bank", "app-1", DEPOSIT)
    for chunk in await payout.chunks():
        await payout.worker.advance(chunk)
    assert await payout.states() == ["planned", "success"]


async def test_advance_wallet_sends_and_checks(backend: Backend) -> None:
    payout = PayoutFixture(backend.ledger(), backend.clock, channel=WalletChannel, account="w123")
    await insert_batch(payout.ledger, payout.channel, "b", each([wallet_transfer(number) for number in range(3)]))
    [chunk] = await payout.chunks()
    assert await payout.worker.advance(chunk) is not None
    assert await payout.states() == ["pending"] * 3

    def return_stored(track_id: str | None) -> object:
        assert track_id is not None
        number = int(track_id[-1])
        status = [TransferStatus.SUCCESS, FAILED, PENDING][number]
        return [Settlement(track_id=f"w123*{track_id}*{number + 1}", status=status)]

    payout.bank.finds.extend([return_stored] * 3)
    backend.advance_clock(2)
    assert await payout.worker.advance(chunk) is not None
    assert await payout.states() == ["success", "failed", "pending"]


async def test_advance_engine_without_callback_sends_nothing(payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    payout.supports_before_send = False
    with pytest.raises(ConfigurationError, match="engine"):
        await payout.worker.advance(chunk)
    assert await payout.states() == ["planned"] * 3
    assert payout.bank.calls == []


async def test_advance_unconfigured_account_is_untouched(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout)
    other = PayoutFixture(backend.ledger(), backend.clock, account="app-2")
    with pytest.raises(ConfigurationError, match="app-1"):
        await other.worker.advance(chunk)
    assert await other.worker.due() == []
    assert [name for name, _ in await payout.worker.due()] == [chunk]


async def test_advance_clock_jump_changes_nothing(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 1)
    payout.bank.script.append(raising(NoResponse("x")))
    await payout.worker.advance(chunk)
    backend.clock.jump(86_400)
    backend.advance_clock(30)
    await payout.worker.advance(chunk)
    backend.clock.jump(-2 * 86_400)
    backend.advance_clock(30)
    await payout.worker.advance(chunk)
    record = await payout.record()
    assert (record.state.value, record.not_found_count) == ("unknown", 0)
    assert len(payout.bank.look_ups) == 2


async def test_advance_refused_check_suspends_account_once(backend: Backend, payout: PayoutFixture) -> None:
    first, second = await plan_batch(payout, 4, chunk=2)
    payout.bank.status = PENDING
    await payout.worker.advance(first)

    def refused(_: str | None) -> object:
        raise ApplicationInactive(3, "inactive")

    payout.bank.finds.extend([refused] * 2)
    for _ in range(2):
        backend.advance_clock(60)
        assert await payout.worker.advance(first) is not None
    assert [event.name for event in payout.events] == ["payouts_suspended"]
    assert await payout.worker.advance(second) is None
    payout.bank.statuses = dict.fromkeys(payout.bank.statuses, TransferStatus.SUCCESS)
    backend.advance_clock(60)
    await payout.worker.advance(first)
    assert await payout.states() == ["success", "success", "planned", "planned"]


async def test_advance_expired_check_lease_is_taken_over(backend: Backend, payout: PayoutFixture) -> None:
    payout.bank.status = PENDING
    [chunk] = await plan_batch(payout, 1)
    await payout.worker.advance(chunk)
    payout.bank.status = TransferStatus.SUCCESS
    payout.bank.execute([transfer(0)])
    look_up_started, never = asyncio.Event(), asyncio.Event()

    async def never_respond() -> None:
        look_up_started.set()
        await never.wait()

    payout.bank.on_find = never_respond
    backend.advance_clock(2)
    lost = asyncio.create_task(payout.worker.advance(chunk))
    await look_up_started.wait()
    payout.bank.on_find = None
    other = PayoutFixture(backend.ledger(), backend.clock, payout.bank)
    assert await other.worker.advance(chunk) is not None
    assert await other.states() == ["pending"]
    backend.advance_clock(36)
    assert await other.worker.advance(chunk) is None
    assert await other.states() == ["success"]
    never.set()
    assert await lost is None  # the check came too late and found the same
    assert await other.causes("t-00000") == ["submit", "intent", "response", "found"]


async def test_advance_concurrent_checks_decide_once(backend: Backend, payout: PayoutFixture) -> None:
    [chunk] = await plan_batch(payout, 2)
    payout.bank.script.append(raising(NoResponse("x"), executed=True))
    await payout.worker.advance(chunk)
    backend.advance_clock(2)
    other_processes = [PayoutFixture(backend.ledger(), backend.clock, payout.bank) for _ in range(3)]
    await asyncio.gather(*(process.worker.advance(chunk) for process in (payout, *other_processes)))
    assert await payout.states() == ["success"] * 2
    assert await payout.causes("t-00000") == ["submit", "intent", "response", "found"]
    assert len(payout.bank.look_ups) == 2


async def test_advance_resolved_transfer_is_not_sent(payout: PayoutFixture) -> None:
    """The bank's list already has the planned transfers."""
    [chunk] = await plan_batch(payout, 2)
    listed = [Settlement(track_id=f"t-0000{number}", status=TransferStatus.SUCCESS) for number in range(2)]
    await observations.apply_observations(payout.ledger, payout.channel, listed)
    assert await payout.states() == ["success"] * 2
    assert await payout.worker.advance(chunk) is None
    assert payout.bank.calls == []
