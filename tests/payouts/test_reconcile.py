"""The ledger beside the bank's list, which is long, grows while it is read, and may hold more than was asked for."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from paystar_async.errors import InvalidValue, Unanswered
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.payouts import reconcile
from paystar_async.payouts.product import Bank
from paystar_async.payouts.reconcile import Mismatch
from paystar_async.payouts.records import Policy
from paystar_async.payouts.states import State
from paystar_async.sandbox import Sandbox
from tests.payouts.bank import Desk, answering, each, raising
from tests.payouts.bank import transfers as paid
from tests.payouts.places import Place
from tests.payouts.test_payouts import Client, client, sandbox, transfer, transfers

__all__ = ["client", "sandbox"]


async def test_reconcile_tells_what_only_one_side_has(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        await paystar.transfers.settle(transfers=[transfer(77)])  # before all of ours: not within the window
        await (await paystar.payouts.submit(transfers(3), batch_id="b")).wait()
        assert (await paystar.payouts.reconcile(3600)).ok
        await paystar.transfers.settle(transfers=[transfer(78)])
        found = await paystar.payouts.reconcile(3600)
        assert [one.track_id for one in found.orphans] == ["t-78"]
        assert (found.compared, found.ok) == (3, False)
        with pytest.raises(InvalidValue, match="window"):
            await paystar.payouts.reconcile(0)
        sandbox.reset()
        assert (await paystar.payouts.reconcile(3600)).missing == ("t-0", "t-1", "t-2")


async def test_reconcile_learns_what_the_bank_has_decided(client: Client, sandbox: Sandbox) -> None:
    sandbox.settings.settle_seconds = 3600.0
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="b")
        while (await batch.report()).of(State.PENDING).count < 2:
            await batch.wait(timeout=0.05)
        await paystar.payouts.pause()
        sandbox.advance(7200)
        found = await paystar.payouts.reconcile(3600)
        assert (found.learned, found.ok) == (2, True)
        assert (await batch.report()).succeeded.count == 2


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that takes many questions."""
    monkeypatch.setattr(reconcile, "PAGE", 3)


Listed = Callable[[Sequence[Settlement]], Sequence[Settlement]]


def rewrite(monkeypatch: pytest.MonkeyPatch, change: Listed) -> None:
    """Let the bank's list say something else."""
    told = Bank.list

    async def changed(self: Bank, deposit: str, limit: int, skip: int, timeout: float) -> Sequence[Settlement] | None:
        found = await told(self, deposit, limit, skip, timeout)
        return found and change(found)

    monkeypatch.setattr(Bank, "list", changed)


@pytest.mark.usefixtures("short_pages")
async def test_a_list_of_several_pages_is_read_to_its_end(client: Client) -> None:
    async with client() as paystar:
        await paystar.transfers.settle(transfers=[transfer(70)])  # before all of ours
        await (await paystar.payouts.submit(transfers(4), batch_id="a")).wait()
        await paystar.transfers.settle(transfers=[transfer(71)])
        await (await paystar.payouts.submit([transfer(number) for number in range(10, 14)], batch_id="b")).wait()
        found = await paystar.payouts.reconcile(3600)
    assert (found.compared, found.missing, found.mismatches) == (8, (), ())
    assert [one.track_id for one in found.orphans] == ["t-71"]


@pytest.mark.usefixtures("short_pages")
async def test_a_list_that_grows_while_it_is_read_tells_nothing_twice(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(2), batch_id="a")).wait()
        await paystar.transfers.settle(transfers=[transfer(71)])
        await (await paystar.payouts.submit([transfer(2), transfer(3)], batch_id="b")).wait()
        told = Bank.list

        async def growing(self: Bank, deposit: str, *more: Any) -> Sequence[Settlement] | None:
            found = await told(self, deposit, *more)
            await paystar.transfers.settle(transfers=[transfer(80 + more[1])])
            return found

        monkeypatch.setattr(Bank, "list", growing)
        found = await paystar.payouts.reconcile(3600)
    assert (found.compared, found.missing, found.mismatches) == (4, (), ())
    assert [one.track_id for one in found.orphans] == ["t-71"]


async def test_another_amount_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Settlement(track_id="t-0", status=TransferStatus.SUCCESS, extra={"amount": "999"})
    rewrite(monkeypatch, lambda found: [said] if found else found)
    async with client() as paystar:
        await (await paystar.payouts.submit(transfers(1), batch_id="a")).wait()
        found = await paystar.payouts.reconcile(3600)
    assert found.mismatches == (Mismatch(track_id="t-0", field="amount", ledger="1000", bank="999"),)
    assert not found.ok


async def test_what_was_paid_twice_under_one_track_id_is_told(client: Client, sandbox: Sandbox) -> None:
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(3), batch_id="a")
        await batch.wait()
        await paystar.transfers.settle(transfers=[transfer(1)])  # by somebody who knows nothing of the ledger
        assert sandbox.ledger["t-1"].count == 2
        found = await paystar.payouts.reconcile(3600)
        assert (await batch.report()).succeeded.count == 3
    [told] = found.mismatches
    assert (told.track_id, told.field) == ("t-1", "payment")
    assert told.ledger != told.bank
    assert (found.compared, found.missing, found.orphans) == (3, (), ())


@pytest.mark.parametrize("waits", [False, True])
async def test_an_attempt_that_failed_does_not_speak_for_the_one_that_did_not(
    client: Client, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """On a page of its own, where nothing beside it says otherwise."""
    monkeypatch.setattr(reconcile, "PAGE", 1)
    sandbox.settings.settle_seconds = 3600.0 if waits else 0.0
    failed = Settlement(hashid="of-before", track_id="t-0", status=TransferStatus.FAILED)
    told = Bank.list

    async def with_another(self: Bank, deposit: str, limit: int, skip: int, timeout: float) -> Any:
        return [failed] if skip == 1 else await told(self, deposit, limit, max(0, skip - 1), timeout)

    monkeypatch.setattr(Bank, "list", with_another)
    async with client() as paystar:
        batch = await paystar.payouts.submit(transfers(2), batch_id="a")
        expected = State.PENDING if waits else State.SUCCESS
        while (await batch.report()).of(expected).count < 2:
            await batch.wait(timeout=0.05)
        await paystar.payouts.pause()
        found = await paystar.payouts.reconcile(3600)
        report = await batch.report()
    assert found.ok
    assert (found.compared, report.of(expected).count) == (2, 2)


def beside(desk: Desk) -> Any:
    """What reconcile needs of a desk."""
    return SimpleNamespace(ledger=desk.ledger, products={"bank": desk.product})


def listed(status: str, hashid: str | None, **more: Any) -> Settlement:
    return Settlement(track_id="t-00000", status=TransferStatus(status), hashid=hashid, **more)


@pytest.mark.usefixtures("short_pages")
async def test_a_failure_at_the_end_of_a_page_is_not_believed_before_all_of_its_name_is_seen(
    place: Place, desk: Desk
) -> None:
    await desk.ledger.plan(desk.product, "b", each(paid(1)))
    desk.teller.script.append(raising(Unanswered("no answer")))
    await desk.advancer.advance((await desk.chunks())[0])
    failed, arrived = listed("failed", "second"), listed("success", "first")
    desk.teller.finds.extend([lambda _: [failed], lambda _: [failed, arrived]])
    found = await reconcile.reconcile(beside(desk), 3600)
    events = await desk.ledger.events("bank", "app-1", "t-00000")
    assert [one.after.value for one in events[-2:]] == ["unknown", "needs_review"]
    assert (found.compared, found.learned, found.ok) == (1, 1, False)


async def test_what_was_paid_twice_is_told_where_the_ledger_has_no_name_of_it(place: Place, desk: Desk) -> None:
    await desk.ledger.plan(desk.product, "b", each(paid(1)))
    desk.teller.script.append(answering(listed("success", None)))
    await desk.advancer.advance((await desk.chunks())[0])
    desk.teller.finds.append(lambda _: [listed("success", "second"), listed("success", "first")])
    found = await reconcile.reconcile(beside(desk), 3600)
    assert [(one.field, one.ledger, one.bank) for one in found.mismatches] == [("payment", "second", "first")]


async def test_of_what_was_sent_again_all_is_asked_for_the_first_attempt_being_far_down_the_list(
    place: Place, desk: Desk
) -> None:
    await desk.ledger.plan(desk.product, "b", each(paid(2)), policy=Policy(chunk=1))
    [chunk, other] = await desk.chunks()
    desk.teller.script.append(answering(listed("success", "first", extra={"amount": 1})))
    await desk.advancer.advance(chunk)
    await desk.advancer.advance(other)
    await desk.ledger.resolve("bank", "app-1", "t-00000", "resend")
    for again in await desk.chunks():
        await desk.advancer.advance(again)
    assert await desk.states() == ["success"] * 2
    both = [desk.teller.entry("t-00000"), listed("success", "first")]
    desk.teller.finds.extend([lambda _: [desk.teller.entry("t-00001"), both[0]], lambda _: both])
    found = await reconcile.reconcile(beside(desk), 3600)
    assert desk.teller.asked == [None, "t-00000"]
    assert [(one.field, one.bank) for one in found.mismatches] == [("payment", "first")]
    assert (found.compared, found.missing, found.orphans) == (2, (), ())
