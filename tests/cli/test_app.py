"""The command-line application: usage errors, exit statuses, signals and missing extras."""

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
def test_run_usage_error_is_one_line(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("paystar: ")
    assert result.err.endswith("see --help\n")
    assert result.err.count("\n") == 1
    assert not re.search(r"[.?!:] –|\[|Token|parameter|convert|Errno", result.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("cal",),
            "unknown command cal; available: call, payout, payments, doctor, conform, sandbox, demo, docs"
            " – did you mean call?",
        ),
        (("doctor", "--ofline"), "unknown option --ofline – did you mean --offline?"),
        (("doctor", "extra"), "unexpected argument extra – see --help"),
        (("call", "inquiry", "iban"), "missing value for --iban – see --help"),
        (("call", "inquiry", "iban", "--ibna", "x"), "missing value for --iban – did you mean --iban?"),
        (("sandbox", "--"), "no command follows -- – for example: paystar sandbox -- pytest"),
    ],
)
def test_print_usage_error_explains_mistake(arguments: tuple[str, ...], message: str, run: Run) -> None:
    assert run(*arguments).err == f"paystar: {message}\n"


def test_help_explains_exit_statuses(run: Run) -> None:
    for arguments in ((), ("call",)):
        help_text = run(*arguments, "--help").out
        assert all(text in help_text for text in ("Exit status", "0 success", "1 ", "2 usage", "3 ", "130 interrupted"))


def test_main_interrupted_import_is_one_line() -> None:
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
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout, completed.stderr) == (130, "", "paystar: interrupted\n")


def test_run_sigterm_ends_process_that_ignores_sigint() -> None:
    program = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from paystar_async.cli import app\n"
        "app.doctor = lambda: signal.raise_signal(signal.SIGTERM)\n"
        "app.doctor.__name__ = 'doctor'\n"
        "sys.exit(app.run(['doctor']))\n"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (143, "paystar: interrupted\n")


def test_main_in_thread_restores_signal_handlers() -> None:
    handler, statuses = signal.getsignal(signal.SIGTERM), list[int]()
    thread = threading.Thread(target=lambda: statuses.append(main(["doctor", "--offline"])))
    thread.start()
    thread.join()
    statuses.append(main(["doctor", "--offline"]))
    assert statuses == [1, 1]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_main_without_arguments_prints_help(run: Run) -> None:
    result = run()
    assert result.status == 0
    assert "Usage: paystar" in result.out


def test_module_runs_the_command() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "paystar_async", "--version"], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == paystar_async.__version__


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_main_missing_cli_extra_names_pip_command(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_modules(monkeypatch, "paystar_async.cli.")
    forget_modules(monkeypatch, missing)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--help"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "pip install 'paystar-async[cli]'" in err


def test_main_other_missing_module_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_modules(monkeypatch, "paystar_async.cli.")
    monkeypatch.setitem(sys.modules, "paystar_async.cli.call", None)
    with pytest.raises(ModuleNotFoundError):
        main(["--help"])


@pytest.mark.parametrize("arguments", [("sandbox", "--port", "0"), ("demo",)])
@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_run_missing_sandbox_extra_names_pip_command(
    arguments: tuple[str, ...], missing: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paystar_async, "sandbox", importlib.import_module("paystar_async.sandbox"))
    forget_modules(monkeypatch, "paystar_async.sandbox")
    monkeypatch.setitem(sys.modules, missing, None)
    result = run(*arguments)
    assert (result.status, result.out) == (2, "")
    assert "paystar-async[sandbox]" in result.err
    assert result.err.count("\n") == 1


def forget_modules(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Make this test import modules again."""
    for name in list(sys.modules):
        if name.startswith(prefix):
            monkeypatch.delitem(sys.modules, name)


def test_run_closed_pipe_prints_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    completed = subprocess.run(
        [sys.executable, "-m", "paystar_async", "doctor", "--offline"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert completed.returncode == 1
    assert completed.stderr == b""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437", "cp1252"])
@pytest.mark.parametrize("arguments", [("--help",), ("doctor", "--offline"), ("call", "--help"), ("sandbox", "--help")])
def test_output_unencodable_text_is_replaced(encoding: str, arguments: tuple[str, ...]) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "paystar_async", *arguments],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (1 if "--offline" in arguments else 0, b"")
    assert completed.stdout.decode(encoding)


def test_output_c_locale_text_is_replaced() -> None:
    """The C locale's stdout is ASCII with surrogateescape, which encodes no other character."""
    completed = subprocess.run(
        [sys.executable, "-m", "paystar_async", "--help"],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (0, b"")
    assert b"Usage: paystar" in completed.stdout


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
