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


async def test_groups_end_when_repeats_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise StorageUnavailable("no room")

    groups = Chunker([transfer("t-0"), transfer("t-1")], 2, None)
    monkeypatch.setattr(SeenTrackIds, "add", fail)

    assert await groups.next() == ([], [])
    assert isinstance(groups.failure, StorageUnavailable)
    assert not groups.more
    groups.close()


async def test_batch_failing_source_yields_earlier_outcomes() -> None:
    def source() -> Iterator[Transfer]:
        yield transfer("t-0")
        yield transfer("t-1")
        raise LookupError("the file ends in the middle")

    with closing(Chunker(source(), 5, None)) as groups:
        group, refused = await groups.next()

    assert group == []
    assert [type(one) for one in refused] == [Failed, Failed]
    assert [one.track_id for one in refused] == ["t-0", "t-1"]
    assert isinstance(groups.failure, LookupError)
    assert not groups.more


async def test_batch_non_transfer_yields_earlier_outcomes() -> None:
    source: list[Any] = [transfer("t-0"), "t-1", transfer("t-2")]
    with closing(Chunker(source, 5, None)) as groups:
        group, refused = await groups.next()

    assert group == []
    assert [one.track_id for one in refused] == ["t-0"]
    assert isinstance(groups.failure, InvalidValue)
    assert groups.failure.field == "transfers[1]"


async def test_batch_source_without_await_is_read_in_slices() -> None:
    async with LoopTurns() as turns:
        read: list[str] = []

        def source() -> Iterator[Transfer]:
            for number in range(3 * MAX_SLICE_TRANSFERS):
                read.append(f"t-{number}")
                yield transfer(f"t-{number}")

        done = turns.watch(read)
        with closing(Chunker(source(), 3 * MAX_SLICE_TRANSFERS - 10, None)) as groups:
            group, _ = await groups.next()

    assert len(group) == 3 * MAX_SLICE_TRANSFERS - 10
    assert [len(one) for one in done if one] == [MAX_SLICE_TRANSFERS, MAX_SLICE_TRANSFERS, MAX_SLICE_TRANSFERS - 10]


T = TypeVar("T")

DEPOSIT = "0100000000001"


def over(play: Script, **options: Any) -> tuple[Paystar, Engine]:
    """Return a client without retries, and its engine."""
    engine = Engine(play)
    return client(engine, **{"max_retries": 0, "clock": QuickClock(), **options}), engine


async def collect(stream: AsyncIterator[T], into: list[T]) -> None:
    async for one in stream:
        into.append(one)


def left_behind(paystar: Paystar) -> int:
    background, _ = paystar._loop_services()  # pyright: ignore[reportPrivateUsage]
    return background.running_count


# --- wait -------------------------------------------------------------------------------------------------------------


async def test_wait_with_deposit_shares_one_list_call() -> None:
    names = [f"t-{n}" for n in range(400)]
    paystar, engine = over(lambda _: ok(entries(names), status="ok"), clock=RunningClock())

    outcomes = await asyncio.gather(*[paystar.transfers.wait(track_id=one, deposit=DEPOSIT) for one in names])

    assert outcomes == [Succeeded(track_id=one) for one in names]
    (sent,) = engine.sent
    assert (sent.fields["deposit"], sent.fields["limit"]) == (DEPOSIT, "500")
    assert "track_id" not in sent.fields


async def test_wait_without_deposit_looks_up_each_track_id_once() -> None:
    paystar, engine = over(lambda sent: ok([entry(sent.fields["track_id"])]), clock=RunningClock())

    outcomes = await asyncio.gather(*[paystar.transfers.wait(track_id=one) for one in ("a", "b", "a")])

    assert [one.track_id for one in outcomes] == ["a", "b", "a"]
    assert sorted(one.fields["track_id"] for one in engine.sent) == ["a", "b"]


async def test_a_transfer_further_down_the_list_is_found_on_its_page() -> None:
    whole = [entry(f"t-{n}") for n in range(1200)]
    paystar, engine = over(lambda sent: ok(_part(whole, sent)), clock=RunningClock())

    assert await paystar.transfers.wait(track_id="t-1100", deposit=DEPOSIT) == Succeeded(track_id="t-1100")

    assert [one.fields.get("skip") for one in engine.sent] == [None, "500", "1000"]


async def test_wait_server_gives_fewer_than_asked_reads_on() -> None:
    whole = [entry(f"t-{n}") for n in range(120)]
    paystar, engine = over(lambda sent: ok(_part(whole, sent)[:50]), clock=RunningClock())

    assert await paystar.transfers.wait(track_id="t-110", deposit=DEPOSIT) == Succeeded(track_id="t-110")

    assert [one.fields.get("skip") for one in engine.sent] == [None, "50", "100"]


@pytest.mark.parametrize(("skips", "requests"), [(True, 10), (False, 2)])
async def test_wait_unlisted_transfer_reads_bounded_pages(skips: bool, requests: int) -> None:
    """The newest 5,000 are read, or what a service that ignores ``skip`` gives."""
    whole = [entry(f"t-{n}") for n in range(5500)]
    paystar, engine = over(
        lambda sent: ok(_part(whole, sent) if skips else whole[:500]), clock=(clock := RunningClock())
    )

    async with clock.running():
        outcome = await paystar.transfers.wait(track_id="t-5100", deposit=DEPOSIT, timeout=0.1)

    assert isinstance(outcome, Unknown)
    assert len(engine.sent) == requests


def _part(whole: list[dict[str, object]], sent: Sent) -> list[dict[str, object]]:
    skip = int(sent.fields.get("skip", 0))
    return whole[skip : skip + int(sent.fields["limit"])]


async def test_an_entry_of_another_transfer_is_no_answer() -> None:
    paystar, _ = over(lambda _: ok(entries(["t-10", "T-1", "t-1 "])), clock=(clock := RunningClock()))

    async with clock.running():
        outcome = await paystar.transfers.wait(track_id="t-1", timeout=5)

    assert isinstance(outcome, Unknown)
    assert "does not list it" in outcome.reason


async def test_a_refusal_to_tell_is_raised() -> None:
    paystar, _ = over(in_turn(refused(7)), clock=RunningClock())

    with pytest.raises(IpNotAllowed):
        await paystar.transfers.wait(track_id="t-1")


async def test_wait_invalid_track_id_is_refused() -> None:
    paystar, engine = over(in_turn(ok()))

    with pytest.raises(InvalidValue, match="track_id"):
        await paystar.transfers.wait(track_id="a b")

    assert engine.sent == []


async def test_aclose_does_not_wait_for_cancelled_waiters() -> None:
    paystar, _ = over(lambda _: ok([entry("t-1", "pending")]), clock=RunningClock())
    waiting = asyncio.create_task(paystar.transfers.wait(track_id="t-1"))
    await wait_all_tasks_blocked()

    waiting.cancel()
    await wait_all_tasks_blocked()

    assert left_behind(paystar) == 0
    await paystar.aclose()


@pytest.mark.parametrize("stored", ["t-1", "w123*t-1*1", "w123*t-1*12"])
async def test_a_wallet_transfer_is_found_in_each_form_it_is_kept_in(stored: str) -> None:
    paystar, engine = over(lambda _: ok([entry(stored, ref_code="r")]), clock=RunningClock())

    assert await paystar.wallet.wait(track_id="t-1") == Succeeded(track_id="t-1", ref_code="r")

    assert engine.sent[0].fields == {"wallet_hashid": "w123", "track_id": "t-1"}


@pytest.mark.parametrize(
    "found",
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
async def test_what_may_be_another_s_is_no_evidence(found: list[dict[str, object]]) -> None:
    paystar, _ = over(lambda _: ok(found), clock=(clock := RunningClock()))

    async with clock.running():
        assert isinstance(await paystar.wallet.wait(track_id="t-1", timeout=3), Unknown)


@pytest.mark.parametrize("fields", [{}, {"track_id": None}, {"track_id": ""}, {"hashid": "h-t-1"}])
@pytest.mark.parametrize("status", ["success", "failed"])
async def test_wait_entry_without_track_id_decides_nothing(fields: dict[str, object], status: str) -> None:
    """Though it is the only entry of a response to a query for this transfer alone."""
    paystar, _ = over(lambda _: ok([{"status": status, **fields}]), clock=(clock := RunningClock()))

    async with clock.running():
        outcome = await paystar.transfers.wait(track_id="t-1", timeout=3)

    assert isinstance(outcome, Unknown)


# --- iterate ----------------------------------------------------------------------------------------------------------


async def test_iterate_short_pages_are_walked_to_the_end() -> None:
    whole = [entry(f"t-{n}") for n in range(120)]
    paystar, engine = over(lambda sent: ok(_part(whole, sent)[:50]))

    assert len([one async for one in paystar.transfers.iterate(page=100)]) == 120

    assert [one.fields.get("skip") for one in engine.sent] == [None, "50", "100", "120"]


@pytest.mark.parametrize("nameless", [True, False])
async def test_iterate_ignored_skip_is_recognised(nameless: bool) -> None:
    whole: list[dict[str, object]] = [{"status": "success"}] * 3 if nameless else entries(["a", "b", "c"])
    paystar, engine = over(lambda _: ok(whole))
    seen: list[object] = []

    with pytest.raises(InvalidResponse, match="does not go on"):
        await collect(paystar.transfers.iterate(page=3), seen)

    assert len(seen) == 3
    assert len(engine.sent) == 2 + MAX_STALE_PAGES


async def test_iterate_ignored_skip_short_list_is_whole() -> None:
    paystar, engine = over(lambda _: ok(entries(["a", "b", "c"])))

    assert [one.track_id async for one in paystar.transfers.iterate()] == ["a", "b", "c"]

    assert len(engine.sent) == 2


async def test_what_was_given_before_a_page_failed_holds() -> None:
    paystar, _ = over(in_turn(ok(entries(["a", "b"])), NoResponse("gone")))
    seen: list[Settlement] = []

    with pytest.raises(NoResponse):
        await collect(paystar.transfers.iterate(page=2), seen)

    assert [one.track_id for one in seen] == ["a", "b"]


@pytest.mark.parametrize("size", [0, 501])
async def test_a_page_has_its_bounds(size: int) -> None:
    paystar, _ = over(in_turn(ok()))

    with pytest.raises(InvalidValue, match="limit"):
        _ = [one async for one in paystar.transfers.iterate(page=size)]


# --- batch ------------------------------------------------------------------------------------------------------------


def sent_ids(engine: Engine) -> list[str]:
    return [item["track_id"] for one in engine.sent for item in one.fields["transfers"]]


def all_succeed(sent: Sent) -> Reply:
    return ok(entries([one["track_id"] for one in sent.fields["transfers"]]), status="ok")


async def outcomes_of(paystar: Paystar, transfers: Any, chunk: int = 20) -> dict[str, Outcome]:
    """Every outcome by track_id, each exactly once."""
    outcomes: dict[str, Outcome] = {}
    async for one in paystar.transfers.batch(transfers, chunk=chunk):
        assert one.track_id not in outcomes
        outcomes[one.track_id] = one
    return outcomes


def several(count: int) -> list[Transfer]:
    return [transfer(f"t-{n}") for n in range(count)]


async def lazily(transfers: list[Transfer]) -> AsyncIterator[Transfer]:
    for one in transfers:
        await asyncio.sleep(0)
        yield one


@pytest.mark.parametrize("kind", [list, tuple, iter, lazily])
@pytest.mark.parametrize(("count", "chunk", "calls"), [(0, 20, 0), (1, 20, 1), (20, 20, 1), (41, 20, 3), (5, 1, 5)])
async def test_any_iterable_is_sent_in_chunks(kind: Any, count: int, chunk: int, calls: int) -> None:
    paystar, engine = over(all_succeed)

    outcomes = await outcomes_of(paystar, kind(several(count)), chunk)

    assert set(outcomes) == {f"t-{n}" for n in range(count)}
    assert all(isinstance(one, Succeeded) for one in outcomes.values())
    assert len(engine.sent) == calls
    assert sorted(sent_ids(engine)) == sorted(outcomes)


async def test_answers_in_any_order_are_matched_by_track_id() -> None:
    def play(sent: Sent) -> Reply:
        items = [one["track_id"] for one in sent.fields["transfers"]]
        Random(3).shuffle(items)
        return ok([entry(one, "success" if int(one[2:]) % 2 else "failed", message="no") for one in items])

    outcomes = await outcomes_of(over(play)[0], several(20))

    for number in range(20):
        assert isinstance(outcomes[f"t-{number}"], Succeeded if number % 2 else Failed)


async def test_what_the_answer_does_not_mention_is_unknown() -> None:
    paystar, _ = over(lambda _: ok([entry("t-0"), entry("t-99"), entry(None)]))

    outcomes = await outcomes_of(paystar, several(3))

    assert outcomes["t-0"] == Succeeded(track_id="t-0")
    assert {type(outcomes[one]) for one in ("t-1", "t-2")} == {Unknown}
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
    def play(sent: Sent) -> Reply:
        bad = any(one["track_id"] in ("t-0", "t-1") for one in sent.fields["transfers"])
        return reply if bad else all_succeed(sent)

    outcomes = await outcomes_of(over(play)[0], several(6), chunk=2)

    for name in ("t-0", "t-1"):
        outcome = outcomes[name]
        assert isinstance(outcome, Failed | Unknown)
        assert type(outcome) is kind
        assert isinstance(outcome.error, error)
    assert {type(outcomes[f"t-{n}"]) for n in range(2, 6)} == {Succeeded}


@pytest.mark.parametrize("status", [2, 3, 6, 7, 8, 9, 10, 12])
async def test_batch_refused_group_is_failed_only_if_of_one(status: int) -> None:
    """A call of several may have been executed in part before it was refused."""
    paystar, _ = over(lambda _: refused(status))

    outcomes = await outcomes_of(paystar, several(3), chunk=2)

    assert [type(outcomes[f"t-{n}"]) for n in range(3)] == [Unknown, Unknown, Failed]


async def test_a_pending_transfer_is_pending() -> None:
    paystar, _ = over(lambda _: ok(entry("t-0", "pending"), status="ok"))

    assert isinstance((await outcomes_of(paystar, several(1)))["t-0"], Pending)


async def test_batch_foreign_error_leaves_chunk_unknown() -> None:
    async def ring(request: Any, next: Any) -> Any:  # noqa: A002
        answer = await next(request)
        if request.value.transfers[0].track_id == "t-0":
            raise LookupError("a bug after the money moved")
        return answer

    outcomes = await outcomes_of(over(all_succeed, middleware=[ring])[0], several(4), chunk=2)

    assert outcomes["t-0"] == Unknown(track_id="t-0", reason="a user middleware raised LookupError")
    assert {type(outcomes[one]) for one in ("t-2", "t-3")} == {Succeeded}


class Counting:
    """A source that knows how far it was read."""

    def __init__(self, transfers: list[Transfer], *, fails_at: int | None = None) -> None:
        self.transfers, self.fails_at, self.read = transfers, fails_at, 0

    def __iter__(self) -> Iterator[Transfer]:
        for one in self.transfers:
            if self.read == self.fails_at:
                raise LookupError("the file ends in the middle")
            self.read += 1
            yield one


async def test_batch_reads_source_no_faster_than_it_sends() -> None:
    go = asyncio.Event()

    async def play(sent: Sent) -> Reply:
        await go.wait()
        return all_succeed(sent)

    paystar, engine = over(play, concurrency=3)
    source = Counting(several(1000))
    stream = paystar.transfers.batch(source, chunk=4)
    first = asyncio.ensure_future(anext(stream))
    await wait_all_tasks_blocked()
    assert source.read == 12
    assert engine.in_flight == 3

    go.set()
    await first
    await wait_all_tasks_blocked()
    assert source.read == 12  # nobody takes the outcomes: nothing more is sent
    async for _ in stream:
        assert source.read - 12 <= len(engine.sent) * 4
    assert engine.max_in_flight == 3
    assert sorted(sent_ids(engine)) == sorted(one.track_id for one in source.transfers)


async def test_batch_yields_outcomes_before_slow_source() -> None:
    async def slow() -> AsyncIterator[Transfer]:
        for one in several(2):
            yield one
        await asyncio.Event().wait()

    paystar, _ = over(all_succeed, concurrency=2)
    stream = paystar.transfers.batch(slow(), chunk=1)

    first = await asyncio.wait_for(anext(stream), 5)
    await wait_all_tasks_blocked()
    second = await asyncio.wait_for(anext(stream), 5)

    assert {first.track_id, second.track_id} == {"t-0", "t-1"}
    await stream.aclose()


async def test_a_source_that_raises_is_heard_after_every_outcome() -> None:
    paystar, engine = over(all_succeed, concurrency=2)
    source = Counting(several(20), fails_at=7)
    told: list[Outcome] = []

    with pytest.raises(LookupError):
        await collect(paystar.transfers.batch(source, chunk=3), told)

    outcomes = {one.track_id: one for one in told}
    assert sorted(sent_ids(engine)) == [f"t-{n}" for n in range(6)]
    assert {type(outcomes[f"t-{n}"]) for n in range(6)} == {Succeeded}
    assert outcomes["t-6"] == Failed(track_id="t-6", reason="not sent: the source of transfers failed")
    assert len(outcomes) == 7


@pytest.mark.parametrize("apart", [1, 3, 50])
@pytest.mark.parametrize("first", ["success", "failed", None])
async def test_batch_repeated_track_id_is_sent_once(apart: int, first: str | None) -> None:
    def play(sent: Sent) -> Reply:
        ids = [one["track_id"] for one in sent.fields["transfers"]]
        return ok([entry(one, first or "success") for one in ids if first or one != "t-0"])

    paystar, engine = over(play, concurrency=2)
    transfers = several(60)
    transfers.insert(apart, transfer("t-0", amount=5000))

    copies = [one async for one in paystar.transfers.batch(transfers, chunk=2) if one.track_id == "t-0"]

    assert sent_ids(engine).count("t-0") == 1
    assert len(copies) == 2
    assert Unknown(track_id="t-0", reason="a repeated track_id: this copy was not sent") in copies


async def test_batch_left_early_finishes_calls_in_flight_alone() -> None:
    go = asyncio.Event()

    async def play(sent: Sent) -> Reply:
        if sent.fields["transfers"][0]["track_id"] != "t-0":
            await go.wait()
        return all_succeed(sent)

    paystar, engine = over(play, concurrency=3)
    source = Counting(several(100))
    async with aclosing(paystar.transfers.batch(source, chunk=2)) as stream:
        async for one in stream:
            assert one.track_id == "t-0"
            break

    read = source.read
    go.set()
    await paystar.aclose()
    assert source.read == read == 6
    assert len(sent_ids(engine)) == 6
    assert engine.in_flight == 0


async def test_a_consumer_that_is_cancelled_breaks_off_no_transfer() -> None:
    go, arrived = asyncio.Event(), list[str]()

    async def play(sent: Sent) -> Reply:
        await go.wait()
        arrived.extend(one["track_id"] for one in sent.fields["transfers"])
        return all_succeed(sent)

    paystar, _ = over(play, concurrency=2)
    consumer = asyncio.create_task(outcomes_of(paystar, several(50), chunk=5))
    await wait_all_tasks_blocked()
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)

    go.set()
    await paystar.aclose()
    assert sorted(arrived) == sorted(f"t-{n}" for n in range(10))


async def test_the_source_is_closed_when_the_loop_is_left() -> None:
    closed: list[bool] = []

    async def source() -> AsyncIterator[Transfer]:
        try:
            for one in several(50):
                yield one
        finally:
            closed.append(True)

    paystar, _ = over(all_succeed, concurrency=1)
    inner = source()
    async with aclosing(paystar.transfers.batch(inner, chunk=1)) as stream:
        await anext(stream)
    assert isinstance(inner, AsyncIterator)
    await inner.aclose()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType]

    assert closed == [True]
    await paystar.aclose()


@pytest.mark.parametrize("chunk", [0, -1, "5", None, float("nan"), 1.5, True])
async def test_a_chunk_holds_at_least_one(chunk: Any) -> None:
    paystar, engine = over(all_succeed)

    with pytest.raises(InvalidValue, match="chunk"):
        await outcomes_of(paystar, several(3), chunk)

    assert engine.sent == []


async def test_what_is_no_transfer_ends_the_batch_after_what_was_sent() -> None:
    paystar, engine = over(all_succeed)

    with pytest.raises(InvalidValue, match=r"transfers\[2\]"):
        await outcomes_of(paystar, [*several(2), {"amount": 1}], chunk=1)

    assert sent_ids(engine) == ["t-0", "t-1"]


def mistyped(track_id: str) -> Transfer:
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
    paystar, engine = over(all_succeed, checks="strict")

    outcomes = await outcomes_of(paystar, [transfer("one"), mistyped("bad"), transfer("two")], chunk=3)

    assert {name: type(one) for name, one in outcomes.items()} == {"one": Succeeded, "bad": Failed, "two": Succeeded}
    assert sorted(sent_ids(engine)) == ["one", "two"]


@pytest.mark.parametrize("given", [None, 3, "t-1", b"t-1", {"track_id": "t-1"}, transfer("t-1")])
async def test_what_is_no_list_of_transfers_is_refused_by_name(given: Any) -> None:
    paystar, engine = over(all_succeed)

    with pytest.raises(InvalidValue, match="transfers"):
        await outcomes_of(paystar, given)

    assert engine.sent == []


async def test_what_the_bank_says_of_a_transfer_shows_no_personal_data() -> None:
    said = "IR570790000000850774361353 3173647904"
    paystar, _ = over(lambda _: ok([{"track_id": "t-0", "status": "failed", "message": said}], status="ok"))

    (outcome,) = (await outcomes_of(paystar, several(1))).values()

    assert "0850774361353" not in repr(outcome)
    assert "3173647904" not in repr(outcome)


async def test_strict_checks_refuse_a_transfer_before_it_is_sent() -> None:
    paystar, engine = over(all_succeed, checks="strict")

    outcomes = await outcomes_of(paystar, [mistyped("bad"), transfer("good")], chunk=1)

    assert isinstance(outcomes["bad"], Failed)
    assert isinstance(outcomes["bad"].error, InvalidValue)
    assert isinstance(outcomes["good"], Succeeded)
    assert sent_ids(engine) == ["good"]


ITEM = st.fixed_dictionaries(
    {"status": st.sampled_from(["success", "failed", "pending", "reversed", ""])},
    optional={"track_id": st.sampled_from(["t-0", "t-1", "t-2", "t-3", "x", None, 7]), "hashid": st.just("h")},
)
ANSWERS = st.one_of(
    st.tuples(st.just(200), st.lists(ITEM, max_size=6)).map(lambda one: ok(one[1], status="ok")),
    st.builds(
        refused, st.sampled_from([0, 4, 9, 10, 11, 13, 77, -1, "odd"]), http=st.sampled_from([200, 400, 429, 500])
    ),
    st.builds(html_page, st.sampled_from([200, 302, 502])),
    st.sampled_from([NoResponse("reset"), NotSent("no connection"), ok(None), ok({}), ok(5), (200, {}, b"{")]),
)


@given(replies=st.lists(ANSWERS, min_size=3, max_size=3), chunk=st.integers(1, 4))
def test_batch_outcome_rests_on_evidence_alone(replies: list[Any], chunk: int) -> None:
    async def play() -> None:
        left = list(replies)
        told: dict[str, Reply] = {}

        def reply(sent: Sent) -> Reply:
            if "refresh" in sent.path:
                return refused(13)
            answer: Reply = left.pop(0) if left else all_succeed(sent)
            for one in sent.fields["transfers"]:
                assert one["track_id"] not in told
                told[one["track_id"]] = answer
            return answer

        paystar, _ = over(reply)
        outcomes = await outcomes_of(paystar, several(4), chunk)

        assert set(outcomes) == {"t-0", "t-1", "t-2", "t-3"}
        for name, outcome in outcomes.items():
            answer = told[name]
            body = answer[2].decode() if not isinstance(answer, BaseException) else ""
            if isinstance(outcome, Succeeded):
                assert '"success"' in body
                assert f'"{name}"' in body
            if isinstance(outcome, Failed) and outcome.error is None:
                assert '"failed"' in body
                assert f'"{name}"' in body
            if isinstance(outcome, Failed) and outcome.error is not None:
                assert outcome.error.executed == "no"
                assert isinstance(answer, NotSent) or '"status": ' in body
                assert isinstance(answer, BaseException) or answer[0] in (200, 400)
        assert left_behind(paystar) == 0

    asyncio.run(play())


def test_a_batch_runs_on_trio_too() -> None:
    async def play() -> None:
        paystar, engine = over(all_succeed)

        assert len(await outcomes_of(paystar, several(50), chunk=7)) == 50

        assert len(engine.sent) == 8
        await paystar.aclose()

    anyio.run(play, backend="trio")
