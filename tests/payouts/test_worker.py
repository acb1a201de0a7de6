"""What moves money, asked the questions that cost money; on every kind of ledger."""

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
from paystar_async.payouts.models import Policy
from tests.payouts.backends import Place
from tests.payouts.bank import DEPOSIT, PayoutFixture, answering, each, raising, transfer, transfers, wallet_transfer

PENDING, FAILED = TransferStatus.PENDING, TransferStatus.FAILED


async def planned(desk: PayoutFixture, count: int = 3, batch_id: str = "b", **policy: object) -> list[str]:
    await insert_batch(desk.ledger, desk.product, batch_id, each(transfers(count)), policy=Policy(**policy))  # type: ignore[arg-type]
    return await desk.chunks(batch_id)


async def advanced(desk: PayoutFixture, place: Place, chunk: str, times: int = 1) -> None:
    """Call it when it says so, as a dispatcher would."""
    for _ in range(times):
        due = await desk.worker.advance(chunk)
        if due is None:
            return
        place.passes(max(0.0, due - await desk.ledger.time()) + 0.001)


async def test_advance_planned_chunk_is_sent_once(desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    assert await desk.worker.advance(chunk) is None
    assert await desk.states() == ["success"] * 3
    assert desk.teller.calls == [["t-00000", "t-00001", "t-00002"]]
    assert await desk.causes("t-00001") == ["submit", "intent", "answer"]
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00001")
    assert record is not None
    assert (record.ref_code, record.hashid, record.attempt) == ("r-t-00001", "h-t-00001", 1)


async def test_advance_repeated_sends_nothing_more(desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    for _ in range(5):
        assert await desk.worker.advance(chunk) is None
    assert desk.teller.executed == {f"t-0000{number}": 1 for number in range(3)}


async def test_advance_unknown_chunk_is_noop(desk: PayoutFixture) -> None:
    assert await desk.worker.advance("nothing.0000000") is None


async def test_advance_concurrent_calls_send_once(place: Place, desk: PayoutFixture) -> None:
    chunks = await planned(desk, 12, chunk=2, concurrency=100)
    others = [PayoutFixture(place.ledger(), place.clock, desk.teller) for _ in range(3)]
    desk.teller.on_send = lambda: asyncio.sleep(0)
    await asyncio.gather(*(one.worker.advance(chunk) for chunk in chunks for one in (desk, *others)))
    assert desk.teller.executed == {f"t-{number:05d}": 1 for number in range(12)}
    assert await desk.states() == ["success"] * 12


async def test_advance_records_sending_before_request(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    seen: list[str] = []

    def look() -> None:
        seen.extend(state for (state,) in place.sql("SELECT state FROM paystar_payout_transfers"))

    desk.teller.on_send = look
    await desk.worker.advance(chunk)
    assert seen == ["sending"] * 3


async def test_send_deadline_expired_sends_nothing(desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    desk.teller.on_send = lambda: desk.clock.advance(5.0)
    due = await desk.worker.advance(chunk)
    assert due is not None
    assert desk.teller.executed == {}
    assert await desk.states() == ["planned"] * 3
    assert await desk.causes("t-00000") == ["submit", "intent", "not_sent"]


async def test_send_deadline_suspended_machine_sends_nothing(desk: PayoutFixture) -> None:
    """A monotonic clock stands still during a suspend: other hosts may have taken the transfer over and sent it."""
    [chunk] = await planned(desk)
    desk.teller.on_send = lambda: desk.clock.jump(3600)
    await desk.worker.advance(chunk)
    assert desk.teller.executed == {}
    assert await desk.states() == ["planned"] * 3


async def test_check_failed_list_looks_up_each_transfer(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    desk.teller.script.append(raising(NoResponse("no answer"), executed=True))
    await desk.worker.advance(chunk)

    def unreadable(_: str | None) -> object:
        raise InvalidResponse("$", "somebody else's transfer is none")

    desk.teller.finds.append(unreadable)
    place.passes(2)
    await desk.worker.advance(chunk)
    assert await desk.states() == ["success"] * 3


async def test_check_failed_look_up_delays_no_other(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 2)
    desk.teller.script.append(raising(NoResponse("no answer"), executed=True))
    await desk.worker.advance(chunk)
    find = desk.product.find

    async def partly(track_id: str, timeout: float) -> object:
        if track_id == "t-00000":
            raise InvalidResponse("$", "no list")
        return await find(track_id, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk.product, "find", partly)
        for _ in range(2):
            place.passes(5)
            await desk.worker.advance(chunk)
    assert await desk.states() == ["unknown", "success"]


async def test_send_deadline_expires_with_its_call(desk: PayoutFixture) -> None:
    """An engine that goes on behind our back – a retry of its own, a thread – meets the fence."""
    [chunk] = await planned(desk)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(chunk)
    [fence] = desk.teller.supports_before_send
    with pytest.raises(NotSent):
        fence()


async def test_advance_not_sent_is_planned_with_backoff(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    pauses: list[float] = []
    for _ in range(9):
        desk.teller.script.append(raising(NotSent("no connection")))
        now = await desk.ledger.time()
        due = await desk.worker.advance(chunk)
        assert due is not None
        pauses.append(due - now)
        assert await desk.worker.advance(chunk) == pytest.approx(due)  # not before
        place.passes(due - now + 0.001)
    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60], abs=0.4)
    await desk.worker.advance(chunk)
    assert desk.teller.executed == {f"t-0000{number}": 1 for number in range(3)}


@pytest.mark.parametrize(
    "error",
    [
        NoResponse("no answer"),
        InvalidResponse("$", "HTML", http_status=502),
        ServerFault(0, "fault"),
        StatusError(77, "a new one"),
        RuntimeError("a ring of yours"),
        InvalidInput(10, "no", http_status=500, executed="maybe"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("executed", [True, False])
async def test_advance_unknown_result_is_checked_not_resent(
    place: Place, desk: PayoutFixture, error: Exception, executed: bool
) -> None:
    [chunk] = await planned(desk)
    desk.teller.script.append(raising(error, executed=executed))
    due = await desk.worker.advance(chunk)
    assert due is not None
    assert await desk.states() == ["unknown"] * 3
    place.passes(2)
    await advanced(desk, place, chunk, times=4)
    assert len(desk.teller.calls) == 1
    assert await desk.states() == (["success"] if executed else ["unknown"]) * 3


async def test_advance_missing_in_response_is_unknown(desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    desk.teller.script.append(lambda teller, given: teller.execute(given)[1:])
    await desk.worker.advance(chunk)
    assert await desk.states() == ["unknown", "success", "success"]


async def test_advance_reordered_response_matches_by_track_id(desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)

    def mixed(teller: object, given: object) -> list[Settlement]:
        words = ("failed", "pending", "success")
        entries = [
            Settlement(track_id=f"t-0000{number}", status=TransferStatus(word)) for number, word in enumerate(words)
        ]
        return entries[::-1]

    desk.teller.script.append(mixed)
    await desk.worker.advance(chunk)
    assert await desk.states() == ["unknown", "pending", "success"]  # a failure is looked up before it is final


async def test_advance_other_amount_needs_review(desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 1)
    wrong = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, extra={"amount": "999"})
    desk.teller.script.append(answering(wrong))
    assert await desk.worker.advance(chunk) is None
    assert await desk.states() == ["needs_review"]
    [waits] = await queries.review(desk.ledger, "bank", "app-1")
    assert "amount" in waits.reason


async def test_advance_expired_send_lease_is_unknown(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    hung = asyncio.Event()
    desk.teller.on_send = hung.wait
    lost = asyncio.create_task(desk.worker.advance(chunk))
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    await other.comes_to(*["sending"] * 3)
    due = await other.worker.advance(chunk)
    assert due == pytest.approx(await other.ledger.time() + 40, abs=2)
    place.passes(39)
    await other.worker.advance(chunk)
    assert await other.states() == ["sending"] * 3
    place.passes(2)
    await other.worker.advance(chunk)
    assert await other.states() == ["unknown"] * 3
    assert await other.causes("t-00000") == ["submit", "intent", "lease"]
    record = await queries.find_transfer(other.ledger, "bank", "app-1", "t-00000")
    assert record is not None  # what it may have sent at the last moment has the whole quiet window before it
    assert record.unknown_since == pytest.approx(await other.ledger.time(), abs=1)
    hung.set()  # it wakes, and its fence has fallen
    await lost
    assert desk.teller.executed == {}
    assert await other.states() == ["unknown"] * 3


async def test_advance_late_response_is_recorded(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    slow = asyncio.Event()
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    sent = asyncio.Event()

    async def dawdle() -> None:
        sent.set()
        await slow.wait()

    desk.teller.on_answer = dawdle
    lost = asyncio.create_task(desk.worker.advance(chunk))
    await sent.wait()
    place.passes(41)
    await other.worker.advance(chunk)
    assert await other.states() == ["unknown"] * 3
    slow.set()
    await lost
    assert await other.states() == ["success"] * 3
    assert (await other.causes("t-00000"))[-2:] == ["lease", "late"]


async def test_advance_outdated_response_changes_nothing(place: Place, desk: PayoutFixture) -> None:
    """It says "pending", and by the time it is read the bank has been asked and has decided."""
    [chunk] = await planned(desk, 1)
    slow, sent = asyncio.Event(), asyncio.Event()
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    desk.teller.status = TransferStatus.PENDING

    async def dawdle() -> None:
        sent.set()
        await slow.wait()

    desk.teller.on_answer = dawdle
    lost = asyncio.create_task(desk.worker.advance(chunk))
    await sent.wait()
    place.passes(41)
    desk.teller.statuses["t-00000"] = TransferStatus.FAILED
    await other.worker.advance(chunk)
    await other.worker.advance(chunk)
    assert await other.states() == ["failed"]
    slow.set()
    await lost
    assert await other.states() == ["failed"]


async def test_advance_overtaken_check_leaves_chunk_due(
    place: Place, desk: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the bank says "success", a late answer of "pending" is recorded: the chunk has to be asked again."""
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("no answer"), executed=True))
    await desk.worker.advance(chunk)
    find = desk.product.find

    async def overtaken(track_id: str, timeout: float) -> object:
        said = await find(track_id, timeout)
        await observations.apply_observations(
            desk.ledger, desk.product, [Settlement(track_id=track_id, status=TransferStatus.PENDING)]
        )
        return said

    place.passes(2)
    with monkeypatch.context() as patch:
        patch.setattr(desk.product, "find", overtaken)
        assert await desk.worker.advance(chunk) is not None
    assert await desk.states() == ["pending"]
    await desk.worker.advance(chunk)
    assert await desk.states() == ["success"]


async def test_advance_three_not_founds_need_review(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(chunk)
    waited = 0.0
    while (due := await desk.worker.advance(chunk)) is not None:
        pause = max(0.0, due - await desk.ledger.time()) + 0.001
        place.passes(pause)
        waited += pause
    assert await desk.states() == ["needs_review"]
    assert await desk.causes("t-00000") == ["submit", "intent", "answer", "found", "found"]
    assert 1000 < waited < 900 + 2 * 60 + 3  # on a server some of it has truly passed
    assert len(desk.teller.asked) > 20  # early and often
    assert desk.teller.executed == {}
    events = await queries.events(desk.ledger, "bank", "app-1", "t-00000")
    assert [one.after.value for one in events[-2:]] == ["not_accepted", "needs_review"]


async def test_advance_early_not_found_is_not_counted(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(chunk)
    place.passes(890)
    for _ in range(5):
        await desk.worker.advance(chunk)
        place.passes(1.9)
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert record is not None
    assert len(desk.teller.asked) >= 1
    assert (record.state.value, record.not_found_count) == ("unknown", 0)


async def test_advance_found_late_takes_bank_status(place: Place, desk: PayoutFixture) -> None:
    """The bank executes what it took in after the quiet window has begun to count."""
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(chunk)
    place.passes(901)
    await desk.worker.advance(chunk)
    place.passes(61)
    await desk.worker.advance(chunk)
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert record is not None
    assert record.not_found_count == 2
    desk.teller.execute([transfer(0)])
    place.passes(61)
    await desk.worker.advance(chunk)
    assert await desk.states() == ["success"]


async def test_advance_found_resets_not_found_count(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(chunk)
    place.passes(901)
    await desk.worker.advance(chunk)
    place.passes(61)
    odd = Settlement(track_id="t-00000", status=TransferStatus("queued"))
    desk.teller.finds.append(lambda _: [odd])
    await desk.worker.advance(chunk)
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert record is not None
    assert (record.state.value, record.not_found_count) == ("unknown", 0)


async def test_advance_response_about_others_proves_nothing(place: Place, desk: PayoutFixture) -> None:
    """A bank that does not look at the track_id it is asked for gives its newest transfers."""
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("no answer")))
    await desk.worker.advance(chunk)
    place.passes(901)
    for _ in range(6):
        desk.teller.finds.append(lambda _: [Settlement(track_id="another", status=TransferStatus.SUCCESS)])
        await desk.worker.advance(chunk)
        place.passes(61)
    assert await desk.states() == ["unknown"]


async def test_advance_resend_keeps_track_id(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 2, resend=True, quiet_window=30.0)
    desk.teller.script.append(
        lambda teller, given: (teller.execute(given[1:]), raising(NoResponse("x"))(teller, given))
    )
    await desk.worker.advance(chunk)
    place.passes(31)
    await advanced(desk, place, chunk, times=10)
    assert await desk.states() == ["planned", "success"]
    [_, again] = await desk.chunks()
    assert await desk.worker.advance(again) is None
    assert desk.teller.calls == [["t-00000", "t-00001"], ["t-00000"]]
    assert desk.teller.executed == {"t-00000": 1, "t-00001": 1}
    assert await desk.states() == ["success"] * 2


async def test_advance_resend_stops_at_max_attempts(place: Place, desk: PayoutFixture) -> None:
    await planned(desk, 1, resend=True, quiet_window=30.0)
    for _ in range(4):
        desk.teller.script.append(raising(NoResponse("x")))
    for _ in range(3):
        for chunk in await desk.chunks():
            await advanced(desk, place, chunk, times=40)
    assert await desk.states() == ["needs_review"]
    assert len(desk.teller.calls) == 3


async def test_advance_failed_resend_is_unknown(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 1, resend=True, quiet_window=30.0)
    desk.teller.script.append(raising(NoResponse("x")))
    await desk.worker.advance(chunk)
    place.passes(31)
    await advanced(desk, place, chunk, times=10)
    [_, again] = await desk.chunks()
    # It was executed after all, and the bank refuses the track_id now.
    desk.teller.execute([transfer(0)])
    refused = Settlement(track_id="t-00000", status=FAILED, message="used before")
    desk.teller.script.append(answering(refused))
    await desk.worker.advance(again)
    assert await desk.states() == ["unknown"]
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["success"]


async def test_advance_pending_is_checked_with_backoff(place: Place, desk: PayoutFixture) -> None:
    desk.teller.status = PENDING
    [chunk] = await planned(desk)
    due = await desk.worker.advance(chunk)
    pauses: list[float] = []
    for _ in range(20):
        assert due is not None
        now = await desk.ledger.time()
        pauses.append(due - now)
        place.passes(due - now + 0.001)
        due = await desk.worker.advance(chunk)
    assert [round(pause / 5) for pause in pauses] == sorted(round(pause / 5) for pause in pauses)
    assert pauses[-1] == pytest.approx(300, abs=1)
    assert await desk.states() == ["pending"] * 3
    assert desk.teller.asked == [None] * 20  # one look at the list for all three
    desk.teller.statuses.clear()  # nor when the bank does not list it for a while
    place.passes(301)
    await desk.worker.advance(chunk)
    assert await desk.states() == ["pending"] * 3


async def test_advance_pending_takes_bank_status(place: Place, desk: PayoutFixture) -> None:
    desk.teller.status = PENDING
    [chunk] = await planned(desk)
    await desk.worker.advance(chunk)
    desk.teller.statuses |= {"t-00000": TransferStatus.SUCCESS, "t-00001": FAILED}
    place.passes(2)
    await desk.worker.advance(chunk)
    assert await desk.states() == ["success", "failed", "pending"]
    desk.teller.statuses["t-00002"] = TransferStatus.SUCCESS
    place.passes(2)
    assert await desk.worker.advance(chunk) is None


async def test_advance_failed_check_changes_nothing(place: Place, desk: PayoutFixture) -> None:
    desk.teller.script.append(raising(NoResponse("x"), executed=True))
    [chunk] = await planned(desk, 2)
    await desk.worker.advance(chunk)

    def down(_: str | None) -> object:
        raise NoResponse("again")

    for _ in range(3):
        desk.teller.finds.append(down)
        place.passes(60)
        assert await desk.worker.advance(chunk) is not None
    assert await desk.states() == ["unknown"] * 2
    place.passes(60)
    assert await desk.worker.advance(chunk) is None
    assert await desk.states() == ["success"] * 2


async def test_advance_refused_account_is_suspended_with_one_event(place: Place, desk: PayoutFixture) -> None:
    chunks = await planned(desk, 12, chunk=1)
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    desk.teller.script.extend([raising(ApplicationInactive(3, "inactive"))] * 3)
    desk.teller.on_send = asyncio.Barrier(3).wait
    await asyncio.gather(*(desk.worker.advance(one) for one in chunks[:2]), other.worker.advance(chunks[2]))
    desk.teller.on_send = None
    assert await desk.worker.advance(chunks[3]) is None  # not before somebody resumes
    assert [event.name for event in desk.events + other.events] == ["payouts_suspended"]
    assert await desk.states() == ["planned"] * 12
    assert len(desk.teller.calls) == 3
    assert [one for one, _ in await desk.worker.due()] == chunks[4:]
    await updates.resume(desk.ledger, "bank", "app-1")
    for chunk in chunks:
        assert await desk.worker.advance(chunk) is None
    assert desk.teller.executed == {f"t-{number:05d}": 1 for number in range(12)}


async def test_advance_no_funds_pauses_until_resume(place: Place, desk: PayoutFixture) -> None:
    mixed = [transfer(number, deposit=DEPOSIT if number % 2 else "0119999999999") for number in range(4)]
    await insert_batch(desk.ledger, desk.product, "b", each(mixed), policy=Policy(chunk=1))
    desk.teller.script.append(raising(InsufficientBalance(9, "no money")))
    first, second, third, fourth = await desk.chunks()
    record = await queries.chunk(desk.ledger, first)
    assert record is not None
    short = record.deposit
    assert await desk.worker.advance(first) is None
    for chunk in (second, third, fourth):
        await desk.worker.advance(chunk)
    states = {record.track_id: record.state.value for _, record in await queries.page(desk.ledger, "b")}
    paused = [one.track_id for one in mixed if one.deposit == short]
    assert {name for name, state in states.items() if state != "success"} == set(paused)
    assert [event.name for event in desk.events] == ["payouts_insufficient_funds"]
    assert sorted(states.values()) == ["paused_funds", "planned", "success", "success"]
    assert await updates.resume(desk.ledger, "bank", "app-1", short) == 1
    for chunk in (first, second, third, fourth):
        await desk.worker.advance(chunk)
    assert desk.teller.executed == {one.track_id: 1 for one in mixed}
    assert await desk.states() == ["success"] * 4


async def test_advance_refused_key_retries_with_event(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    desk.teller.script.append(raising(ExpiredToken(5, "expired")))
    due = await desk.worker.advance(chunk)
    assert due is not None
    assert await desk.states() == ["planned"] * 3
    assert [event.name for event in desk.events] == ["payouts_unauthorized"]
    place.passes(6)
    assert await desk.worker.advance(chunk) is None
    assert await desk.states() == ["success"] * 3


async def test_advance_concurrency_limits_deposit_account(place: Place, desk: PayoutFixture) -> None:
    chunks = await planned(desk, 6, chunk=1, concurrency=2)
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    flying, most = 0, 0
    go = asyncio.Event()

    async def fly() -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        if flying > 2:
            go.set()
        await go.wait()
        flying -= 1

    desk.teller.on_send = fly
    tasks = [asyncio.create_task((desk, other)[number % 2].worker.advance(one)) for number, one in enumerate(chunks)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 4:
        more, _ = await asyncio.wait(set(tasks) - done, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    assert (flying, most) == (2, 2)
    go.set()
    await asyncio.gather(*tasks)
    assert len(desk.teller.executed) == 2
    for one in chunks:
        await desk.worker.advance(one)
    assert len(desk.teller.executed) == 6
    assert most == 2


async def test_advance_rate_limits_deposit_account(place: Place, desk: PayoutFixture) -> None:
    chunks = await planned(desk, 4, chunk=1, rate=0.5)
    assert await desk.worker.advance(chunks[0]) is None
    due = await desk.worker.advance(chunks[1])
    assert due == pytest.approx(await desk.ledger.time() + 2, abs=0.5)
    assert len(desk.teller.calls) == 1
    place.passes(2.001)
    assert await desk.worker.advance(chunks[1]) is None
    assert len(desk.teller.calls) == 2


async def test_pause_stops_sends_but_not_checks(place: Place, desk: PayoutFixture) -> None:
    first, second = await planned(desk, 4, chunk=2)
    desk.teller.status = PENDING
    await desk.worker.advance(first)
    await updates.pause(desk.ledger, "bank", "app-1")
    assert await desk.worker.advance(second) is None
    desk.teller.statuses = dict.fromkeys(desk.teller.statuses, TransferStatus.SUCCESS)
    place.passes(2)
    assert await desk.worker.advance(first) is None
    assert await desk.states() == ["success", "success", "planned", "planned"]
    assert await updates.resume(desk.ledger, "bank", "app-1") == 0
    await desk.worker.advance(second)
    assert len(desk.teller.calls) == 2


async def test_pause_deposit_leaves_others_running(desk: PayoutFixture) -> None:
    mixed = [transfer(0), transfer(1, deposit="0119999999999")]
    await insert_batch(desk.ledger, desk.product, "b", each(mixed))
    await updates.pause(desk.ledger, "bank", "app-1", DEPOSIT)
    for chunk in await desk.chunks():
        await desk.worker.advance(chunk)
    assert await desk.states() == ["planned", "success"]


async def test_advance_wallet_sends_and_checks(place: Place) -> None:
    desk = PayoutFixture(place.ledger(), place.clock, product=WalletChannel, account="w123")
    await insert_batch(desk.ledger, desk.product, "b", each([wallet_transfer(number) for number in range(3)]))
    [chunk] = await desk.chunks()
    assert await desk.worker.advance(chunk) is not None
    assert await desk.states() == ["pending"] * 3

    def stored(track_id: str | None) -> object:
        assert track_id is not None
        number = int(track_id[-1])
        status = [TransferStatus.SUCCESS, FAILED, PENDING][number]
        return [Settlement(track_id=f"w123*{track_id}*{number + 1}", status=status)]

    desk.teller.finds.extend([stored] * 3)
    place.passes(2)
    assert await desk.worker.advance(chunk) is not None
    assert await desk.states() == ["success", "failed", "pending"]


async def test_advance_engine_without_callback_sends_nothing(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    desk.supports_before_send = False
    with pytest.raises(ConfigurationError, match="engine"):
        await desk.worker.advance(chunk)
    assert await desk.states() == ["planned"] * 3
    assert desk.teller.calls == []


async def test_advance_unconfigured_account_is_untouched(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk)
    other = PayoutFixture(place.ledger(), place.clock, account="app-2")
    with pytest.raises(ConfigurationError, match="app-1"):
        await other.worker.advance(chunk)
    assert await other.worker.due() == []
    assert [name for name, _ in await desk.worker.due()] == [chunk]


async def test_advance_clock_jump_changes_nothing(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 1)
    desk.teller.script.append(raising(NoResponse("x")))
    await desk.worker.advance(chunk)
    place.clock.jump(86_400)
    place.passes(30)
    await desk.worker.advance(chunk)
    place.clock.jump(-2 * 86_400)
    place.passes(30)
    await desk.worker.advance(chunk)
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert record is not None
    assert (record.state.value, record.not_found_count) == ("unknown", 0)
    assert len(desk.teller.asked) == 2


async def test_check_refused_account_is_suspended_with_one_event(place: Place, desk: PayoutFixture) -> None:
    first, second = await planned(desk, 4, chunk=2)
    desk.teller.status = PENDING
    await desk.worker.advance(first)

    def refused(_: str | None) -> object:
        raise ApplicationInactive(3, "inactive")

    desk.teller.finds.extend([refused] * 2)
    for _ in range(2):
        place.passes(60)
        assert await desk.worker.advance(first) is not None
    assert [event.name for event in desk.events] == ["payouts_suspended"]
    assert await desk.worker.advance(second) is None
    desk.teller.statuses = dict.fromkeys(desk.teller.statuses, TransferStatus.SUCCESS)
    place.passes(60)
    await desk.worker.advance(first)
    assert await desk.states() == ["success", "success", "planned", "planned"]


async def test_check_expired_lease_is_taken_over(place: Place, desk: PayoutFixture) -> None:
    desk.teller.status = PENDING
    [chunk] = await planned(desk, 1)
    await desk.worker.advance(chunk)
    desk.teller.status = TransferStatus.SUCCESS
    desk.teller.execute([transfer(0)])
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        asked.set()
        await never.wait()

    desk.teller.on_find = hang
    place.passes(2)
    lost = asyncio.create_task(desk.worker.advance(chunk))
    await asked.wait()
    desk.teller.on_find = None
    other = PayoutFixture(place.ledger(), place.clock, desk.teller)
    assert await other.worker.advance(chunk) is not None
    assert await other.states() == ["pending"]
    place.passes(36)
    assert await other.worker.advance(chunk) is None
    assert await other.states() == ["success"]
    never.set()
    assert await lost is None  # too late, and the same
    assert await other.causes("t-00000") == ["submit", "intent", "answer", "found"]


async def test_check_concurrent_calls_decide_once(place: Place, desk: PayoutFixture) -> None:
    [chunk] = await planned(desk, 2)
    desk.teller.script.append(raising(NoResponse("x"), executed=True))
    await desk.worker.advance(chunk)
    place.passes(2)
    others = [PayoutFixture(place.ledger(), place.clock, desk.teller) for _ in range(3)]
    await asyncio.gather(*(one.worker.advance(chunk) for one in (desk, *others)))
    assert await desk.states() == ["success"] * 2
    assert await desk.causes("t-00000") == ["submit", "intent", "answer", "found"]
    assert len(desk.teller.asked) == 2


async def test_advance_resolved_transfer_is_not_sent(desk: PayoutFixture) -> None:
    """A planned transfer that the bank's list has already been seen to hold."""
    [chunk] = await planned(desk, 2)
    listed = [Settlement(track_id=f"t-0000{number}", status=TransferStatus.SUCCESS) for number in range(2)]
    await observations.apply_observations(desk.ledger, desk.product, listed)
    assert await desk.states() == ["success"] * 2
    assert await desk.worker.advance(chunk) is None
    assert desk.teller.calls == []
