"""``paystar demo``: it ends well, and it would not if money had moved twice."""

import re
from typing import Any

import pytest
from attrs import evolve

from paystar_async import Paystar, Transfer, WalletTransfer
from paystar_async.cli import demo, demo_transfers
from paystar_async.cli.demo_report import Report
from paystar_async.cli.demo_transfers import pay_all, pay_from_wallet
from paystar_async.outcomes import Failed, Outcome, Pending, Succeeded, Unknown
from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run

DEPOSIT = "0100123456789"

GOOD = Report(
    asked={"a", "b"},
    ends={"a": Succeeded(track_id="a"), "b": Failed(track_id="b"), "w": Succeeded(track_id="w")},
    ledger={
        "a": {"count": 1, "status": "success"},
        "b": {"count": 1, "status": "failed"},
        "w": {"count": 1, "status": "success"},
    },
    stats={"requests": {"transfers.settle": 1234}, "refreshes": {"application": 1, "wallet": 1, "inquiry": 1}},
    workflows={"workflow A": True, "workflow B": True},
    retries=3,
    resent=2,
    seconds=1.0,
)


def shown(report: Report) -> dict[str, str]:
    return {name: f"{number} {fine}" for name, number, fine in report.lines()}


def test_the_report_of_a_good_run_is_fine() -> None:
    assert GOOD.fine
    assert GOOD.table().row_count == 14


@pytest.mark.parametrize(
    ("spoilt", "line", "says"),
    [
        (evolve(GOOD, ledger={**GOOD.ledger, "a": {"count": 2, "status": "success"}}), "executed twice", "1 False"),
        (evolve(GOOD, ledger={**GOOD.ledger, "w": {"count": 2, "status": "success"}}), "executed twice", "1 False"),
        (
            evolve(GOOD, ledger={**GOOD.ledger, "x": {"count": 1, "status": "success"}}),
            "executed and never asked",
            "1 False",
        ),
        (evolve(GOOD, ledger={"a": GOOD.ledger["a"], "w": GOOD.ledger["w"]}), "executed exactly once", "1 False"),
        (evolve(GOOD, ends={"a": GOOD.ends["a"]}), "fate unknown at the end", "1 False"),
        (evolve(GOOD, ends={**GOOD.ends, "a": Unknown(track_id="a", reason="")}), "fate unknown at the end", "1 False"),
        (evolve(GOOD, ends={**GOOD.ends, "a": Pending(track_id="a")}), "fate unknown at the end", "1 False"),
        (evolve(GOOD, ends={**GOOD.ends, "a": Failed(track_id="a")}), "fate unknown at the end", "1 False"),
        (evolve(GOOD, ends={**GOOD.ends, "b": Succeeded(track_id="b")}), "fate unknown at the end", "1 False"),
        (
            evolve(GOOD, stats={**GOOD.stats, "refreshes": {"application": 2, "wallet": 1, "inquiry": 1}}),
            "refreshes of the application key",
            "2 False",
        ),
        (
            evolve(GOOD, stats={**GOOD.stats, "refreshes": {"application": 1, "wallet": 0, "inquiry": 1}}),
            "refreshes of the wallet key",
            "0 False",
        ),
    ],
)
def test_a_report_is_not_fine_when(spoilt: Report, line: str, says: str) -> None:
    assert shown(spoilt)[line] == says
    assert not spoilt.fine


def test_a_workflow_that_did_not_end_well_is_not_fine() -> None:
    assert not evolve(GOOD, workflows={"workflow A": True, "workflow B": False}).fine


def test_the_exit_status_is_1_when_the_books_show_a_double(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def doubled(_: object) -> Report:
        return evolve(GOOD, ledger={**GOOD.ledger, "a": {"count": 2, "status": "success"}})

    monkeypatch.setattr(demo.Demo, "run", doubled)
    ran = run("demo")
    assert ran.status == 1
    assert re.search(r"executed twice +1 +WRONG", ran.out)
    assert "NOT everything" in ran.out


def test_a_run_ends_well_and_its_table_says_so(run: Run) -> None:
    ended = run("demo", "--transfers", "60", "--seed", "3")
    assert (ended.status, ended.err) == (0, ""), ended.out
    rows = dict(re.findall(r"^ (\S.*?)  +([\d,.]+|yes|no)\b", ended.out, re.MULTILINE))
    must = {
        "transfers asked": "60",
        "executed exactly once": "60",
        "executed twice": "0",
        "executed and never asked": "0",
        "fate unknown at the end": "0",
        "refreshes of the application key": "1",
        "refreshes of the wallet key": "1",
        "refreshes of the inquiry key": "1",
    }
    assert must.items() <= rows.items()
    assert [value for name, value in rows.items() if name.startswith(("workflow", "wallet"))] == ["yes"] * 5
    assert {"requests", "retries by the client", "seconds"} <= rows.keys()
    assert not set(ended.out) & {"\x1b", "\r"}


def test_a_sandbox_that_does_not_start_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/true")
    ran = run("demo")
    assert ran.status == 2
    assert "the sandbox did not start" in ran.err
    assert ran.err.count("\n") == 1


def unforgiving() -> Sandbox:
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


def client(sandbox: Sandbox) -> Paystar:
    return Paystar(sandbox.application, sandbox.gateway, sandbox.wallet, engine=sandbox.engine(), max_retries=0)


def transfers(count: int, amount: int = 1_000) -> list[Transfer]:
    return [
        Transfer(
            amount=amount,
            deposit=DEPOSIT,
            destination_account="0100123456780",
            destination_firstname="Ali",
            destination_lastname="Nouri",
            track_id=f"t-{number}",
        )
        for number in range(count)
    ]


async def paid(sandbox: Sandbox, count: int) -> tuple[dict[str, Outcome], int]:
    async def sent() -> None: ...

    async with client(sandbox) as paystar:
        return await pay_all(paystar, transfers(count), deposit=DEPOSIT, sent=sent, settled=lambda: None)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_transfers, "QUIET", 0.05)
    monkeypatch.setattr(demo_transfers, "PAUSE", 0.01)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("fault", "resent"),
    [
        ({"kind": "reset_after"}, 0),
        ({"kind": "truncated"}, 0),
        ({"kind": "server_error", "executed": True}, 0),
        ({"kind": "reset_before"}, 10),
        ({"kind": "status_11"}, 10),
        ({"kind": "funds"}, 10),
    ],
)
async def test_what_was_carried_out_is_not_sent_again_and_what_was_not_is(fault: dict[str, Any], resent: int) -> None:
    sandbox = unforgiving()
    sandbox.fail("transfers.settle", times=2, **fault)
    ends, again = await paid(sandbox, 20)
    assert again == resent
    assert {type(end) for end in ends.values()} == {Succeeded}
    assert [line.count for line in sandbox.ledger.values()] == [1] * 20


@pytest.mark.usefixtures("hurried")
async def test_who_sends_again_without_asking_pays_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(*_: object) -> bool:
        return True

    monkeypatch.setattr(demo_transfers, "_is_absent", hasty)
    sandbox = unforgiving()
    sandbox.fail("transfers.settle", "reset_after", times=1)
    ends, _ = await paid(sandbox, 5)
    report = evolve(
        GOOD,
        asked=set(ends),
        ends=ends,
        ledger={track_id: {"count": line.count, "status": line.status} for track_id, line in sandbox.ledger.items()},
    )
    assert report.twice == 5
    assert not report.fine


@pytest.mark.usefixtures("hurried")
async def test_a_question_that_is_not_answered_is_not_the_answer_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_transfers, "PATIENCE", 0.2)
    sandbox = unforgiving()
    sandbox.fail("transfers.settle", "reset_before", times=1)
    sandbox.fail("transfers.find", "html")
    async with client(sandbox) as paystar:
        ends, resent = await pay_all(paystar, transfers(2), deposit=DEPOSIT, sent=_nothing, settled=lambda: None)
    assert resent == 0
    assert {type(end) for end in ends.values()} == {Unknown}
    assert not sandbox.ledger


async def _nothing() -> None: ...


@pytest.mark.usefixtures("hurried")
async def test_the_bank_that_refuses_to_tell_leaves_it_unknown() -> None:
    sandbox = unforgiving()
    sandbox.settings.settle_seconds = 60.0
    sandbox.fail("transfers.find", "ip")
    ends, _ = await paid(sandbox, 1)
    assert isinstance(ends["t-0"], Unknown)


@pytest.mark.usefixtures("hurried")
async def test_what_the_bank_turns_down_has_failed_for_good() -> None:
    sandbox = unforgiving()
    async with client(sandbox) as paystar:
        ends, resent = await pay_all(
            paystar, transfers(1, amount=10_999), deposit=DEPOSIT, sent=_nothing, settled=lambda: None
        )
    assert isinstance(ends["t-0"], Failed)
    assert resent == 0


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", ["reset_after", "reset_before", "funds"])
async def test_the_wallet_pays_once_too(kind: str) -> None:
    sandbox = unforgiving()
    sandbox.fail("wallet.settle", kind, times=2)
    payout = WalletTransfer(
        amount=500,
        destination_number="IR062960000000100324200001",
        destination_firstname="Ali",
        destination_lastname="Nouri",
        track_id="w",
    )
    async with client(sandbox) as paystar:
        assert isinstance(await pay_from_wallet(paystar, payout), Succeeded)
    assert sandbox.ledger["w"].count == 1


@pytest.mark.usefixtures("hurried")
async def test_a_wallet_that_never_pays_leaves_it_unknown() -> None:
    sandbox = unforgiving()
    sandbox.fail("wallet.settle", "funds")
    payout = WalletTransfer(
        amount=500,
        destination_number="IR062960000000100324200001",
        destination_firstname="Ali",
        destination_lastname="Nouri",
        track_id="w",
    )
    async with client(sandbox) as paystar:
        assert isinstance(await pay_from_wallet(paystar, payout), Unknown)
