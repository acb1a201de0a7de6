"""Numbers, amounts and JSON on the command line are never rounded, guessed or sent if invalid."""

import io
import json
import sys
from pathlib import Path

import pytest

from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run
from tests.cli.helpers import transfer


def test_json_field_reads_file_or_stdin(
    run: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "transfers.json"
    file.write_text(json.dumps([transfer("t-file")]), encoding="utf-8")
    assert run("call", "transfers", "settle", "--transfers", f"@{file}", "--yes").status == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([transfer("t-stdin")])))
    assert run("call", "transfers", "settle", "--transfers", "-", "--yes").status == 0
    assert set(sandbox.ledger) == {"t-file", "t-stdin"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("@nowhere.json", "got a file that cannot be read – nowhere.json: No such file or directory"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"amount": 1, "amount": 2}]', "same name twice"),
        ('[{"amount": NaN}]', "not JSON"),
        ("{}", "expected a list in JSON"),
        (json.dumps(transfer("t")), "got a JSON object – wrap a single item in a list"),
        ("5", "got JSON of another type"),
        ("[]", "the list is empty"),
        (json.dumps([transfer("t", amount=10.5)]), "whole Rial"),
        (json.dumps([transfer("t", iban="x")]), "one of amount"),
    ],
)
def test_json_field_invalid_list_is_refused(text: str, reason: str, run: Run, sandbox: Sandbox) -> None:
    result = run("call", "transfers", "settle", "--transfers", text, "--yes")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("paystar: transfers")
    assert reason in result.err
    assert len(result.err.splitlines()) == 1
    assert "Errno" not in result.err
    assert not sandbox.stats["requests"]


def test_json_field_file_not_utf8_is_refused(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_bytes(b"\xff")
    result = run("call", "transfers", "settle", "--transfers", f"@{file}", "--yes")
    assert (result.status, "not UTF-8" in result.err) == (2, True)


@pytest.mark.parametrize("text", ["[1]", "5", "{", '{"a": NaN}', '{"a": 1, "a": 2}', '{"amount": 1}'])
def test_json_field_invalid_object_is_refused(run: Run, sandbox: Sandbox, text: str) -> None:
    fields = ("--amount", "10000", "--order-id", "o-1", "--callback", "https://shop.example/back")
    result = run("call", "gateway", "create", *fields, "--extra", text, "--yes")

    assert result.status == 2
    assert "extra" in result.err
    assert not sandbox.stats["requests"]


@pytest.fixture(params=[False, True], ids=["without pydantic", "with pydantic"])
def _pydantic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with and without pydantic, with which the command library parses numbers if it is imported."""
    if request.param:
        pytest.importorskip("pydantic")
    else:
        monkeypatch.delitem(sys.modules, "pydantic", raising=False)


@pytest.mark.usefixtures("_pydantic")
@pytest.mark.parametrize("arguments", [("demo", "--transfers", "10.5"), ("sandbox", "--port", "1_0")])
def test_number_parameter_is_never_rounded(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert (result.status, result.out) == (2, "")
    assert f"got '{arguments[-1]}'" in result.err
    assert "pydantic" not in result.err


@pytest.mark.usefixtures("_pydantic")
@pytest.mark.parametrize("amount", ["10000.9", "1e6", "0x10", "50,000", "-5", "9" * 30, "پول"])
def test_amount_field_is_never_guessed(amount: str, run: Run, sandbox: Sandbox) -> None:
    result = run(
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
    assert result.status == 2
    assert "amount: expected whole Rial" in result.err
    assert not sandbox.stats["requests"]
