"""The command line as a whole: its statuses, and what is missing."""

import importlib
import os
import re
import signal
import subprocess
import sys
import threading

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
        ("call", "wallet", "balance", "--timeout", "nan"),
        ("call", "wallet", "balance", "--timeout", "0"),
        ("call", "wallet", "balance", "--yes"),
        ("call", "wallet", "balance", "--raw=maybe"),
        ("call", "inquiry", "iban", "--iban", "a", "--iban", "b"),
        ("doctor", "extra"),
        ("sandbox", "--port", "x"),
        ("sandbox", "--port", "99999"),
        ("sandbox", "--port", "-1"),
        ("sandbox", "--key-life", "0"),
        ("sandbox", "--key-life", "-1"),
        ("sandbox", "--seed", "1.5"),
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
    assert not re.search(r"[.?!:] –|\[|Token|parameter|convert|Errno", ran.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cal",), "there is no command cal, only call, payout, doctor, sandbox, demo – did you mean call?"),
        (("doctor", "--ofline"), "there is no option --ofline – did you mean --offline?"),
        (("doctor", "extra"), "nothing here takes extra – --help says what it takes"),
        (("call", "inquiry", "iban"), "--iban is needed, with a value – --help says what it takes"),
        (("call", "inquiry", "iban", "--ibna", "x"), "--iban is needed, with a value – did you mean --iban?"),
    ],
)
def test_a_mistake_is_told_in_a_plain_sentence(arguments: tuple[str, ...], said: str, run: Run) -> None:
    assert run(*arguments).err == f"paystar: {said}\n"


def test_the_exit_statuses_are_explained(run: Run) -> None:
    for arguments in ((), ("call",)):
        said = run(*arguments, "--help").out
        assert all(word in said for word in ("Exit status", "0 done", "1 ", "2 wrongly", "3 ", "130 interrupted"))


def test_an_interrupt_while_it_starts_is_one_line() -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'rich':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from paystar_async.cli import main\n"
        "sys.exit(main(['doctor']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "paystar: interrupted\n")


def test_it_ends_by_sigterm_even_where_ctrl_c_is_ignored() -> None:
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from paystar_async.cli import app\n"
        "app.doctor = lambda: signal.raise_signal(signal.SIGTERM)\n"
        "app.doctor.__name__ = 'doctor'\n"
        "sys.exit(app.run(['doctor']))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (143, "paystar: interrupted\n")


def test_it_runs_in_a_thread_and_leaves_signals_as_they_were() -> None:
    before, statuses = signal.getsignal(signal.SIGTERM), list[int]()
    thread = threading.Thread(target=lambda: statuses.append(main(["doctor", "--offline"])))
    thread.start()
    thread.join()
    statuses.append(main(["doctor", "--offline"]))
    assert statuses == [1, 1]
    assert signal.getsignal(signal.SIGTERM) is before


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


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437", "cp1252"])
@pytest.mark.parametrize("arguments", [("--help",), ("doctor", "--offline"), ("call", "--help"), ("sandbox", "--help")])
def test_output_unencodable_text_is_replaced(encoding: str, arguments: tuple[str, ...]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "paystar_async", *arguments],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1 if "--offline" in arguments else 0, b"")
    assert ended.stdout.decode(encoding)


def test_output_c_locale_text_is_replaced() -> None:
    """Its stdout is ASCII with surrogateescape, which encodes no other character."""
    ended = subprocess.run(
        [sys.executable, "-m", "paystar_async", "--help"],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"Usage: paystar" in ended.stdout


def test_sigterm_ends_sandbox_that_ignores_sigint() -> None:
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from paystar_async.cli import main\n"
        "sys.exit(main(['sandbox', '--port', '0']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, b"")
