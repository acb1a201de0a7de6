"""Values and clients for tests of the demo."""

from paystar_async import Paystar, Transfer, WalletTransfer
from paystar_async.cli.demo.report import Report
from paystar_async.outcomes import Failed, Succeeded
from paystar_async.sandbox import Sandbox

SAMPLE = Transfer(
    amount=50_000,
    deposit="0100000000",
    destination_account="IR570790000000850774361353",
    destination_firstname="Sara",
    destination_lastname="Ahmadi",
    track_id="demo-1",
)

WALLET_TRANSFER = WalletTransfer(
    amount=500,
    destination_number="IR062960000000100324200001",
    destination_firstname="Ali",
    destination_lastname="Nouri",
    track_id="w",
)

PASSED_REPORT = Report(
    requested={"a", "b"},
    outcomes={"a": Succeeded(track_id="a"), "b": Failed(track_id="b"), "w": Succeeded(track_id="w")},
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


def make_sandbox() -> Sandbox:
    """Return a sandbox that decides at once and executes a repeated transfer again."""
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0.0
    sandbox.settings.repeats_execute = True
    return sandbox


def make_client(sandbox: Sandbox) -> Paystar:
    return Paystar(sandbox.application, sandbox.gateway, sandbox.wallet, engine=sandbox.engine(), max_retries=0)
