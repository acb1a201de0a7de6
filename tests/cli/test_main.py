"""The command line as a whole: its statuses, and what is missing."""

import importlib
import os
import subprocess
import sys

import pytest

import paystar_async
from paystar_async.cli import main
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("call", "bogus"),
        ("call", "inquiry", "bogus"),
        ("call", "inquiry", "iban"),
        ("call", "inquiry", "iban", "--iban"),
        ("call", "inquiry", "iban", "--bogus", "1"),
        ("call", "wallet", "balance", "--timeout", "soon"),
        ("call", "wallet", "balance", "--yes"),
        ("sandbox", "--port", "x"),
        ("demo", "--transfers", "0"),
        ("demo", "--faults", "1"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(arguments: tuple[str, ...], run: Run) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("paystar: ")
    assert ran.err.endswith("--help says what it takes\n")
    assert ran.err.count("\n") == 1


def test_nothing_asked_is_help(run: Run) -> None:
    ran = run()
    assert ran.status == 0
    assert "Usage: paystar" in ran.out


def test_the_module_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "paystar_async", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == paystar_async.__version__


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_without_the_extra_one_line_names_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget(monkeypatch, "paystar_async.cli.")
    forget(monkeypatch, missing)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--help"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install 'paystar-async[cli]'" in err


def test_what_else_is_missing_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "paystar_async.cli.")
    monkeypatch.setitem(sys.modules, "paystar_async.cli.call", None)
    with pytest.raises(ModuleNotFoundError):
        main(["--help"])


@pytest.mark.parametrize("arguments", [("sandbox", "--port", "0"), ("demo",)])
@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_sandbox_extra_one_line_names_it(
    arguments: tuple[str, ...], missing: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paystar_async, "sandbox", importlib.import_module("paystar_async.sandbox"))
    forget(monkeypatch, "paystar_async.sandbox")
    monkeypatch.setitem(sys.modules, missing, None)
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert "paystar-async[sandbox]" in ran.err
    assert ran.err.count("\n") == 1


def forget(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Have modules imported anew, for this test alone."""
    for name in list(sys.modules):
        if name.startswith(prefix):
            monkeypatch.delitem(sys.modules, name)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "paystar_async", "doctor", "--offline"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert ended.returncode == 1
    assert ended.stderr == b""
