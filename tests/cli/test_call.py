"""``paystar call`` against a sandbox on loopback."""

import io
import json

import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.cli.helpers import DEPOSIT, Terminal, settle, transfer


def test_call_read_prints_json(run: Run, sandbox: Sandbox) -> None:
    person = sandbox.people[0]
    result = run(
        *("call", "identity", "match-card", "--national-id", person.national_id),
        *("--card-number", person.card, "--birth-date", person.birth_date),
    )
    assert (result.status, json.loads(result.out), result.err) == (0, {"is_matched": True, "extra": {}}, "")


def test_call_accepts_names_with_underscores(run: Run, sandbox: Sandbox) -> None:
    person = sandbox.people[0]
    options = ("--national_id=" + person.national_id, f"--mobile_number={person.mobile}")
    assert json.loads(run("call", "identity", "match_mobile", *options).out)["is_matched"] is True


def test_call_accepts_persian_digits_and_prints_nested_models(run: Run, sandbox: Sandbox) -> None:
    person = sandbox.people[1]
    card = person.card.translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    value = json.loads(run("call", "inquiry", "card-to-iban", "--card", card).out)
    assert value["iban"] == person.iban
    assert value["owners"] == [{"first_name": person.first_name, "last_name": person.last_name, "extra": {}}]


def test_call_ascii_stdout_escapes_text(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr("sys.stdout", stdout)
    assert run("call", "inquiry", "iban", "--iban", sandbox.people[0].iban).status == 0
    output = stdout.buffer.getvalue()
    assert json.loads(output)["owners"][0]["first_name"] == sandbox.people[0].first_name


def test_call_settle_then_find(run: Run, sandbox: Sandbox) -> None:
    result = settle(run, transfer("t-1"), transfer("t-2", amount=55))
    assert result.status == 0
    assert [settlement["status"] for settlement in json.loads(result.out)] == ["pending", "pending"]
    assert "1,050,000 Rial = 105,000 Toman" in result.err
    assert "55 Rial = 5.5 Toman" in result.err
    assert "total 1,050,055 Rial = 105,005.5 Toman" in result.err
    (settlement,) = json.loads(run("call", "transfers", "find", "--deposit", DEPOSIT, "--limit", "1").out)
    assert settlement["track_id"] == "t-2"
    assert settlement["extra"]["amount"] == 55
    assert sandbox.ledger["t-1"].count == 1


def test_call_settle_without_terminal_or_yes_is_refused(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    result = settle(run, transfer("t"), options=())
    assert result.status == 2
    assert "--yes" in result.err
    assert "1,050,000 Rial" in result.err
    assert not sandbox.stats["requests"]
    # The output may be logged, so it contains no personal data.
    assert not any(text in result.err for text in ("Zahra", "Karimi", DEPOSIT, "IR0629"))


@pytest.mark.parametrize(("reply", "status", "count"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0), ("", 1, 0)])
def test_call_settle_at_terminal_asks_for_confirmation(
    reply: str, status: int, count: int, run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(reply))
    result = settle(run, transfer("t"), options=())
    assert result.status == status
    assert len(sandbox.ledger) == count
    assert "[y/N]" in result.err
    assert "IR062960000000100324200001" in result.err
    assert "Karimi" in result.err
    assert result.err.endswith("paystar: nothing was sent\n") is (status == 1)


def test_call_wrong_checksum_is_refused(run: Run, sandbox: Sandbox) -> None:
    result = run("call", "inquiry", "iban", "--iban", "IR052960000000100324200001")
    assert result.status == 2
    assert "check digits" in result.err
    assert not sandbox.stats["requests"]


def test_call_create_pay_and_verify(run: Run, sandbox: Sandbox) -> None:
    created = run(
        *("call", "gateway", "create", "--amount", "۵۰۰۰۰", "--order-id", "ORD-1"),
        *("--callback", "https://shop.example/back", "--callback-method", "1", "--yes"),
    )
    assert "50,000 Rial = 5,000 Toman" in created.err
    token = json.loads(created.out)["token"]
    page = run("call", "gateway", "payment-url", "--token", token)
    assert page.out.endswith(f"/api/pardakht/payment?token={token}\n")
    callback = sandbox.pay(token)
    verify = ("call", "gateway", "verify", "--ref-num", callback["ref_num"], "--amount", "50000")
    signed = ("--card-number", callback["card_number"], "--tracking-code", callback["tracking_code"])
    assert json.loads(run(*verify, *signed, "--yes").out)["price"] == 50_000
    assert json.loads(run("call", "gateway", "inquiry", "--ref-num", callback["ref_num"]).out)["status"] == "SUCCEED"
    second = run(*verify, *signed, "--yes")
    assert second.status == 1
    assert "status -6" in second.err
    assert "gateway.inquiry" in second.err


def test_call_wallet_settle_balance_and_find(run: Run, sandbox: Sandbox) -> None:
    wallet_transfer = {
        "amount": 100,
        "destination_number": sandbox.people[0].iban,
        "destination_firstname": "Ali",
        "destination_lastname": "Nouri",
        "track_id": "w-1",
    }
    assert run("call", "wallet", "settle", "--transfers", json.dumps([wallet_transfer]), "--yes").status == 0
    assert json.loads(run("call", "wallet", "balance").out)["total_amount"] == 1_000_000_000_000 - 100
    assert len(json.loads(run("call", "wallet", "find", "--track-id", "w-1").out)) == 1


@pytest.mark.parametrize("key", ["application", "wallet", "inquiry"])
def test_call_refresh_does_not_print_the_key(key: str, run: Run, sandbox: Sandbox) -> None:
    sandbox.settings.rotate_refresh_tokens = True
    try:
        result = run("call", "keys", f"refresh-{key}-key", "--yes", "--raw")
    finally:
        sandbox.settings.rotate_refresh_tokens = False
    assert result.status == 0
    assert sandbox.stats["refreshes"][key] == 1
    assert json.loads(result.out)["value"]["inquiry_key" if key == "inquiry" else "api_key"] == "Secret(…)"
    assert "sandbox-" not in result.out + result.err


def test_call_raw_prints_envelope(run: Run, sandbox: Sandbox) -> None:
    output = json.loads(run("call", "transfers", "find", "--raw").out)
    assert (output["value"], output["status"], output["http_status"]) == ([], "ok", 200)
    assert json.loads(output["body"])["data"] == []
    assert sandbox.stats["requests"] == {"transfers.find": 1}


def test_call_without_credentials_is_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://127.0.0.1:9/api")
    result = run("call", "wallet", "balance")
    assert result.status == 2
    assert "PAYSTAR_WALLET_HASHID" in result.err
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://elsewhere.example/api")
    assert run("call", "wallet", "balance").status == 2


def test_call_error_escapes_control_characters(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("wallet.balance", "status", status="evil\x1b[2J\x9b2J")
    err = run("call", "wallet", "balance").err
    assert "evil" in err
    assert not set(err) & {"\x1b", "\x9b"}


def test_call_create_sends_extra_as_given(run: Run, sandbox: Sandbox) -> None:
    fields = ("--amount", "10000", "--order-id", "o-1", "--callback", "https://shop.example/back")
    result = run("call", "gateway", "create", *fields, "--extra", '{"products": [{"id": 7}]}', "--yes")

    assert result.status == 0
    assert next(sandbox.request_log.newest()).raw["products"] == [{"id": 7}]
    assert "products" in result.err
    assert "7" not in result.err.split("extra")[1].split("\n")[0]
