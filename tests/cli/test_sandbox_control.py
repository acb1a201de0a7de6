"""``paystar sandbox logs`` and ``trigger``, against a sandbox in another thread."""

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from paystar_async.cli.environment import VARIABLES
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.table import TABLE
from tests.cli.conftest import Run

RESET = -1
"""A step that resets the sandbox before a request."""


class Shop(HTTPServer):
    """A shop that records the callbacks of its payments."""

    callbacks: list[tuple[str, str, str]]
    status = 303


class _ShopHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Shop)
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        self.server.callbacks.append((self.command, self.path, body))
        self.send_response(self.server.status)
        self.send_header("location", "http://127.0.0.1:1/orders/1")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the name that the base class calls

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name that the base class has
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop(("127.0.0.1", 0), _ShopHandler) as shop:
        shop.callbacks = []
        thread = threading.Thread(target=shop.serve_forever, args=(0.01,))
        thread.start()
        yield shop
        shop.shutdown()
        thread.join()


def create(run: Run, shop: Shop | None, order_id: str, method: int = 1) -> str:
    address = "https://shop.invalid" if shop is None else f"http://127.0.0.1:{shop.server_address[1]}"
    result = run(
        *("call", "gateway", "create", "--amount", "50000", "--order-id", order_id, "--callback", f"{address}/back"),
        *("--callback-method", str(method), "--yes"),
    )
    assert result.status == 0, result.err
    return str(json.loads(result.out)["token"])


@pytest.mark.parametrize(("method", "name"), [(1, "GET"), (2, "POST")])
def test_trigger_payment_calls_shop_once(sandbox: Sandbox, run: Run, shop: Shop, method: int, name: str) -> None:
    create(run, shop, "first")
    create(run, shop, "newest", method)
    result = run("sandbox", "trigger", "payment-paid")
    assert result.status == 0, result.err
    printed = json.loads(result.out)
    assert printed["callback"]["fields"]["order_id"] == "newest"
    assert printed["shop"] == {"http_status": 303, "location": "http://127.0.0.1:1/orders/1"}
    ((sent, path, body),) = shop.callbacks
    assert sent == name
    assert "status=1" in (path if name == "GET" else body)
    assert [str(payment.choice) for payment in sandbox.bank.payments.newest()] == ["pay", "None"]


@pytest.mark.parametrize(
    ("event", "choice"), [("payment-cancelled", "cancel"), ("payment-failed", "fail"), ("payment-expired", "expire")]
)
def test_trigger_payment_of_order_without_callback(sandbox: Sandbox, run: Run, event: str, choice: str) -> None:
    token = create(run, None, "a")
    create(run, None, "b")
    url = f"http://127.0.0.1/api/pardakht/payment?token={token}"
    for target in ("b", url):
        result = run("sandbox", "trigger", event, target, "--no-callback")
        assert result.status == 0, result.err
        assert json.loads(result.out)["shop"] is None
    assert [payment.choice for payment in sandbox.bank.payments.newest()] == [choice, choice]


@pytest.mark.usefixtures("sandbox")
def test_trigger_payment_shop_fails_is_exit_1(run: Run, shop: Shop) -> None:
    shop.status = 500
    create(run, shop, "a")
    result = run("sandbox", "trigger", "payment-paid", "a")
    assert (result.status, json.loads(result.out)["shop"]["http_status"]) == (1, 500)

    create(run, None, "b")
    result = run("sandbox", "trigger", "payment-paid", "b")
    assert result.status == 1
    assert json.loads(result.out)["callback"]["fields"]["order_id"] == "b"
    assert "the payer has chosen, but the callback failed: ConnectError" in result.err


@pytest.mark.parametrize(("event", "status"), [("transfer-failed", "failed"), ("transfer-succeeded", "success")])
def test_trigger_transfer_is_decided(sandbox: Sandbox, run: Run, event: str, status: str) -> None:
    transfer = {
        "amount": 50_000,
        "destination_number": sandbox.people[0].iban,
        "destination_firstname": "Ali",
        "destination_lastname": "Ahmadi",
        "track_id": "t-1",
    }
    assert run("call", "wallet", "settle", "--transfers", json.dumps([transfer]), "--yes").status == 0
    result = run("sandbox", "trigger", event, "t-1")
    assert json.loads(result.out)["transfer"] == {"track_id": "t-1", "status": status, "amount": 50_000}
    assert sandbox.ledger["t-1"].status == status


def test_trigger_key_expires(sandbox: Sandbox, run: Run) -> None:
    assert json.loads(run("sandbox", "trigger", "key-expired", "wallet").out)["realm"] == "wallet"
    assert run("call", "wallet", "balance").status == 0
    assert sandbox.stats["refreshes"]["inquiry"] == 0
    assert json.loads(run("sandbox", "trigger", "key-expired").out)["realm"] == "all"
    assert run("call", "wallet", "balance").status == 0
    assert sandbox.stats["refreshes"]["inquiry"] == 1


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transfer-failed", "none"), "no transfer has the track_id 'none'"),
        (("transfer-failed",), "transfer-failed needs the track_id of a transfer"),
        (("payment-paid", "none"), "no payment has the token, order_id or ref_num 'none'"),
        (("payment-paid",), "no payment is unpaid"),
        (("key-expired", "gateway"), "no key of 'gateway' expires"),
        (("nonsense",), "expected one of payment-paid, "),
        ((), "missing value for EVENT"),
    ],
)
def test_trigger_without_target_is_usage_error(arguments: tuple[str, ...], message: str, run: Run) -> None:
    result = run("sandbox", "trigger", *arguments)
    assert (result.status, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_logs_prints_masked_requests_and_json(sandbox: Sandbox, run: Run) -> None:
    sandbox.fail("wallet.balance", "ip", times=1)
    run("call", "wallet", "balance")
    create(run, None, "a")
    first, second = run("sandbox", "logs", "--no-follow").out.splitlines()
    assert first.startswith("#1  ")
    assert "wallet.balance  400 status 7" in first
    assert first.endswith("fault ip")
    assert "gateway.create  200 status 1" in second
    assert '"sign": "••••••••"' in second

    entries = [json.loads(line) for line in run("sandbox", "logs", "--no-follow", "--json").out.splitlines()]
    assert [entry["endpoint"] for entry in entries] == ["wallet.balance", "gateway.create"]
    assert all(re.fullmatch(r"20..-..-..T..:..:..\....\+00:00", entry["time"]) for entry in entries)
    assert set(entries[0]) == {"number", "time", "endpoint", "fields", "faults", "http", "response"}


def test_logs_shows_no_secret_and_no_personal_data(sandbox: Sandbox, run: Run) -> None:
    person = sandbox.people[0]
    identity = ("--national-id", person.national_id, "--card-number", person.card, "--birth-date", person.birth_date)
    run("call", "identity", "match-card", *identity)
    run("call", "inquiry", "iban", "--iban", person.iban)
    run("call", "wallet", "balance")
    run("call", "keys", "refresh-wallet-key", "--yes")
    create(run, None, "a")
    run("sandbox", "trigger", "payment-paid", "--no-callback")
    text = run("sandbox", "logs", "--no-follow").out + run("sandbox", "logs", "--no-follow", "--json").out
    assert text.count("inquiry.iban") == 2
    secrets = [value for name, value in client_environment(sandbox, "") if VARIABLES[name]]
    personal = [person.national_id, person.card, person.iban, person.birth_date, person.mobile]
    assert not [value for value in secrets + personal if value in text]


def test_logs_follows_reset_and_names_gap(sandbox: Sandbox, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_requests(count: int) -> None:
        for _ in range(count):
            sandbox.log_request(TABLE[0], {})

    make_requests(2)
    steps = iter([1, 0, 60, RESET, 1])

    def pause(_: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        if step == RESET:
            sandbox.reset()
        make_requests(abs(step))

    monkeypatch.setattr(time, "sleep", pause)
    result = run("sandbox", "logs")
    numbers = [int(line.split()[0][1:]) for line in result.out.splitlines()]
    assert numbers == [1, 2, 3, *range(14, 64), 1, 2]
    assert "no response yet" in result.out
    assert result.err == "… 10 requests are not shown\n"
    assert result.status == 130


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://core.paystar.ir/api", "is the live service, not a sandbox"),
        ("http://127.0.0.1:1/api", "no sandbox responds at http://127.0.0.1:1: ConnectError"),
        ("ftp://host", "absolute URL"),
    ],
)
@pytest.mark.parametrize("command", [("logs",), ("trigger", "key-expired")])
def test_control_of_other_service_is_refused(command: tuple[str, ...], url: str, message: str, run: Run) -> None:
    result = run("sandbox", *command, "--url", url)
    assert (result.status, result.out) == (2, "")
    assert message in result.err


def test_control_of_other_server_is_refused(run: Run, shop: Shop) -> None:
    result = run("sandbox", "logs", "--url", f"http://127.0.0.1:{shop.server_address[1]}/api")
    assert (result.status, result.out) == (2, "")
    assert "is not a sandbox" in result.err
