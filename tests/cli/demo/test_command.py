"""``paystar demo``: it ends well, and it would not if money had moved twice."""

import re
from pathlib import Path

import pytest
from attrs import evolve

from paystar_async import Paystar, WalletTransfer
from paystar_async.cli.demo import command, transfers
from paystar_async.cli.demo.batch import Paying
from paystar_async.cli.demo.report import Report
from paystar_async.cli.demo.transfers import pay_from_wallet
from paystar_async.errors import PaystarError
from paystar_async.outcomes import Failed, Pending, Succeeded, Unknown
from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run

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
    kills=2,
    retries=3,
    resent=2,
    seconds=1.0,
)


def shown(report: Report) -> dict[str, str]:
    return {name: f"{number} {fine}" for name, number, fine in report.lines()}


def test_the_report_of_a_good_run_is_fine() -> None:
    assert GOOD.fine
    assert GOOD.table().row_count == 15


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
        (evolve(GOOD, kills=1), "kills (-9) of the worker", "1 False"),
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

    monkeypatch.setattr(command.Demo, "run", doubled)
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
        "kills (-9) of the worker": "2",
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


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "QUIET", 0.05)
    monkeypatch.setattr(transfers, "PAUSE", 0.01)


async def test_a_worker_that_ends_by_itself_before_its_time_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def nothing() -> None: ...

    async def no() -> bool:
        return False

    monkeypatch.setattr("sys.executable", "/bin/true")
    paying = Paying(settings={}, count=3, expire_keys=nothing, is_renewed=no, moved=lambda _: None)
    with pytest.raises(PaystarError, match="before its time"):
        await paying.run()
    assert paying.kills == 0


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


@pytest.mark.usefixtures("hurried")
async def test_a_question_that_is_not_answered_is_not_the_answer_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "PATIENCE", 0.2)
    sandbox = unforgiving()
    sandbox.fail("wallet.settle", "reset_before", times=1)
    sandbox.fail("wallet.find", "html")
    payout = WalletTransfer(
        amount=500,
        destination_number="IR062960000000100324200001",
        destination_firstname="Ali",
        destination_lastname="Nouri",
        track_id="w",
    )
    async with client(sandbox) as paystar:
        assert isinstance(await pay_from_wallet(paystar, payout), Unknown)
    assert not sandbox.ledger
