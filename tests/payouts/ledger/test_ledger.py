"""One suite for all ledgers; each test says a thing that payouts are built on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from paystar_async.errors import InvalidValue, StorageCorrupt, StorageError, TrackIdConflict, WrongStorageKey
from paystar_async.models.transfers import Settlement, Transfer, TransferStatus
from paystar_async.payouts.channels import WalletChannel
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger import insert, observations, queries
from paystar_async.payouts.ledger.insert import delete_abandoned, insert_batch
from paystar_async.payouts.ledger.updates import Transition, transition_transfers
from paystar_async.payouts.models import Policy, TransferState
from paystar_async.storage.encryption import Crypto
from tests.payouts.backends import KEY, Place, Server
from tests.payouts.bank import DEPOSIT, PayoutFixture, answering, each, raising, transfer, transfers, wallet_transfer

TABLES = ("batches", "batch_items", "transfers", "chunks", "events")
CARD = "6037990000000006"


def rows(place: Place, table: str) -> int:
    [(count,)] = place.sql(f"SELECT COUNT(*) FROM paystar_payout_{table}")
    return int(count)


def everything(place: Place) -> str:
    return str([place.sql(f"SELECT * FROM paystar_payout_{table}") for table in (*TABLES, "settings", "staging")])


async def test_a_batch_comes_back_as_it_went(desk: PayoutFixture) -> None:
    policy = Policy(chunk=2, concurrency=3, rate=1.5, quiet_window=60.0, resend=True)
    record = await insert_batch(desk.ledger, desk.product, "payroll 07", each(transfers(5)), policy=policy)
    assert (record.count, record.amount, record.policy) == (5, 50_010, policy)
    assert (record.product, record.account) == ("bank", "app-1")
    assert await queries.find_batch(desk.ledger, "payroll 07") == record
    assert await queries.batches(desk.ledger) == [record]
    assert await queries.find_batch(desk.ledger, "another") is None
    assert await queries.totals(desk.ledger, "payroll 07") == {TransferState.PLANNED: (5, 50_010)}


async def test_its_transfers_come_in_their_order_page_by_page(desk: PayoutFixture) -> None:
    given = transfers(7)[::-1]
    await insert_batch(desk.ledger, desk.product, "b", each(given))
    found: list[str] = []
    after = -1
    while page := await queries.page(desk.ledger, "b", after=after, limit=3):
        found += [record.track_id for _, record in page]
        after = page[-1][0]
    assert found == [one.track_id for one in given]
    [(_, first)] = await queries.page(desk.ledger, "b", limit=1)
    assert (first.amount, first.deposit, first.state) == (10_006, DEPOSIT, TransferState.PLANNED)
    assert first.destination == "IR********************9001"


async def test_a_chunk_holds_so_many_transfers_of_one_deposit(desk: PayoutFixture) -> None:
    given = [transfer(number, deposit=f"011{number % 2}34567890") for number in range(10)]
    await insert_batch(desk.ledger, desk.product, "b", each(given), policy=Policy(chunk=3))
    assert len(await desk.chunks()) == 4
    for chunk in await desk.chunks():
        await desk.worker.advance(chunk)
    sizes = sorted(len(call) for call in desk.teller.calls)
    assert sizes == [2, 2, 3, 3]
    assert all(len({name[-1] in "02468" for name in call}) == 1 for call in desk.teller.calls)


async def test_submitting_it_again_changes_nothing(place: Place, desk: PayoutFixture) -> None:
    first = await insert_batch(desk.ledger, desk.product, "b", each(transfers(5)))
    before = everything(place)
    other = place.ledger()
    assert await insert_batch(other, desk.product, "b", each(transfers(5))) == first
    assert await insert_batch(other, desk.product, "b", each(transfers(5)[::-1])) == first  # in whatever order
    assert everything(place) == before


async def test_a_batch_is_paced_otherwise_when_it_is_submitted_again_with_another_policy(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(5)), policy=Policy(chunk=2))
    faster = Policy(chunk=5, concurrency=9)
    assert (await insert_batch(desk.ledger, desk.product, "b", each(transfers(5)), policy=faster)).policy == faster
    found = await queries.find_batch(desk.ledger, "b")
    assert found is not None
    assert found.policy == faster
    assert len(await desk.chunks()) == 3


@pytest.mark.parametrize(
    ("again", "named"),
    [
        (transfers(4), "4 transfers"),
        (transfers(6), "t-00005"),
        ([*transfers(4), transfer(9)], "t-00009"),
    ],
)
async def test_another_batch_of_the_same_name_is_refused(
    place: Place, desk: PayoutFixture, again: list[Transfer], named: str
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(5)))
    before = everything(place)
    with pytest.raises(InvalidValue, match=named) as refusal:
        await insert_batch(desk.ledger, desk.product, "b", each(again), policy=Policy(chunk=1))
    assert refusal.value.field == "batch_id"
    assert everything(place) == before


async def test_a_batch_of_another_account_is_not_this_one(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(5)))
    other = PayoutFixture(place.ledger(), place.clock, account="app-2")
    with pytest.raises(InvalidValue, match="app-1"):
        await insert_batch(other.ledger, other.product, "b", each(transfers(5)))
    # Each account has track_ids of its own.
    await insert_batch(other.ledger, other.product, "c", each(transfers(5)))
    assert rows(place, "transfers") == 10


async def test_the_same_transfer_in_two_batches_is_one_record_and_one_request(
    place: Place, desk: PayoutFixture
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(3)))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    await insert_batch(desk.ledger, desk.product, "c", each(transfers(5)))
    assert await desk.states("c") == ["success"] * 3 + ["planned"] * 2
    for chunk in await desk.chunks("c"):
        await desk.worker.advance(chunk)
    assert desk.teller.executed == {f"t-0000{number}": 1 for number in range(5)}
    await insert_batch(desk.ledger, desk.product, "d", each(transfers(5)))
    assert await desk.chunks("d") == []
    assert await desk.states("d") == ["success"] * 5
    assert rows(place, "transfers") == 5


@pytest.mark.parametrize("field", ["amount", "deposit", "destination_account", "destination_lastname", "pay_id"])
async def test_a_track_id_with_other_contents_is_refused_and_nothing_is_taken(
    place: Place, desk: PayoutFixture, field: str
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(3)))
    before = everything(place)
    other: dict[str, object] = {
        "amount": 1,
        "deposit": "0119999999999",
        "destination_account": "0112223334445",
        "destination_lastname": "Ahmady",
        "pay_id": "12",
    }
    with pytest.raises(TrackIdConflict, match="t-00001"):
        await insert_batch(desk.ledger, desk.product, "c", each([transfer(7), transfer(1, **{field: other[field]})]))
    assert everything(place) == before
    assert await queries.find_batch(desk.ledger, "c") is None


async def test_a_track_id_that_comes_twice_is_refused_and_named(place: Place, desk: PayoutFixture) -> None:
    with pytest.raises(InvalidValue) as refusal:
        await insert_batch(desk.ledger, desk.product, "b", each([*transfers(3), transfer(1)]))
    assert refusal.value.field == "transfers[3].track_id"
    assert "transfers[1]" in refusal.value.got
    assert [rows(place, table) for table in (*TABLES, "staging")] == [0] * 6


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 40])
async def test_a_long_batch_is_planned_in_pieces_and_exists_all_at_once(
    place: Place, desk: PayoutFixture, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(insert, "MAX_BUFFERED_TRANSFERS", 8)
    monkeypatch.setattr(insert, "MAX_STATEMENT_ROWS", 3)
    monkeypatch.setattr(insert, "MAX_MOVED_ROWS", 5)
    other = place.ledger()
    seen: list[int] = []

    async def watched() -> AsyncIterator[AnyTransfer]:
        for one in transfers(count):
            seen.append(len(await queries.batches(other)) + rows(place, "transfers") + rows(place, "chunks"))
            yield one

    record = await insert_batch(desk.ledger, desk.product, "b", watched(), policy=Policy(chunk=4))
    assert record.count == count
    assert set(seen) == {0}
    assert [rows(place, table) for table in ("transfers", "batch_items", "events", "staging")] == [count] * 3 + [0]
    assert [one.track_id for _, one in await queries.page(desk.ledger, "b")] == [
        one.track_id for one in transfers(count)
    ]
    assert len(await desk.chunks()) == -(-count // 4)
    with pytest.raises(InvalidValue, match=f"t-{count:05d}"):
        await insert_batch(desk.ledger, desk.product, "b", each(transfers(count + 9)))
    assert await insert_batch(desk.ledger, desk.product, "b", each(transfers(count))) == record


async def test_a_source_that_fails_leaves_nothing(
    place: Place, desk: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insert, "MAX_BUFFERED_TRANSFERS", 8)

    async def broken() -> AsyncIterator[AnyTransfer]:
        for one in transfers(20):
            yield one
        raise OSError("the file ended")

    with pytest.raises(OSError, match="ended"):
        await insert_batch(desk.ledger, desk.product, "b", broken())
    assert [rows(place, table) for table in (*TABLES, "staging")] == [0] * 6


async def test_what_a_killed_plan_left_behind_is_swept_when_it_is_old(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    at = await desk.ledger.time()
    place.sql(
        "INSERT INTO paystar_payout_staging (plan, position, at, track_id, chunk_id, amount, deposit, destination,"
        f" digest, payload) VALUES ('dead', 0, {at}, 't', 'c', 1, 'd', 'd', 'd', 'p')"
    )
    assert await delete_abandoned(desk.ledger) == 0
    place.passes(3601)
    assert await delete_abandoned(desk.ledger) == 1
    assert rows(place, "transfers") == 2


async def test_a_plan_that_was_swept_away_under_its_planner_is_refused(
    place: Place, desk: PayoutFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insert, "MAX_BUFFERED_TRANSFERS", 8)

    async def slow() -> AsyncIterator[AnyTransfer]:
        for number, one in enumerate(transfers(12)):
            if number == 10:
                place.passes(3601)
                assert await delete_abandoned(desk.ledger) == 8
            yield one

    with pytest.raises(StorageError, match="submit it again"):
        await insert_batch(desk.ledger, desk.product, "b", slow())
    assert await queries.find_batch(desk.ledger, "b") is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], "transfers"),
        ([transfer(0), wallet_transfer(1)], "transfers[1].transfers"),
        ([transfer(0, amount=2**62), transfer(1, amount=2**62)], "transfers"),
    ],
)
async def test_what_is_no_batch_is_refused(
    place: Place, desk: PayoutFixture, given: list[AnyTransfer], field: str
) -> None:
    with pytest.raises(InvalidValue) as refusal:
        await insert_batch(desk.ledger, desk.product, "b", each(given))
    assert refusal.value.field == field
    assert [rows(place, table) for table in (*TABLES, "staging")] == [0] * 6


async def test_a_wallets_track_id_that_looks_like_a_stored_one_is_refused(place: Place) -> None:
    desk = PayoutFixture(place.ledger(), place.clock, product=WalletChannel, account="w123")
    with pytest.raises(InvalidValue, match="would be ambiguous"):
        await insert_batch(desk.ledger, desk.product, "b", each([wallet_transfer(0, track_id="w123*a*1")]))


async def test_of_many_that_submit_at_once_one_plans_and_all_have_it(place: Place, desk: PayoutFixture) -> None:
    ledgers = [desk.ledger, *(place.ledger() for _ in range(3))]
    records = await asyncio.gather(
        *(insert_batch(one, desk.product, "b", each(transfers(30))) for one in ledgers for _ in range(3))
    )
    assert len({record.batch_id for record in records}) == 1
    assert len(set(map(str, records))) == 1
    assert [rows(place, table) for table in ("transfers", "batch_items", "events", "batches")] == [30, 30, 30, 1]


async def test_batches_that_share_transfers_may_be_submitted_at_once(place: Place, desk: PayoutFixture) -> None:
    ledgers = [desk.ledger, place.ledger()]
    given = transfers(60)
    await asyncio.gather(
        *(
            insert_batch(one, desk.product, f"{number}", each(given[number:][:: -1 if number % 2 else 1]))
            for number, one in enumerate(ledgers * 4)
        )
    )
    assert rows(place, "transfers") == 60
    for number in range(8):
        for chunk in await desk.chunks(f"{number}"):
            await desk.worker.advance(chunk)
    assert desk.teller.executed == {one.track_id: 1 for one in given}


async def test_a_persons_word_ends_the_review(place: Place, desk: PayoutFixture) -> None:
    for name, verdict, state in (("a", "success", "success"), ("b", "failed", "failed"), ("c", "resend", "planned")):
        one = transfer(0, track_id=name)
        await insert_batch(desk.ledger, desk.product, name, each([one]))
        wrong = Settlement(track_id=name, status=TransferStatus.SUCCESS, extra={"amount": 1})
        desk.teller.script.append(lambda teller, given, wrong=wrong: [wrong])  # type: ignore[misc]
        await desk.worker.advance((await desk.chunks(name))[0])
        assert [record.track_id for record in await queries.review(desk.ledger, "bank", "app-1")] == [name]
        record = await observations.resolve(desk.ledger, "bank", "app-1", name, verdict, note="asked the bank")  # type: ignore[arg-type]
        assert record.state == state
        assert await queries.review(desk.ledger, "bank", "app-1") == []
        assert (await desk.causes(name))[-1] == "resolve"
    for chunk in await desk.chunks("c"):
        await desk.worker.advance(chunk)
    assert await desk.states("c") == ["success"]
    assert desk.teller.calls == [["a"], ["b"], ["c"], ["c"]]


async def test_a_resend_by_hand_that_fails_is_asked_about(place: Place, desk: PayoutFixture) -> None:
    """The first attempt was answered with another amount: it may have been paid, whatever the second one says."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    wrong = Settlement(track_id="t-00000", status=TransferStatus.SUCCESS, extra={"amount": 1})
    desk.teller.script.append(answering(wrong))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    await observations.resolve(desk.ledger, "bank", "app-1", "t-00000", "resend")
    [_, again] = await desk.chunks()
    desk.teller.script.append(answering(found("t-00000", "failed")))
    await desk.worker.advance(again)
    assert await desk.states() == ["unknown"]
    desk.teller.execute(transfers(1))
    place.passes(2)
    await desk.worker.advance(again)
    assert await desk.states() == ["success"]


async def test_a_person_is_asked_about_what_waits_for_one_alone(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    for track_id, verdict in (("t-00000", "success"), ("nobody", "failed"), ("t-00000", "perhaps")):
        with pytest.raises(InvalidValue):
            await observations.resolve(desk.ledger, "bank", "app-1", track_id, verdict)  # type: ignore[arg-type]
    assert await desk.states() == ["planned"]


def found(track_id: str, status: str, **more: object) -> Settlement:
    return Settlement(track_id=track_id, status=TransferStatus(status), **more)  # type: ignore[arg-type]


async def test_what_is_paid_under_another_name_is_for_a_person_and_a_failure_under_one_is_nothing(
    place: Place, desk: PayoutFixture
) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(3)), policy=Policy(chunk=1))
    desk.teller.status = TransferStatus.PENDING
    for chunk_id in await desk.chunks():
        await desk.worker.advance(chunk_id)
    await observations.apply_observations(desk.ledger, desk.product, [found("t-00000", "success", hashid="h-t-00000")])
    others = [
        found("t-00000", "failed", hashid="another"),
        found("t-00001", "failed", hashid="another"),
        found("t-00002", "success", hashid="another"),
    ]
    changed = await observations.apply_observations(desk.ledger, desk.product, others)
    assert await desk.states() == ["success", "pending", "needs_review"]
    assert [one.reason for one in changed] == ["the bank has it under two names"]
    assert not await observations.apply_observations(
        desk.ledger, desk.product, [found("t-00002", "failed", hashid="another")]
    )
    await observations.apply_observations(desk.ledger, desk.product, [found("t-00000", "failed", hashid="h-t-00000")])
    assert await desk.states() == ["reversed", "pending", "needs_review"]


async def test_the_banks_list_is_taken_in(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(6)), policy=Policy(chunk=1))
    chunks = await desk.chunks()
    desk.teller.status = TransferStatus.PENDING
    await desk.worker.advance(chunks[0])
    desk.teller.status = TransferStatus.SUCCESS
    await desk.worker.advance(chunks[1])
    desk.teller.script.append(raising(OSError("x")))
    await desk.worker.advance(chunks[2])
    await desk.worker.advance(chunks[3])
    desk.teller.status = TransferStatus.FAILED
    await desk.worker.advance(chunks[4])
    place.passes(2)
    await desk.worker.advance(chunks[4])
    assert await desk.states() == ["pending", "success", "unknown", "success", "failed", "planned"]
    changed = await observations.apply_observations(
        desk.ledger,
        desk.product,
        [
            found("t-00000", "success", ref_code="r"),
            found("t-00001", "failed"),
            found("t-00002", "pending"),
            found("t-00003", "success"),
            found("t-00004", "success"),
            found("t-00005", "success"),
            found("of somebody else", "success"),
            Settlement(status=TransferStatus.SUCCESS),
        ],
    )
    assert await desk.states() == ["success", "reversed", "pending", "success", "needs_review", "success"]
    assert len(changed) == 5
    assert await observations.apply_observations(desk.ledger, desk.product, []) == []
    # What came back is asked about, and what was never sent from here is not sent.
    for chunk in chunks:
        await desk.worker.advance(chunk)
    assert len(desk.teller.calls) == 5
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00001")
    assert record is not None
    assert record.outcome.track_id == "t-00001"
    assert getattr(record.outcome, "reversed", False) is True


async def test_learn_lagging_list_keeps_failed_transfer(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.status = TransferStatus.FAILED
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    place.passes(2)
    await desk.worker.advance(chunk)
    record = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert record is not None
    assert record.state is TransferState.FAILED
    assert (
        await observations.apply_observations(
            desk.ledger, desk.product, [found("t-00000", "pending", hashid=record.hashid)]
        )
        == []
    )
    [record] = await observations.apply_observations(
        desk.ledger, desk.product, [found("t-00000", "pending", hashid="another")]
    )
    assert record.state is TransferState.NEEDS_REVIEW


async def test_the_banks_list_is_not_believed_while_it_is_being_sent(desk: PayoutFixture) -> None:
    """What is listed as failed may be an attempt of another time; the one under way speaks for itself."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    thinking = asyncio.Event()
    desk.teller.on_send = thinking.wait
    task = asyncio.create_task(desk.worker.advance((await desk.chunks())[0]))
    await desk.comes_to("sending")
    assert await observations.apply_observations(desk.ledger, desk.product, [found("t-00000", "failed")]) == []
    assert await desk.states() == ["sending"]
    thinking.set()
    await task
    assert await desk.states() == ["success"]


async def test_what_is_listed_meanwhile_is_asked_about_as_well(place: Place, desk: PayoutFixture) -> None:
    """One of a chunk is taken out of review by the bank's list while another one is just being decided."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    [chunk] = await desk.chunks()
    wrong = found("t-00001", "success", extra={"amount": 1})
    desk.teller.script.append(answering(wrong))
    await desk.worker.advance(chunk)
    assert await desk.states() == ["unknown", "needs_review"]
    desk.teller.execute(transfers(1))
    asked, go = asyncio.Event(), asyncio.Event()

    async def dawdle() -> None:
        asked.set()
        await go.wait()

    desk.teller.on_find = dawdle
    place.passes(2)
    task = asyncio.create_task(desk.worker.advance(chunk))
    await asked.wait()
    await observations.apply_observations(desk.ledger, desk.product, [found("t-00001", "pending")])
    go.set()
    assert await task is not None
    assert await desk.states() == ["success", "pending"]
    assert [one for one, _ in await desk.worker.due()] == [chunk]


async def test_a_change_names_the_version_it_was_made_from(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    stale = await queries.find_transfer(desk.ledger, "bank", "app-1", "t-00000")
    assert stale is not None
    await desk.worker.advance((await desk.chunks())[0])
    async with desk.ledger.transaction() as transaction:
        change = Transition(record=stale, after=TransferState.FAILED)
        assert await transition_transfers(transaction, "bank", "app-1", [change], at=1.0, cause="late") == set()
    assert await desk.states() == ["success"]
    assert await desk.causes("t-00000") == ["submit", "intent", "answer"]


async def test_a_mismatch_in_the_banks_list_is_for_a_person(desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(raising(OSError("x")))
    await desk.worker.advance((await desk.chunks())[0])
    [record] = await observations.apply_observations(
        desk.ledger, desk.product, [found("t-00000", "success", extra={"amount": 3})]
    )
    assert record.state is TransferState.NEEDS_REVIEW
    # It is found to be all right after all.
    [record] = await observations.apply_observations(desk.ledger, desk.product, [found("t-00000", "pending")])
    assert record.state is TransferState.PENDING
    assert [one for one, _ in await desk.worker.due()] == await desk.chunks()


async def test_events_tell_the_whole_story_and_are_never_changed(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(1)))
    desk.teller.script.append(raising(OSError("x")))
    [chunk] = await desk.chunks()
    await desk.worker.advance(chunk)
    told = await queries.events(desk.ledger, "bank", "app-1", "t-00000")
    assert [(one.version, one.before, one.after.value, one.cause) for one in told] == [
        (1, None, "planned", "submit"),
        (2, TransferState.PLANNED, "sending", "intent"),
        (3, TransferState.SENDING, "unknown", "answer"),
    ]
    assert told[-1].detail == "the call ended with OSError"
    before = list(told)
    desk.teller.execute(transfers(1))
    place.passes(2)
    await desk.worker.advance(chunk)
    after = await queries.events(desk.ledger, "bank", "app-1", "t-00000")
    assert [one.cause for one in after] == ["submit", "intent", "answer", "found"]
    assert [(one.version, one.cause) for one in after[:3]] == [(one.version, one.cause) for one in before]


async def test_what_is_to_be_sent_is_sealed_where_there_is_a_key(place: Place) -> None:
    desk = PayoutFixture(place.ledger(Crypto([KEY])), place.clock)
    given = [transfer(0), transfer(1, destination_account=CARD)]
    await insert_batch(desk.ledger, desk.product, "b", each(given))
    held = everything(place)
    for personal in (CARD, given[0].destination_account, "Ahmadi", "Sara"):
        assert personal not in held
    plain = place.ledger()
    with pytest.raises(WrongStorageKey):
        await queries.find_batch(plain, "b")
    with pytest.raises(WrongStorageKey):
        await queries.find_batch(place.ledger(Crypto([Crypto.new_key()])), "b")
    newer = PayoutFixture(place.ledger(Crypto([Crypto.new_key(), KEY])), place.clock, desk.teller)
    assert await insert_batch(newer.ledger, newer.product, "b", each(given)) == await queries.find_batch(
        desk.ledger, "b"
    )
    await newer.worker.advance((await newer.chunks())[0])
    assert await desk.states() == ["success"] * 2


async def test_without_a_key_a_full_card_number_is_kept_only_until_it_is_decided(
    place: Place, desk: PayoutFixture
) -> None:
    given = [transfer(0, destination_account=CARD), transfer(1, destination_account=CARD), transfer(2)]
    await insert_batch(desk.ledger, desk.product, "b", each(given), policy=Policy(chunk=1))
    assert "603799******0006" in everything(place)
    chunks = await desk.chunks()
    await desk.worker.advance(chunks[0])
    desk.teller.status = TransferStatus.FAILED
    await desk.worker.advance(chunks[1])
    await desk.worker.advance(chunks[2])
    place.passes(2)
    await desk.worker.advance(chunks[1])
    assert CARD not in everything(place)
    assert given[2].destination_account in everything(place)
    # It is still known to be the same transfer, and the bank's list is still compared with it.
    await insert_batch(desk.ledger, desk.product, "c", each(given))
    with pytest.raises(TrackIdConflict):
        await insert_batch(desk.ledger, desk.product, "d", each([transfer(0, destination_account="6037990000000014")]))
    [record] = await observations.apply_observations(desk.ledger, desk.product, [found("t-00000", "failed")])
    assert record.state is TransferState.REVERSED


async def test_claim_payload_of_another_transfer_is_corrupt(place: Place, desk: PayoutFixture) -> None:
    """Whole and proven, and yet not its own: a row that was restored in another's place."""
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    own = "(SELECT {0} FROM paystar_payout_transfers WHERE track_id = 't-00001')"
    place.sql(
        f"UPDATE paystar_payout_transfers SET payload = {own.format('payload')}, digest = {own.format('digest')}"
        " WHERE track_id = 't-00000'"
    )
    with pytest.raises(StorageCorrupt, match="belong to another transfer"):
        await desk.worker.advance((await desk.chunks())[0])
    assert desk.teller.calls == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE paystar_payout_transfers SET state = 'paid'",
        "UPDATE paystar_payout_events SET after = 'paid'",
        "UPDATE paystar_payout_events SET before = 'paid'",
        "UPDATE paystar_payout_chunks SET phase = 'pay'",
        "UPDATE paystar_payout_batches SET policy = '{}x'",
        """UPDATE paystar_payout_batches SET policy = '{"chunk": "many"}'""",
    ],
)
async def test_reading_word_nobody_knows_is_corrupt(place: Place, desk: PayoutFixture, damage: str) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    [chunk] = await desk.chunks()
    place.sql(damage)

    async def read_all() -> None:
        await desk.worker.advance(chunk)
        await queries.events(desk.ledger, "bank", "app-1", "t-00000")
        await queries.totals(desk.ledger, "b")
        await queries.page(desk.ledger, "b")

    with pytest.raises(StorageCorrupt):
        await read_all()


async def test_totals_state_nobody_knows_is_corrupt(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    place.sql("UPDATE paystar_payout_transfers SET state = 'paid'")
    for read in (queries.totals, queries.page):
        with pytest.raises(StorageCorrupt, match="state that nobody knows"):
            await read(desk.ledger, "b")


async def test_a_payload_that_was_changed_behind_its_back_is_not_sent(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    place.sql("UPDATE paystar_payout_transfers SET payload = REPLACE(payload, '10001', '90001')")
    [chunk] = await desk.chunks()
    with pytest.raises(StorageCorrupt):
        await desk.worker.advance(chunk)
    assert desk.teller.calls == []
    assert await desk.states() == ["planned"] * 2


async def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(place: Place, desk: PayoutFixture) -> None:
    await insert_batch(desk.ledger, desk.product, "b", each(transfers(2)))
    place.sql("UPDATE paystar_schema SET version = 999 WHERE name = 'payouts'")
    before = everything(place)
    with pytest.raises(StorageError, match="version 999"):
        await queries.find_batch(place.ledger(), "b")
    assert everything(place) == before


async def test_a_submission_joins_the_transaction_of_the_caller(place: Place, desk: PayoutFixture) -> None:
    if not isinstance(place, Server):
        return
    async with await place.connect() as connection:
        await insert_batch(desk.ledger, desk.product, "b", each(transfers(3)), connection=connection)
        async with desk.ledger.transaction(connection) as transaction:
            assert len(await queries.chunk_ids(transaction, "b")) == 1
        assert await queries.find_batch(desk.ledger, "b") is None
        await connection.rollback()
        assert await queries.find_batch(desk.ledger, "b") is None
        await insert_batch(desk.ledger, desk.product, "b", each(transfers(3)), connection=connection)
        with pytest.raises(InvalidValue):  # what is refused leaves the caller's transaction as it was
            await insert_batch(desk.ledger, desk.product, "b", each(transfers(4)), connection=connection)
        with pytest.raises(TrackIdConflict):
            await insert_batch(desk.ledger, desk.product, "c", each([transfer(0, amount=1)]), connection=connection)
        await connection.commit()
    assert await desk.states() == ["planned"] * 3
    assert rows(place, "staging") == 0
    assert [batch.batch_id for batch in await queries.batches(desk.ledger)] == ["b"]
