"""Each deviation: conform names its assumption and no other, and payouts and payments stay correct in that sandbox."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field

from paystar_async import Callback, Paystar
from paystar_async.cli.conform.run import ConformRun, RunOptions
from paystar_async.conform import ShapeRecorder
from paystar_async.conform.assumption import Verdict
from paystar_async.conform.assumptions import ASSUMPTIONS, Finding, judge_observations
from paystar_async.conform.recorder import read_observations
from paystar_async.errors import ConfigurationError, PaystarError
from paystar_async.payments import Payment
from paystar_async.payouts.models import TransferRecord, TransferState
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.deviations import DEVIATIONS, parse_assumption
from paystar_async.sandbox.environment import client_environment
from tests.payouts.sandbox_clients import OTHER_DEPOSIT, QUICK, transfer, transfers, wallet_transfer

CALLBACK = "https://shop.example/back"
PAYOUT_TIMEOUT = 0.3
HOUR = 3_600.0


@define
class World:
    """A sandbox with a deviation, a client, and what it paid."""

    sandbox: Sandbox
    paystar: Paystar
    recorder: ShapeRecorder
    records: list[TransferRecord] = field(factory=list[TransferRecord])
    payment: Payment | None = None


@asynccontextmanager
async def open_world(assumption: str | None, folder: Path) -> AsyncGenerator[World]:
    sandbox = Sandbox(settle_seconds=0.0)
    if assumption is not None:
        sandbox.break_assumption(assumption)
    recorder = ShapeRecorder(folder / "passive.jsonl", clock=sandbox.clock)
    async with Paystar(
        sandbox.application,
        sandbox.gateway,
        sandbox.wallet,
        engine=sandbox.engine(),
        database=folder / "money.db",
        keys=str(folder / "keys.db"),
        middleware=[recorder],
        timeout=5.0,
        max_retries=0,
    ) as paystar:
        yield World(sandbox, paystar, recorder)


async def pay_out(world: World) -> None:
    """Pay batches from two deposits, one of which covers only its first transfer, and from the wallet."""
    world.sandbox.set_balance(OTHER_DEPOSIT, 1_050)
    batches = [
        await world.paystar.payouts.submit(items, batch_id=name, policy=QUICK)
        for name, items in (
            ("bank", transfers(3)),
            (
                "uncovered",
                [transfer(number, deposit=OTHER_DEPOSIT, track_id=f"uncovered-{number}") for number in (1, 2)],
            ),
            ("wallet", [wallet_transfer(1)]),
            ("wallet-2", [wallet_transfer(2), wallet_transfer(3)]),
        )
    ]
    for batch in batches:
        with suppress(PaystarError):
            await batch.wait(timeout=PAYOUT_TIMEOUT)
        world.records += [record async for record in batch.transfers()]


async def take_payment(world: World) -> None:
    """Take a payment, with a second verify of a payment that is verified."""
    paystar, sandbox = world.paystar, world.sandbox
    started = await paystar.payments.start(amount=50_000, order_id="o-1", callback=CALLBACK)
    returned = sandbox.return_payer(started.url)
    method = "GET" if returned.uses_get else "POST"
    world.recorder.record_callback(method, returned.fields)
    world.payment = await paystar.payments.confirm(Callback.parse(dict(returned.fields)))
    with suppress(PaystarError):
        await paystar.gateway.verify(
            ref_num=returned.fields["ref_num"],
            amount=50_000,
            card_number=returned.fields["card_number"],
            tracking_code=returned.fields["tracking_code"],
        )


async def take_late_payment(world: World) -> None:
    """Let a payer pay on a page that was opened an hour ago, if it is still open."""
    paystar, sandbox = world.paystar, world.sandbox
    created = await paystar.gateway.create(amount=50_000, order_id="o-late", callback=CALLBACK)
    pages = sandbox.bank.payments
    pages.open_page(created.token)
    sandbox.advance(HOUR)
    with suppress(PaystarError):
        await paystar.gateway.inquiry(ref_num=created.ref_num, amount=50_000)
    if pages.cancel_if_overdue(created.token) is None:
        fields = sandbox.pay(created.token)
        with suppress(PaystarError):
            await paystar.gateway.verify(
                ref_num=created.ref_num,
                amount=50_000,
                card_number=fields["card_number"],
                tracking_code=fields["tracking_code"],
            )


async def make_direct_calls(world: World) -> None:
    """Make the calls of a careless program: a transfer twice, once with another amount, and too much for a deposit."""
    paystar = world.paystar
    first = transfer(50, track_id="direct-1")
    for items in ([first], [first], [transfer(50, track_id="direct-1", amount=7)]):
        with suppress(PaystarError):
            await paystar.transfers.settle(transfers=items)
    world.sandbox.advance(HOUR)
    world.sandbox.set_balance("0100555555555", 1_050)
    uncovered = [transfer(number, deposit="0100555555555", track_id=f"direct-{number}") for number in (5, 6)]
    for items in ([transfer(number, track_id=f"direct-{number}") for number in (2, 3)], [transfer(4)], uncovered):
        with suppress(PaystarError):
            await paystar.transfers.settle(transfers=items)
    with suppress(PaystarError):
        await paystar.wallet.settle(transfers=[wallet_transfer(7)])
    for track_id in ("direct-1", "direct-2", "direct-5", "direct-6"):
        with suppress(PaystarError):
            await paystar.transfers.find(track_id=track_id)
    with suppress(PaystarError):
        await paystar.wallet.find(track_id="w-7")
    for limit, skip in ((10, None), (1, None), (1, 1)):
        with suppress(PaystarError):
            await paystar.transfers.find(limit=limit, skip=skip)


async def judge(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch, *, create: bool = True) -> list[Finding]:
    """Return the findings from the responses of the world, and from those of conform's own requests."""
    for name, value in client_environment(world.sandbox, "http://127.0.0.1:1/api", str(folder / "unused.db")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PAYSTAR_KEYS", str(folder / "keys.db"))
    options = RunOptions(
        record=folder / "active.jsonl", interval=0, refresh=True, create=create, callback=CALLBACK, subject={}
    )
    run = ConformRun(options, engine=world.sandbox.engine())
    await run.run()
    passive = folder / "passive.jsonl"
    observations = [*(read_observations(passive)[0] if passive.exists() else ()), *run.observations]
    return judge_observations(observations)


def contradicted(findings: Iterable[Finding]) -> set[str]:
    return {finding.assumption.id for finding in findings if finding.verdict is Verdict.CONTRADICTED}


def assert_no_money_is_lost_or_repeated(world: World) -> None:
    ledger = world.sandbox.ledger
    assert {name: line.count for name, line in ledger.items() if line.count > 1 and not name.startswith("direct")} == {}
    for record in world.records:
        line = ledger.get(record.track_id)
        if record.state is TransferState.SUCCESS:
            assert line is not None
            assert line.status == "success"
        if record.state is TransferState.FAILED:
            assert line is None or line.status == "failed", f"{record.track_id} was paid and is called failed"
    assert len(world.records) == 8


def test_deviations_cover_the_register() -> None:
    assert set(DEVIATIONS) == {assumption.id for assumption in ASSUMPTIONS}


@pytest.mark.parametrize("assumption", [None, *DEVIATIONS])
async def test_deviation_is_named_and_costs_no_money(
    assumption: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(assumption, tmp_path) as world:
        await pay_out(world)
        await take_payment(world)
        await make_direct_calls(world)
        await take_late_payment(world)
        names = contradicted(await judge(world, tmp_path, monkeypatch))
        assert_no_money_is_lost_or_repeated(world)
    assert names == ({assumption} if assumption else set())


TOGETHER = (
    *("success-status", "invalid-access-status", "unknown-status", "date-zone", "refresh-rotation", "direct-path"),
    *("inquiry-refresh-fields", "balance-fields", "statement-lines", "is-matched", "birth-date", "iban-fields"),
    *("wallet-balance-fields", "amount-dots", "repeated-order-id", "bad-sign-status", "payer-fee", "unsigned-inquiry"),
    *("payment-status-words", "list-shape", "created-fields", "refusal-http", "unauthenticated-http"),
)


@pytest.mark.parametrize("assumptions", [TOGETHER, TOGETHER[::-1]], ids=["forward", "backward"])
async def test_deviations_together_are_all_named(
    assumptions: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(None, tmp_path) as world:
        for assumption in assumptions:
            world.sandbox.break_assumption(assumption)
        assert contradicted(await judge(world, tmp_path, monkeypatch)) == set(TOGETHER)


@asynccontextmanager
async def open_broken_world(assumptions: Iterable[str], folder: Path) -> AsyncGenerator[World]:
    """Open a world in which several assumptions do not hold, after all its payouts, payments and calls."""
    async with open_world(None, folder) as world:
        for assumption in assumptions:
            world.sandbox.break_assumption(assumption)
        await pay_out(world)
        await take_payment(world)
        await make_direct_calls(world)
        await take_late_payment(world)
        yield world


HIDING = (
    ("key-refused-first", "track-id-conflict"),
    ("key-refused-first", "batch-response"),
    ("key-refused-first", "wallet-settled-fields"),
    ("key-refused-first", "wallet-fee"),
    ("listed-soon", "refusal-before-execution"),
    ("listed-soon", "track-id-form"),
    ("withdraw-type", "wallet-fee"),
    ("withdraw-type", "wallet-settled-fields"),
    ("wallet-settled-fields", "wallet-fee"),
)
"""Of all pairs, those of which one hides the other even from a program that makes every call."""


@pytest.mark.parametrize(("hiding", "hidden"), HIDING)
async def test_hidden_deviation_is_not_confirmed_and_says_why(
    hiding: str, hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_broken_world((hiding, hidden), tmp_path) as world:
        findings = await judge(world, tmp_path, monkeypatch)
    (finding,) = [finding for finding in findings if finding.assumption.id == hidden]
    assert contradicted(findings) == {hiding}
    assert (finding.verdict, finding.hidden_by) == (Verdict.NOT_OBSERVED, {hiding: Verdict.CONTRADICTED})


NAMED_PAIRS = (
    ("page-lifetime", "price-without-fee"),
    ("payer-fee", "payer-fee-limit"),
    ("key-expiry", "date-zone"),
    ("repeated-track-id", "transfer-status-words"),
    ("repeated-track-id", "listed-soon"),
)


@pytest.mark.parametrize("pair", NAMED_PAIRS, ids="+".join)
async def test_deviations_of_related_facts_are_both_named(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_broken_world(pair, tmp_path) as world:
        assert contradicted(await judge(world, tmp_path, monkeypatch)) == set(pair)


async def test_date_zone_is_hidden_by_key_expiry_without_create(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world("key-expiry", tmp_path) as world:
        world.sandbox.break_assumption("date-zone")
        findings = await judge(world, tmp_path, monkeypatch, create=False)
    (finding,) = [finding for finding in findings if finding.assumption.id == "date-zone"]
    assert contradicted(findings) == {"key-expiry"}
    assert (finding.verdict, finding.hidden_by) == (Verdict.NOT_OBSERVED, {"key-expiry": Verdict.CONTRADICTED})


async def test_refusal_that_nothing_lists_confirms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no transfer is accepted and none is listed, an absent transfer does not prove that it was not executed."""
    async with open_broken_world(("key-refused-first", "listed-soon"), tmp_path) as world:
        findings = await judge(world, tmp_path, monkeypatch)
    (finding,) = [finding for finding in findings if finding.assumption.id == "key-refused-first"]
    assert contradicted(findings) == set()
    assert (finding.verdict, finding.hidden_by) == (Verdict.NOT_OBSERVED, {"listed-soon": Verdict.NOT_OBSERVED})


@pytest.mark.parametrize("text", ["list-order", "list-order=", "list-order=x", "absent=other", "=other", ""])
def test_parse_assumption_of_other_form_raises(text: str) -> None:
    with pytest.raises(ConfigurationError, match="ID=other"):
        parse_assumption(text)


def test_break_assumption_that_is_unknown_raises() -> None:
    with pytest.raises(ConfigurationError, match="no assumption 'absent'"):
        Sandbox().break_assumption("absent")
