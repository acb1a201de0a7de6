"""Transfers: chunking of sources, ``wait``, ``iterate`` and ``batch``."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from random import Random
from typing import Any, TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import Paystar, Transfer
from paystar_async.errors import (
    InsufficientBalance,
    InvalidResponse,
    InvalidValue,
    IpNotAllowed,
    NoResponse,
    NotSent,
    PaystarError,
    StorageUnavailable,
)
from paystar_async.listing import MAX_STALE_PAGES
from paystar_async.models.transfers import Settlement
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.storage.seen_track_ids import SeenTrackIds
from paystar_async.transfers import MAX_SLICE_TRANSFERS, Chunker
from tests.support import (
    Engine,
    LoopTurns,
    QuickClock,
    Reply,
    RunningClock,
    Script,
    Sent,
    client,
    entries,
    entry,
    html_page,
    in_turn,
    ok,
    refused,
    transfer,
    wait_all_tasks_blocked,
)


async def test_chunker_ends_if_repeats_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise StorageUnavailable("no room")

    groups = Chunker([transfer("t-0"), transfer("t-1")], 2, None)
    monkeypatch.setattr(SeenTrackIds, "add", fail)

    assert await groups.next() == ([], [])
    assert isinstance(groups.failure, StorageUnavailable)
    assert not groups.has_more
    groups.close()


async def test_chunker_failing_source_fails_unsent_transfers() -> None:
    def source() -> Iterator[Transfer]:
        yield transfer("t-0")
        yield transfer("t-1")
        raise LookupError("the file ends in the middle")

    with closing(Chunker(source(), 5, None)) as groups:
        group, rejected = await groups.next()

    assert group == []
    assert [type(outcome) for outcome in rejected] == [Failed, Failed]
    assert [outcome.track_id for outcome in rejected] == ["t-0", "t-1"]
    assert isinstance(groups.failure, LookupError)
    assert not groups.has_more


async def test_chunker_invalid_item_fails_unsent_transfers() -> None:
    source: list[Any] = [transfer("t-0"), "t-1", transfer("t-2")]
    with closing(Chunker(source, 5, None)) as groups:
        group, rejected = await groups.next()

    assert group == []
    assert [outcome.track_id for outcome in rejected] == ["t-0"]
    assert isinstance(groups.failure, InvalidValue)
    assert groups.failure.field == "transfers[1]"


async def test_chunker_reads_source_without_await_in_slices() -> None:
    async with LoopTurns() as turns:
        read: list[str] = []

        def source() -> Iterator[Transfer]:
            for number in range(3 * MAX_SLICE_TRANSFERS):
                read.append(f"t-{number}")
                yield transfer(f"t-{number}")

        slices = turns.watch(read)
        with closing(Chunker(source(), 3 * MAX_SLICE_TRANSFERS - 10, None)) as groups:
            group, _ = await groups.next()

    assert len(group) == 3 * MAX_SLICE_TRANSFERS - 10
    sizes = [len(track_ids) for track_ids in slices if track_ids]
    assert sizes == [MAX_SLICE_TRANSFERS, MAX_SLICE_TRANSFERS, MAX_SLICE_TRANSFERS - 10]


T = TypeVar("T")

DEPOSIT = "0100000000001"


def make_client(script: Script, **options: Any) -> tuple[Paystar, Engine]:
    """Return a client without retries, and its engine."""
    engine = Engine(script)
    return client(engine, **{"max_retries": 0, "clock": QuickClock(), **options}), engine


async def collect(stream: AsyncIterator[T], into: list[T]) -> None:
    async for item in stream:
        into.append(item)


def running_tasks(paystar: Paystar) -> int:
    """Return the number of background tasks that the client runs."""
    return paystar._background().running_count  # pyright: ignore[reportPrivateUsage]


# --- wait -------------------------------------------------------------------------------------------------------------


async def test_wait_with_deposit_shares_one_list_call() -> None:
    track_ids = [f"t-{n}" for n in range(400)]
    paystar, engine = make_client(lambda _: ok(entries(track_ids), status="ok"), clock=RunningClock())

    outcomes = await asyncio.gather(*[paystar.transfers.wait(track_id=name, deposit=DEPOSIT) for name in track_ids])

    assert outcomes == [Succeeded(track_id=track_id) for track_id in track_ids]
    (sent,) = engine.sent
    assert (sent.fields["deposit"], sent.fields["limit"]) == (DEPOSIT, "500")
    assert "track_id" not in sent.fields


async def test_wait_without_deposit_looks_up_each_track_id_once() -> None:
    paystar, engine = make_client(lambda sent: ok([entry(sent.fields["track_id"])]), clock=RunningClock())

    outcomes = await asyncio.gather(*[paystar.transfers.wait(track_id=track_id) for track_id in ("a", "b", "a")])

    assert [outcome.track_id for outcome in outcomes] == ["a", "b", "a"]
    assert sorted(sent.fields["track_id"] for sent in engine.sent) == ["a", "b"]


async def test_wait_finds_transfer_on_later_page() -> None:
    full_list = [entry(f"t-{n}") for n in range(1200)]
    paystar, engine = make_client(lambda sent: ok(slice_of(full_list, sent)), clock=RunningClock())

    assert await paystar.transfers.wait(track_id="t-1100", deposit=DEPOSIT) == Succeeded(track_id="t-1100")

    assert [sent.fields.get("skip") for sent in engine.sent] == [None, "500", "1000"]


async def test_wait_short_server_page_reads_next_page() -> None:
    full_list = [entry(f"t-{n}") for n in range(120)]
    paystar, engine = make_client(lambda sent: ok(slice_of(full_list, sent)[:50]), clock=RunningClock())

    assert await paystar.transfers.wait(track_id="t-110", deposit=DEPOSIT) == Succeeded(track_id="t-110")

    assert [sent.fields.get("skip") for sent in engine.sent] == [None, "50", "100"]


@pytest.mark.parametrize(("skips", "requests"), [(True, 10), (False, 2)])
async def test_wait_unlisted_transfer_reads_bounded_pages(skips: bool, requests: int) -> None:
    """At most 5,000 entries are read, or the single page of a service that ignores ``skip``."""
    full_list = [entry(f"t-{n}") for n in range(5500)]
    paystar, engine = make_client(
        lambda sent: ok(slice_of(full_list, sent) if skips else full_list[:500]), clock=(clock := RunningClock())
    )

    async with clock.running():
        outcome = await paystar.transfers.wait(track_id="t-5100", deposit=DEPOSIT, timeout=0.1)

    assert isinstance(outcome, Unknown)
    assert len(engine.sent) == requests


def slice_of(full_list: list[dict[str, object]], sent: Sent) -> list[dict[str, object]]:
    skip = int(sent.fields.get("skip", 0))
    return full_list[skip : skip + int(sent.fields["limit"])]


async def test_wait_ignores_entry_of_similar_track_id() -> None:
    paystar, _ = make_client(lambda _: ok(entries(["t-10", "T-1", "t-1 "])), clock=(clock := RunningClock()))

    async with clock.running():
        outcome = await paystar.transfers.wait(track_id="t-1", timeout=5)

    assert isinstance(outcome, Unknown)
    assert "does not list the transfer" in outcome.reason


async def test_wait_refused_lookup_is_raised() -> None:
    paystar, _ = make_client(in_turn(refused(7)), clock=RunningClock())

    with pytest.raises(IpNotAllowed):
        await paystar.transfers.wait(track_id="t-1")


async def test_wait_invalid_track_id_is_refused() -> None:
    paystar, engine = make_client(in_turn(ok()))

    with pytest.raises(InvalidValue, match="track_id"):
        await paystar.transfers.wait(track_id="a b")

    assert engine.sent == []


async def test_aclose_does_not_wait_for_cancelled_waiters() -> None:
    paystar, _ = make_client(lambda _: ok([entry("t-1", "pending")]), clock=RunningClock())
    waiting = asyncio.create_task(paystar.transfers.wait(track_id="t-1"))
    await wait_all_tasks_blocked()

    waiting.cancel()
    await wait_all_tasks_blocked()

    assert running_tasks(paystar) == 0
    await paystar.aclose()


@pytest.mark.parametrize("stored", ["t-1", "w123*t-1*1", "w123*t-1*12"])
async def test_wallet_wait_finds_every_stored_track_id_form(stored: str) -> None:
    paystar, engine = make_client(lambda _: ok([entry(stored, ref_code="r")]), clock=RunningClock())

    assert await paystar.wallet.wait(track_id="t-1") == Succeeded(track_id="t-1", ref_code="r")

    assert engine.sent[0].fields == {"wallet_hashid": "w123", "track_id": "t-1"}


@pytest.mark.parametrize(
    "listed",
    [
        [entry("w123*t-10*1")],
        [entry("w124*t-1*1")],
        [entry("w123*t-1*x")],
        [entry("w123*x*t-1*1")],
        [{"status": "success"}],
        [{"status": "failed"}],
        [{"status": "success", "track_id": ""}],
        [{"status": "success"}, {"status": "success"}],
        [],
    ],
)
async def test_wallet_wait_ignores_entry_of_other_transfer(listed: list[dict[str, object]]) -> None:
    paystar, _ = make_client(lambda _: ok(listed), clock=(clock := RunningClock()))

    async with clock.running():
        assert isinstance(await paystar.wallet.wait(track_id="t-1", timeout=3), Unknown)


@pytest.mark.parametrize("fields", [{}, {"track_id": None}, {"track_id": ""}, {"hashid": "h-t-1"}])
@pytest.mark.parametrize("status", ["success", "failed"])
async def test_wait_entry_without_track_id_decides_nothing(fields: dict[str, object], status: str) -> None:
    """The entry proves nothing, though the query was for this transfer alone."""
    paystar, _ = make_client(lambda _: ok([{"status": status, **fields}]), clock=(clock := RunningClock()))

    async with clock.running():
        outcome = await paystar.transfers.wait(track_id="t-1", timeout=3)

    assert isinstance(outcome, Unknown)


# --- iterate ----------------------------------------------------------------------------------------------------------


async def test_iterate_short_pages_are_walked_to_the_end() -> None:
    full_list = [entry(f"t-{n}") for n in range(120)]
    paystar, engine = make_client(lambda sent: ok(slice_of(full_list, sent)[:50]))

    assert len([entry async for entry in paystar.transfers.iterate(page=100)]) == 120

    assert [sent.fields.get("skip") for sent in engine.sent] == [None, "50", "100", "120"]


@pytest.mark.parametrize("without_ids", [True, False])
async def test_iterate_ignored_skip_is_recognised(without_ids: bool) -> None:
    full_list: list[dict[str, object]] = [{"status": "success"}] * 3 if without_ids else entries(["a", "b", "c"])
    paystar, engine = make_client(lambda _: ok(full_list))
    yielded: list[object] = []

    with pytest.raises(InvalidResponse, match="does not go on"):
        await collect(paystar.transfers.iterate(page=3), yielded)

    assert len(yielded) == 3
    assert len(engine.sent) == 2 + MAX_STALE_PAGES


async def test_iterate_ignored_skip_short_list_is_whole() -> None:
    paystar, engine = make_client(lambda _: ok(entries(["a", "b", "c"])))

    assert [entry.track_id async for entry in paystar.transfers.iterate()] == ["a", "b", "c"]

    assert len(engine.sent) == 2


async def test_iterate_failed_page_keeps_earlier_entries() -> None:
    paystar, _ = make_client(in_turn(ok(entries(["a", "b"])), NoResponse("gone")))
    yielded: list[Settlement] = []

    with pytest.raises(NoResponse):
        await collect(paystar.transfers.iterate(page=2), yielded)

    assert [entry.track_id for entry in yielded] == ["a", "b"]


@pytest.mark.parametrize("size", [0, 501])
async def test_iterate_invalid_page_size_is_refused(size: int) -> None:
    paystar, _ = make_client(in_turn(ok()))

    with pytest.raises(InvalidValue, match="page"):
        _ = [entry async for entry in paystar.transfers.iterate(page=size)]


# --- batch ------------------------------------------------------------------------------------------------------------


def sent_ids(engine: Engine) -> list[str]:
    return [item["track_id"] for sent in engine.sent for item in sent.fields["transfers"]]


def succeed_all(sent: Sent) -> Reply:
    return ok(entries([item["track_id"] for item in sent.fields["transfers"]]), status="ok")


async def batch_outcomes(paystar: Paystar, transfers: Any, chunk: int = 20) -> dict[str, Outcome]:
    """Return the outcomes of a batch by track_id, after a check that each is yielded once."""
    outcomes: dict[str, Outcome] = {}
    async for outcome in paystar.transfers.batch(transfers, chunk=chunk):
        assert outcome.track_id not in outcomes
        outcomes[outcome.track_id] = outcome
    return outcomes


def make_transfers(count: int) -> list[Transfer]:
    return [transfer(f"t-{n}") for n in range(count)]


async def async_source(transfers: list[Transfer]) -> AsyncIterator[Transfer]:
    for item in transfers:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("kind", [list, tuple, iter, async_source])
@pytest.mark.parametrize(("count", "chunk", "calls"), [(0, 20, 0), (1, 20, 1), (20, 20, 1), (41, 20, 3), (5, 1, 5)])
async def test_batch_any_iterable_is_sent_in_chunks(kind: Any, count: int, chunk: int, calls: int) -> None:
    paystar, engine = make_client(succeed_all)

    outcomes = await batch_outcomes(paystar, kind(make_transfers(count)), chunk)

    assert set(outcomes) == {f"t-{n}" for n in range(count)}
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes.values())
    assert len(engine.sent) == calls
    assert sorted(sent_ids(engine)) == sorted(outcomes)


async def test_batch_matches_entries_by_track_id() -> None:
    def script(sent: Sent) -> Reply:
        track_ids = [item["track_id"] for item in sent.fields["transfers"]]
        Random(3).shuffle(track_ids)
        return ok([entry(name, "success" if int(name[2:]) % 2 else "failed", message="no") for name in track_ids])

    outcomes = await batch_outcomes(make_client(script)[0], make_transfers(20))

    for number in range(20):
        assert isinstance(outcomes[f"t-{number}"], Succeeded if number % 2 else Failed)


async def test_batch_unlisted_transfer_is_unknown() -> None:
    paystar, _ = make_client(lambda _: ok([entry("t-0"), entry("t-99"), entry(None)]))

    outcomes = await batch_outcomes(paystar, make_transfers(3))

    assert outcomes["t-0"] == Succeeded(track_id="t-0")
    assert {type(outcomes[track_id]) for track_id in ("t-1", "t-2")} == {Unknown}
    assert set(outcomes) == {"t-0", "t-1", "t-2"}


@pytest.mark.parametrize(
    ("reply", "kind", "error"),
    [
        (refused(9), Unknown, InsufficientBalance),
        (refused(10), Unknown, PaystarError),
        (NotSent("no connection"), Failed, NotSent),
        (NoResponse("reset"), Unknown, NoResponse),
        (html_page(502), Unknown, InvalidResponse),
        (refused(0), Unknown, PaystarError),
        (refused(11), Unknown, PaystarError),
        (refused(77), Unknown, PaystarError),
        (refused(9, http=503), Unknown, InsufficientBalance),
        (ok("what"), Unknown, InvalidResponse),
        (ok([{"track_id": "t-0"}]), Unknown, InvalidResponse),
    ],
)
async def test_batch_failed_chunk_reports_each_and_stops_no_other(
    reply: Reply, kind: type[Failed | Unknown], error: type[PaystarError]
) -> None:
    def script(sent: Sent) -> Reply:
        is_first_chunk = any(item["track_id"] in ("t-0", "t-1") for item in sent.fields["transfers"])
        return reply if is_first_chunk else succeed_all(sent)

    outcomes = await batch_outcomes(make_client(script)[0], make_transfers(6), chunk=2)

    for track_id in ("t-0", "t-1"):
        outcome = outcomes[track_id]
        assert isinstance(outcome, Failed | Unknown)
        assert type(outcome) is kind
        assert isinstance(outcome.error, error)
    assert {type(outcomes[f"t-{n}"]) for n in range(2, 6)} == {Succeeded}


@pytest.mark.parametrize("status", [2, 3, 6, 7, 8, 9, 10, 12])
async def test_batch_refused_chunk_of_several_is_unknown(status: int) -> None:
    """A refused call of several transfers may have been executed in part."""
    paystar, _ = make_client(lambda _: refused(status))

    outcomes = await batch_outcomes(paystar, make_transfers(3), chunk=2)

    assert [type(outcomes[f"t-{n}"]) for n in range(3)] == [Unknown, Unknown, Failed]


async def test_batch_pending_transfer_is_pending() -> None:
    paystar, _ = make_client(lambda _: ok(entry("t-0", "pending"), status="ok"))

    assert isinstance((await batch_outcomes(paystar, make_transfers(1)))["t-0"], Pending)


async def test_batch_foreign_error_leaves_chunk_unknown() -> None:
    async def failing(request: Any, next: Any) -> Any:  # noqa: A002
        response = await next(request)
        if request.value.transfers[0].track_id == "t-0":
            raise LookupError("a bug after the money moved")
        return response

    outcomes = await batch_outcomes(make_client(succeed_all, middleware=[failing])[0], make_transfers(4), chunk=2)

    assert outcomes["t-0"] == Unknown(track_id="t-0", reason="a user middleware raised LookupError")
    assert {type(outcomes[track_id]) for track_id in ("t-2", "t-3")} == {Succeeded}


class CountingSource:
    """A source that counts the transfers read from it, and fails after ``fails_at``."""

    def __init__(self, transfers: list[Transfer], *, fails_at: int | None = None) -> None:
        self.transfers, self.fails_at, self.read = transfers, fails_at, 0

    def __iter__(self) -> Iterator[Transfer]:
        for item in self.transfers:
            if self.read == self.fails_at:
                raise LookupError("the file ends in the middle")
            self.read += 1
            yield item


async def test_batch_reads_source_no_faster_than_it_sends() -> None:
    release = asyncio.Event()

    async def script(sent: Sent) -> Reply:
        await release.wait()
        return succeed_all(sent)

    paystar, engine = make_client(script, concurrency=3)
    source = CountingSource(make_transfers(1000))
    stream = paystar.transfers.batch(source, chunk=4)
    first = asyncio.ensure_future(anext(stream))
    await wait_all_tasks_blocked()
    assert source.read == 12
    assert engine.in_flight == 3

    release.set()
    await first
    await wait_all_tasks_blocked()
    assert source.read == 12  # the outcomes are not consumed, so no further chunk is sent
    async for _ in stream:
        assert source.read - 12 <= len(engine.sent) * 4
    assert engine.max_in_flight == 3
    assert sorted(sent_ids(engine)) == sorted(item.track_id for item in source.transfers)


async def test_batch_yields_outcomes_before_slow_source() -> None:
    async def slow() -> AsyncIterator[Transfer]:
        for item in make_transfers(2):
            yield item
        await asyncio.Event().wait()

    paystar, _ = make_client(succeed_all, concurrency=2)
    stream = paystar.transfers.batch(slow(), chunk=1)

    first = await asyncio.wait_for(anext(stream), 5)
    await wait_all_tasks_blocked()
    second = await asyncio.wait_for(anext(stream), 5)

    assert {first.track_id, second.track_id} == {"t-0", "t-1"}
    await stream.aclose()


async def test_batch_source_error_is_raised_after_outcomes() -> None:
    paystar, engine = make_client(succeed_all, concurrency=2)
    source = CountingSource(make_transfers(20), fails_at=7)
    yielded: list[Outcome] = []

    with pytest.raises(LookupError):
        await collect(paystar.transfers.batch(source, chunk=3), yielded)

    outcomes = {outcome.track_id: outcome for outcome in yielded}
    assert sorted(sent_ids(engine)) == [f"t-{n}" for n in range(6)]
    assert {type(outcomes[f"t-{n}"]) for n in range(6)} == {Succeeded}
    assert outcomes["t-6"] == Failed(track_id="t-6", reason="not sent: the source of transfers failed")
    assert len(outcomes) == 7


@pytest.mark.parametrize("distance", [1, 3, 50])
@pytest.mark.parametrize("first", ["success", "failed", None])
async def test_batch_repeated_track_id_is_sent_once(distance: int, first: str | None) -> None:
    def script(sent: Sent) -> Reply:
        track_ids = [item["track_id"] for item in sent.fields["transfers"]]
        return ok([entry(track_id, first or "success") for track_id in track_ids if first or track_id != "t-0"])

    paystar, engine = make_client(script, concurrency=2)
    transfers = make_transfers(60)
    transfers.insert(distance, transfer("t-0", amount=5000))

    outcomes = [outcome async for outcome in paystar.transfers.batch(transfers, chunk=2)]
    copies = [outcome for outcome in outcomes if outcome.track_id == "t-0"]

    assert sent_ids(engine).count("t-0") == 1
    assert len(copies) == 2
    assert Unknown(track_id="t-0", reason="a repeated track_id: this copy was not sent") in copies


async def test_batch_left_early_finishes_calls_in_flight_alone() -> None:
    release = asyncio.Event()

    async def script(sent: Sent) -> Reply:
        if sent.fields["transfers"][0]["track_id"] != "t-0":
            await release.wait()
        return succeed_all(sent)

    paystar, engine = make_client(script, concurrency=3)
    source = CountingSource(make_transfers(100))
    async with aclosing(paystar.transfers.batch(source, chunk=2)) as stream:
        async for outcome in stream:
            assert outcome.track_id == "t-0"
            break

    count = source.read
    release.set()
    await paystar.aclose()
    assert source.read == count == 6
    assert len(sent_ids(engine)) == 6
    assert engine.in_flight == 0


async def test_batch_cancelled_consumer_cancels_no_call() -> None:
    release, arrived = asyncio.Event(), list[str]()

    async def script(sent: Sent) -> Reply:
        await release.wait()
        arrived.extend(item["track_id"] for item in sent.fields["transfers"])
        return succeed_all(sent)

    paystar, _ = make_client(script, concurrency=2)
    consumer = asyncio.create_task(batch_outcomes(paystar, make_transfers(50), chunk=5))
    await wait_all_tasks_blocked()
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)

    release.set()
    await paystar.aclose()
    assert sorted(arrived) == sorted(f"t-{n}" for n in range(10))


async def test_batch_left_early_leaves_source_closable() -> None:
    closed: list[bool] = []

    async def source() -> AsyncIterator[Transfer]:
        try:
            for item in make_transfers(50):
                yield item
        finally:
            closed.append(True)

    paystar, _ = make_client(succeed_all, concurrency=1)
    inner = source()
    async with aclosing(paystar.transfers.batch(inner, chunk=1)) as stream:
        await anext(stream)
    assert isinstance(inner, AsyncIterator)
    await inner.aclose()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]

    assert closed == [True]
    await paystar.aclose()


@pytest.mark.parametrize("chunk", [0, -1, "5", None, float("nan"), 1.5, True])
async def test_batch_invalid_chunk_is_refused(chunk: Any) -> None:
    paystar, engine = make_client(succeed_all)

    with pytest.raises(InvalidValue, match="chunk"):
        await batch_outcomes(paystar, make_transfers(3), chunk)

    assert engine.sent == []


async def test_batch_invalid_item_is_raised_after_sent_chunks() -> None:
    paystar, engine = make_client(succeed_all)

    with pytest.raises(InvalidValue, match=r"transfers\[2\]"):
        await batch_outcomes(paystar, [*make_transfers(2), {"amount": 1}], chunk=1)

    assert sent_ids(engine) == ["t-0", "t-1"]


def invalid_iban_transfer(track_id: str) -> Transfer:
    """Return a transfer to an IBAN with wrong check digits."""
    return Transfer(
        amount=1,
        deposit=DEPOSIT,
        destination_account="IR" + "0" * 24,
        destination_firstname="A",
        destination_lastname="B",
        track_id=track_id,
    )


async def test_batch_invalid_transfer_fails_without_its_chunk() -> None:
    paystar, engine = make_client(succeed_all, checks="strict")

    outcomes = await batch_outcomes(paystar, [transfer("one"), invalid_iban_transfer("bad"), transfer("two")], chunk=3)

    assert {track_id: type(outcome) for track_id, outcome in outcomes.items()} == {
        "one": Succeeded,
        "bad": Failed,
        "two": Succeeded,
    }
    assert sorted(sent_ids(engine)) == ["one", "two"]


@pytest.mark.parametrize("source", [None, 3, "t-1", b"t-1", {"track_id": "t-1"}, transfer("t-1")])
async def test_batch_other_than_iterable_is_refused(source: Any) -> None:
    paystar, engine = make_client(succeed_all)

    with pytest.raises(InvalidValue, match="transfers"):
        await batch_outcomes(paystar, source)

    assert engine.sent == []


async def test_batch_failure_reason_is_masked() -> None:
    message = "IR570790000000850774361353 3173647904"
    paystar, _ = make_client(lambda _: ok([{"track_id": "t-0", "status": "failed", "message": message}], status="ok"))

    (outcome,) = (await batch_outcomes(paystar, make_transfers(1))).values()

    assert "0850774361353" not in repr(outcome)
    assert "3173647904" not in repr(outcome)


async def test_batch_strict_checks_refuse_before_sending() -> None:
    paystar, engine = make_client(succeed_all, checks="strict")

    outcomes = await batch_outcomes(paystar, [invalid_iban_transfer("bad"), transfer("good")], chunk=1)

    assert isinstance(outcomes["bad"], Failed)
    assert isinstance(outcomes["bad"].error, InvalidValue)
    assert isinstance(outcomes["good"], Succeeded)
    assert sent_ids(engine) == ["good"]


ITEM = st.fixed_dictionaries(
    {"status": st.sampled_from(["success", "failed", "pending", "reversed", ""])},
    optional={"track_id": st.sampled_from(["t-0", "t-1", "t-2", "t-3", "x", None, 7]), "hashid": st.just("h")},
)
REPLIES = st.one_of(
    st.tuples(st.just(200), st.lists(ITEM, max_size=6)).map(lambda pair: ok(pair[1], status="ok")),
    st.builds(
        refused, st.sampled_from([0, 4, 9, 10, 11, 13, 77, -1, "odd"]), http=st.sampled_from([200, 400, 429, 500])
    ),
    st.builds(html_page, st.sampled_from([200, 302, 502])),
    st.sampled_from([NoResponse("reset"), NotSent("no connection"), ok(None), ok({}), ok(5), (200, {}, b"{")]),
)


@given(replies=st.lists(REPLIES, min_size=3, max_size=3), chunk=st.integers(1, 4))
def test_batch_outcome_rests_on_evidence_alone(replies: list[Any], chunk: int) -> None:
    async def run_batch() -> None:
        remaining = list(replies)
        reply_of: dict[str, Reply] = {}

        def script(sent: Sent) -> Reply:
            if "refresh" in sent.path:
                return refused(13)
            reply: Reply = remaining.pop(0) if remaining else succeed_all(sent)
            for item in sent.fields["transfers"]:
                assert item["track_id"] not in reply_of
                reply_of[item["track_id"]] = reply
            return reply

        paystar, _ = make_client(script)
        outcomes = await batch_outcomes(paystar, make_transfers(4), chunk)

        assert set(outcomes) == {"t-0", "t-1", "t-2", "t-3"}
        for track_id, outcome in outcomes.items():
            reply = reply_of[track_id]
            body = reply[2].decode() if not isinstance(reply, BaseException) else ""
            if isinstance(outcome, Succeeded):
                assert '"success"' in body
                assert f'"{track_id}"' in body
            if isinstance(outcome, Failed) and outcome.error is None:
                assert '"failed"' in body
                assert f'"{track_id}"' in body
            if isinstance(outcome, Failed) and outcome.error is not None:
                assert outcome.error.executed == "no"
                assert isinstance(reply, NotSent) or '"status": ' in body
                assert isinstance(reply, BaseException) or reply[0] in (200, 400)
        assert running_tasks(paystar) == 0

    asyncio.run(run_batch())


def test_batch_works_on_trio() -> None:
    async def run_batch() -> None:
        paystar, engine = make_client(succeed_all)

        assert len(await batch_outcomes(paystar, make_transfers(50), chunk=7)) == 50

        assert len(engine.sent) == 8
        await paystar.aclose()

    anyio.run(run_batch, backend="trio")
