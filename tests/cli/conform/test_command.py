"""``paystar conform``: requests that move nothing, announced, resumable, judged, and reported without values."""

import json
from pathlib import Path
from unittest.mock import Mock

import attrs
import pytest

from paystar_async.cli.conform.command import conform as conform_command
from paystar_async.conform.assumptions import ASSUMPTIONS
from paystar_async.sandbox import Sandbox
from paystar_async.values.secret import Secret
from tests.cli.conform.conftest import Conform
from tests.cli.conftest import Run

CALLBACK = "https://shop.example/back"
ALL_OPTIONS = ("--yes", "--refresh", "--create", "--callback", CALLBACK)
MOVING = ("transfers.settle", "wallet.settle", "gateway.create", "keys.")


def contradicted(output: str) -> set[str]:
    return {item["id"] for item in json.loads(output)["assumptions"] if item["verdict"] == "contradicted"}


def moving_requests(sandbox: Sandbox) -> dict[str, int]:
    return {name: count for name, count in sandbox.request_counts.items() if name.startswith(MOVING)}


def test_conform_by_default_creates_and_refreshes_nothing(sandbox: Sandbox, conform: Conform) -> None:
    result = conform("--yes")
    assert result.status == 0
    assert "0 contradicted" in result.out
    assert sandbox.request_counts["transfers.find"] == 5
    assert moving_requests(sandbox) == {}
    assert sandbox.ledger == {}


def test_conform_with_every_option_never_settles(sandbox: Sandbox, conform: Conform) -> None:
    assert conform(*ALL_OPTIONS).status == 0
    assert moving_requests(sandbox) == {
        "gateway.create": 3,
        "keys.refresh_application_key": 1,
        "keys.refresh_wallet_key": 1,
        "keys.refresh_inquiry_key": 1,
    }
    assert not any(payment.is_paid or payment.opened for payment in sandbox.bank.payments.newest())
    assert {payment.request.amount for payment in sandbox.bank.payments.newest()} == {5_000}


def test_conform_announces_each_request_before_it_asks(
    sandbox: Sandbox, conform: Conform, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = conform()  # stdin is not a terminal
    assert result.status == 2
    assert "use --yes" in result.err
    assert result.err.count("reads only") >= 10
    assert sandbox.request_counts.total() == 0
    monkeypatch.setattr("paystar_async.cli.conform.command.confirm", Mock(return_value=False))
    assert conform().status == 2
    assert sandbox.request_counts.total() == 0


def test_conform_continues_interrupted_run_then_begins_anew(sandbox: Sandbox, conform: Conform) -> None:
    sandbox.fail("wallet.balance", "reset_before", times=1)
    assert "no response" in conform("--yes").err
    first = sandbox.request_counts.total()
    assert "1 of 1: read the wallet's balance" in conform("--yes").err
    assert sandbox.request_counts.total() == first + 1
    sandbox.break_assumption("balance-fields")
    result = conform("--yes", "--json")
    assert contradicted(result.out) == {"balance-fields"}, "a finished run is not repeated from its record"
    assert sandbox.request_counts.total() == 2 * first + 1


@pytest.mark.parametrize(
    ("options", "hint"), [(("--refresh",), "PAYSTAR_KEYS=keys.db"), (("--create",), "--callback https://")]
)
def test_conform_of_live_service_needs_more_for_changes(
    options: tuple[str, ...], hint: str, sandbox: Sandbox, conform: Conform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "https://paystar.invalid/api")
    monkeypatch.delenv("PAYSTAR_KEYS")
    result = conform("--yes", *options)
    assert (result.status, hint in result.err) == (2, True)


def test_conform_of_sandbox_needs_no_key_store_and_no_callback(
    sandbox: Sandbox, conform: Conform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYSTAR_KEYS")
    assert conform("--yes", "--refresh", "--create").status == 0
    assert len(moving_requests(sandbox)) == 4


def test_conform_contradiction_exits_1_and_names_it(sandbox: Sandbox, conform: Conform) -> None:
    sandbox.settings.change({"rotate_refresh_tokens": True})
    result = conform(*ALL_OPTIONS, "--json")
    assert result.status == 1
    assert contradicted(result.out) == {"refresh-rotation"}
    assert {item["id"] for item in json.loads(result.out)["assumptions"]} == {item.id for item in ASSUMPTIONS}


def test_conform_reports_name_what_hides_an_assumption(sandbox: Sandbox, conform: Conform, tmp_path: Path) -> None:
    for assumption in ("key-expiry", "date-zone"):
        sandbox.break_assumption(assumption)
    report = tmp_path / "report.md"
    result = conform("--yes", "--refresh", "--report", str(report))
    assert "may be hidden by key-expiry (contradicted)" in " ".join(result.out.split())
    assert "| date-zone | not observed: may be hidden by key-expiry (contradicted) | 1 |" in report.read_text()
    result = conform("--yes", "--refresh", "--json")
    hidden = {item["id"]: item["hidden_by"] for item in json.loads(result.out)["assumptions"] if item["hidden_by"]}
    assert hidden == {"date-zone": {"key-expiry": "contradicted"}}


FIVE = ("unauthenticated-http", "balance-fields", "inquiry-refresh-fields", "repeated-order-id", "date-zone")


def test_conform_names_five_broken_assumptions_and_no_other(sandbox: Sandbox, conform: Conform) -> None:
    for assumption in FIVE:
        sandbox.break_assumption(assumption)
    result = conform(*ALL_OPTIONS, "--json")
    assert (result.status, contradicted(result.out)) == (1, set(FIVE))


def test_conform_without_refresh_uses_stored_key_as_it_is(sandbox: Sandbox, conform: Conform, tmp_path: Path) -> None:
    assert conform("--yes", "--refresh").status == 0  # the key store now holds the refresh tokens
    sandbox.advance(100_000)
    (tmp_path / "shapes.jsonl").unlink()
    result = conform("--yes")
    assert "ExpiredToken" in result.err
    assert set(sandbox.stats["refreshes"].values()) == {1}


def test_conform_without_account_exits_2(conform: Conform) -> None:
    result = conform("--yes")
    assert result.status == 2
    assert "no account is configured" in result.err


def test_conform_without_any_response_exits_2(
    sandbox: Sandbox, conform: Conform, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.fail(kind="reset_before")
    result = conform("--yes")
    assert result.status == 2
    assert "no request got a response" in result.err


def test_conform_from_file_makes_no_request(sandbox: Sandbox, conform: Conform, run: Run, tmp_path: Path) -> None:
    sandbox.settings.change({"rotate_refresh_tokens": True})
    conform(*ALL_OPTIONS)
    before = sandbox.request_counts.total()
    with (tmp_path / "shapes.jsonl").open("a") as file:
        file.write('{"endp\n')
    result = run("conform", "--from", str(tmp_path / "shapes.jsonl"), "--json")
    assert result.status == 1
    assert contradicted(result.out) == {"refresh-rotation"}
    assert json.loads(result.out)["unreadable"] == 1
    assert sandbox.request_counts.total() == before
    assert "1 lines of the record cannot be read" in run("conform", "--from", str(tmp_path / "shapes.jsonl")).err


def test_conform_from_missing_file_exits_2(run: Run, tmp_path: Path) -> None:
    assert run("conform", "--from", str(tmp_path / "absent")).status == 2


def test_conform_subject_is_sent_and_not_recorded(sandbox: Sandbox, conform: Conform, tmp_path: Path) -> None:
    person = sandbox.people[0]
    subject = tmp_path / "subject.json"
    values = {"national_id": person.national_id, "card_number": person.card, "birth_date": person.birth_date}
    subject.write_text(json.dumps(values | {"iban": person.iban, "card": person.card, "mobile_number": person.mobile}))
    result = conform("--yes", "--subject", str(subject), "--json")
    verdicts = {item["id"]: item["verdict"] for item in json.loads(result.out)["assumptions"]}
    assert verdicts["birth-date"] == "confirmed"
    text = (tmp_path / "shapes.jsonl").read_text() + result.out + result.err
    assert [value for value in (*values.values(), person.iban, person.mobile) if value in text] == []


@pytest.mark.parametrize("content", ["[]", "{", None])
def test_conform_subject_that_is_no_object_exits_2(
    sandbox: Sandbox, conform: Conform, tmp_path: Path, content: str | None
) -> None:
    subject = tmp_path / "subject.json"
    if content is not None:
        subject.write_text(content)
    assert conform("--yes", "--subject", str(subject)).status == 2
    assert sandbox.request_counts.total() == 0


def secrets_and_ids(sandbox: Sandbox) -> list[str]:
    accounts = (sandbox.application, sandbox.gateway, sandbox.wallet)
    values = [getattr(account, field.name) for account in accounts for field in attrs.fields(type(account))]
    texts = [value.reveal() if isinstance(value, Secret) else str(value) for value in values]
    for payment in sandbox.bank.payments.newest():
        texts += [payment.ref_num, payment.token, payment.request.order_id]
    return [text for text in (*texts, "5000", "5,000") if len(text) > 3]


def test_conform_record_and_reports_hold_no_value(sandbox: Sandbox, conform: Conform, tmp_path: Path) -> None:
    sandbox.settings.change({"rotate_refresh_tokens": True, "failure_http": 200})
    before = secrets_and_ids(sandbox)
    result = conform(*ALL_OPTIONS, "--json", "--report", str(tmp_path / "report.md"))
    markdown = (tmp_path / "report.md").read_text()
    assert "## refresh-rotation" in markdown
    written = (tmp_path / "shapes.jsonl").read_text() + result.out + markdown
    searched = {*before, *secrets_and_ids(sandbox)} - {"None", "True", "False"}
    assert len(searched) > 12
    assert [text for text in searched if text in written] == []


def test_conform_report_that_cannot_be_written_exits_2(sandbox: Sandbox, conform: Conform, tmp_path: Path) -> None:
    assert conform("--yes", "--report", str(tmp_path)).status == 2


def test_conform_help_says_what_it_never_does() -> None:
    assert "no transfer is ever sent" in " ".join((conform_command.__doc__ or "").split())
