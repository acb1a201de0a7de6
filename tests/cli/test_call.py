"""``paystar call`` against a sandbox on loopback."""

import io
import json
import sys
from pathlib import Path

import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.calls import DEPOSIT, settle, transfer
from tests.cli.conftest import Run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_read_prints_its_value_as_json(run: Run, sandbox: Sandbox) -> None:
    person = sandbox.people[0]
    ran = run(
        *("call", "identity", "match-card", "--national-id", person.national_id),
        *("--card-number", person.card, "--birth-date", person.birth_date),
    )
    assert (ran.status, json.loads(ran.out), ran.err) == (0, {"is_matched": True, "extra": {}}, "")


def test_names_are_taken_as_python_writes_them(run: Run, sandbox: Sandbox) -> None:
    person = sandbox.people[0]
    named = ("--national_id=" + person.national_id, f"--mobile_number={person.mobile}")
    assert json.loads(run("call", "identity", "match_mobile", *named).out)["is_matched"] is True


def test_models_within_the_answer_and_persian_digits(run: Run, sandbox: Sandbox) -> None:
    person = sandbox.people[1]
    card = person.card.translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    value = json.loads(run("call", "inquiry", "card-to-iban", "--card", card).out)
    assert value["iban"] == person.iban
    assert value["owners"] == [{"first_name": person.first_name, "last_name": person.last_name, "extra": {}}]


def test_an_answer_is_printed_in_ascii_where_the_terminal_has_nothing_else(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr("sys.stdout", plain)
    assert run("call", "inquiry", "iban", "--iban", sandbox.people[0].iban).status == 0
    written = plain.buffer.getvalue()
    assert json.loads(written)["owners"][0]["first_name"] == sandbox.people[0].first_name


def test_a_transfer_from_start_to_end(run: Run, sandbox: Sandbox) -> None:
    ran = settle(run, transfer("t-1"), transfer("t-2", amount=55))
    assert ran.status == 0
    assert [one["status"] for one in json.loads(ran.out)] == ["pending", "pending"]
    assert "1,050,000 Rial = 105,000 Toman" in ran.err
    assert "55 Rial = 5.5 Toman" in ran.err
    assert "together 1,050,055 Rial = 105,005.5 Toman" in ran.err
    (found,) = json.loads(run("call", "transfers", "find", "--deposit", DEPOSIT, "--limit", "1").out)
    assert found["track_id"] == "t-2"
    assert found["extra"]["amount"] == 55
    assert sandbox.ledger["t-1"].count == 1


def test_a_list_comes_from_a_file_or_from_stdin(
    run: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "transfers.json"
    file.write_text(json.dumps([transfer("t-file")]), encoding="utf-8")
    assert run("call", "transfers", "settle", "--transfers", f"@{file}", "--yes").status == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([transfer("t-stdin")])))
    assert run("call", "transfers", "settle", "--transfers", "-", "--yes").status == 0
    assert set(sandbox.ledger) == {"t-file", "t-stdin"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting"),
        ("@nowhere.json", "got a file that cannot be read – nowhere.json: No such file or directory"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"amount": 1, "amount": 2}]', "stands twice"),
        ('[{"amount": NaN}]', "no JSON"),
        ("{}", "expected a list in JSON"),
        (json.dumps(transfer("t")), "got a JSON object – wrap a single one in a list"),
        ("5", "got JSON of another kind"),
        ("[]", "asks for nothing"),
        (json.dumps([transfer("t", amount=10.5)]), "whole Rial"),
        (json.dumps([transfer("t", iban="x")]), "one of amount"),
    ],
)
def test_a_list_that_is_none_is_refused_before_anything_is_sent(
    text: str, why: str, run: Run, sandbox: Sandbox
) -> None:
    ran = run("call", "transfers", "settle", "--transfers", text, "--yes")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("paystar: transfers")
    assert why in ran.err
    assert len(ran.err.splitlines()) == 1
    assert "Errno" not in ran.err
    assert not sandbox.stats["requests"]


def test_a_file_that_is_not_utf_8(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_bytes(b"\xff")
    ran = run("call", "transfers", "settle", "--transfers", f"@{file}", "--yes")
    assert (ran.status, "not UTF-8" in ran.err) == (2, True)


def test_money_is_not_sent_where_nobody_can_be_asked(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    ran = settle(run, transfer("t"), more=())
    assert ran.status == 2
    assert "--yes" in ran.err
    assert "1,050,000 Rial" in ran.err
    assert not sandbox.stats["requests"]
    # What may end up in a log shows no person.
    assert not any(personal in ran.err for personal in ("Zahra", "Karimi", DEPOSIT, "IR0629"))


@pytest.mark.parametrize(("answer", "status", "count"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0), ("", 1, 0)])
def test_who_sits_at_a_terminal_sees_all_of_it_and_is_asked(
    answer: str, status: int, count: int, run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    ran = settle(run, transfer("t"), more=())
    assert ran.status == status
    assert len(sandbox.ledger) == count
    assert "[y/N]" in ran.err
    assert "IR062960000000100324200001" in ran.err
    assert "Karimi" in ran.err
    assert ran.err.endswith("paystar: nothing was sent\n") is (status == 1)


@pytest.fixture(params=[False, True], ids=["without pydantic", "with pydantic"])
def _pydantic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command library reads numbers by pydantic where that happens to be imported."""
    if request.param:
        pytest.importorskip("pydantic")
    else:
        monkeypatch.delitem(sys.modules, "pydantic", raising=False)


@pytest.mark.usefixtures("_pydantic")
@pytest.mark.parametrize("arguments", [("demo", "--transfers", "10.5"), ("sandbox", "--port", "1_0")])
def test_a_number_is_never_rounded(arguments: tuple[str, ...], run: Run) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert f"got '{arguments[-1]}'" in ran.err
    assert "pydantic" not in ran.err


@pytest.mark.usefixtures("_pydantic")
@pytest.mark.parametrize("amount", ["10000.9", "1e6", "0x10", "50,000", "-5", "9" * 30, "پول"])
def test_an_amount_is_never_guessed(amount: str, run: Run, sandbox: Sandbox) -> None:
    ran = run(
        *(
            "call",
            "gateway",
            "create",
            "--amount",
            amount,
            "--order-id",
            "o",
            "--callback",
            "https://a.example/",
            "--yes",
        )
    )
    assert ran.status == 2
    assert "amount: expected whole Rial" in ran.err
    assert not sandbox.stats["requests"]


def test_checksums_are_proved(run: Run, sandbox: Sandbox) -> None:
    ran = run("call", "inquiry", "iban", "--iban", "IR052960000000100324200001")
    assert ran.status == 2
    assert "check digits" in ran.err
    assert not sandbox.stats["requests"]


def test_a_payment_from_start_to_end(run: Run, sandbox: Sandbox) -> None:
    created = run(
        *("call", "gateway", "create", "--amount", "۵۰۰۰۰", "--order-id", "ORD-1"),
        *("--callback", "https://shop.example/back", "--callback-method", "1", "--yes"),
    )
    assert "50,000 Rial = 5,000 Toman" in created.err
    token = json.loads(created.out)["token"]
    page = run("call", "gateway", "payment-url", "--token", token)
    assert page.out.endswith(f"/api/pardakht/payment?token={token}\n")
    back = sandbox.pay(token)
    verify = ("call", "gateway", "verify", "--ref-num", back["ref_num"], "--amount", "50000")
    signed = ("--card-number", back["card_number"], "--tracking-code", back["tracking_code"])
    assert json.loads(run(*verify, *signed, "--yes").out)["price"] == 50_000
    assert json.loads(run("call", "gateway", "inquiry", "--ref-num", back["ref_num"]).out)["status"] == "SUCCEED"
    again = run(*verify, *signed, "--yes")
    assert again.status == 1
    assert "status -6" in again.err
    assert "ask gateway.inquiry" in again.err


def test_the_wallet(run: Run, sandbox: Sandbox) -> None:
    payout = {
        "amount": 100,
        "destination_number": sandbox.people[0].iban,
        "destination_firstname": "Ali",
        "destination_lastname": "Nouri",
        "track_id": "w-1",
    }
    assert run("call", "wallet", "settle", "--transfers", json.dumps([payout]), "--yes").status == 0
    assert json.loads(run("call", "wallet", "balance").out)["total_amount"] == 1_000_000_000_000 - 100
    assert len(json.loads(run("call", "wallet", "find", "--track-id", "w-1").out)) == 1


@pytest.mark.parametrize("key", ["application", "wallet", "inquiry"])
def test_a_renewed_key_is_shown_to_nobody(key: str, run: Run, sandbox: Sandbox) -> None:
    sandbox.settings.rotate_refresh_tokens = True
    try:
        ran = run("call", "keys", f"refresh-{key}-key", "--yes", "--raw")
    finally:
        sandbox.settings.rotate_refresh_tokens = False
    assert ran.status == 0
    assert sandbox.stats["refreshes"][key] == 1
    assert json.loads(ran.out)["value"]["inquiry_key" if key == "inquiry" else "api_key"] == "Secret(…)"
    assert "sandbox-" not in ran.out + ran.err


def test_raw_shows_all_of_an_answer(run: Run, sandbox: Sandbox) -> None:
    whole = json.loads(run("call", "transfers", "find", "--raw").out)
    assert (whole["value"], whole["status"], whole["http_status"]) == ([], "ok", 200)
    assert json.loads(whole["body"])["data"] == []
    assert sandbox.stats["requests"] == {"transfers.find": 1}


def test_an_account_that_is_missing_is_a_matter_of_configuration(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://127.0.0.1:9/api")
    ran = run("call", "wallet", "balance")
    assert ran.status == 2
    assert "PAYSTAR_WALLET_HASHID" in ran.err
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://elsewhere.example/api")
    assert run("call", "wallet", "balance").status == 2


def test_a_line_of_the_server_cannot_steer_the_terminal(run: Run, sandbox: Sandbox) -> None:
    sandbox.fail("wallet.balance", "status", status="evil\x1b[2J\x9b2J")
    err = run("call", "wallet", "balance").err
    assert "evil" in err
    assert not set(err) & {"\x1b", "\x9b"}


def test_call_create_sends_extra_as_given(run: Run, sandbox: Sandbox) -> None:
    fields = ("--amount", "10000", "--order-id", "o-1", "--callback", "https://shop.example/back")
    ran = run("call", "gateway", "create", *fields, "--extra", '{"products": [{"id": 7}]}', "--yes")

    assert ran.status == 0
    assert next(sandbox.request_log.newest()).raw["products"] == [{"id": 7}]
    assert "products" in ran.err
    assert "7" not in ran.err.split("extra")[1].split("\n")[0]


@pytest.mark.parametrize("text", ["[1]", "5", "{", '{"a": NaN}', '{"a": 1, "a": 2}', '{"amount": 1}'])
def test_call_create_refuses_extra_that_is_no_object(run: Run, sandbox: Sandbox, text: str) -> None:
    fields = ("--amount", "10000", "--order-id", "o-1", "--callback", "https://shop.example/back")
    ran = run("call", "gateway", "create", *fields, "--extra", text, "--yes")

    assert ran.status == 2
    assert "extra" in ran.err
    assert not sandbox.stats["requests"]
