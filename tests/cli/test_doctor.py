"""``paystar doctor``: says what is wrong, shows no secret, moves no money."""

import os
import re
from pathlib import Path

import pytest

import paystar_async
from paystar_async.cli.environment import ACCOUNTS, VARIABLES
from paystar_async.cli.sandbox import exports
from paystar_async.sandbox import Sandbox
from tests.cli.conftest import Run

HOME = Path(paystar_async.__file__).parent


def found(out: str, what: str) -> str:
    """What was found out about something."""
    return next(line.split(what, 1)[1].strip() for line in out.splitlines() if line.startswith(f" {what}  "))


def test_all_is_well(run: Run, sandbox: Sandbox) -> None:
    ran = run("doctor")
    assert ran.status == 0, ran.out
    for what in ("base URL", "reachable", "application", "wallet, reading", "gateway"):
        assert found(ran.out, what).startswith("ok")
    assert sandbox.stats["requests"] == {"transfers.find": 1, "wallet.balance": 1, "gateway.inquiry": 1}
    secrets = {name: value for name, value in exports(sandbox, "") if VARIABLES[name]}
    assert len(secrets) == 11
    assert not [name for name, value in secrets.items() if value in ran.out + ran.err]
    assert found(ran.out, "application key").endswith("used until it is refused")


@pytest.mark.parametrize(
    ("variable", "what", "hint"),
    [
        ("PAYSTAR_GATEWAY_ID", "gateway", "check the gateway id"),
        ("PAYSTAR_ACCESS_PASSWORD", "application", "check access_password"),
        ("PAYSTAR_APPLICATION_ID", "application", "check application_id"),
        ("PAYSTAR_API_KEY", "application", "doctor --renew"),
        ("PAYSTAR_INQUIRY_KEY", "wallet, reading", "doctor --renew"),
        ("PAYSTAR_WALLET_HASHID", "wallet, reading", "correct the fields"),
    ],
)
def test_one_wrong_setting(
    variable: str, what: str, hint: str, run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "wrong-secret")
    ran = run("doctor")
    assert ran.status == 1
    assert found(ran.out, what).startswith("bad")
    assert hint in found(ran.out, what)
    assert sum(" bad " in line for line in ran.out.splitlines()) == 1
    assert sandbox.stats["refreshes"] == {"application": 0, "wallet": 0, "inquiry": 0}


def test_renew_tries_what_the_client_would_do(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_API_KEY", "wrong")
    monkeypatch.delenv("PAYSTAR_INQUIRY_KEY")
    ran = run("doctor", "--renew")
    assert ran.status == 0, ran.out
    assert sandbox.stats["refreshes"] == {"application": 1, "wallet": 0, "inquiry": 1}
    assert "good until" in found(ran.out, "application key")


def test_a_key_that_is_not_there_yet(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYSTAR_API_KEY")
    assert "the first call fetches one" in found(run("doctor").out, "application")
    monkeypatch.delenv("PAYSTAR_REFRESH_TOKEN")
    ran = run("doctor")
    assert ran.status == 1
    assert "PAYSTAR_REFRESH_TOKEN" in found(ran.out, "application")
    monkeypatch.setenv("PAYSTAR_API_KEY", "wrong")
    assert "keys.replace" in found(run("doctor").out, "application")
    assert sandbox.stats["refreshes"]["application"] == 0


def test_nobody_answers(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PAYSTAR_MAX_RETRIES", "0")
    ran = run("doctor")
    assert ran.status == 1
    assert "check the network" in found(ran.out, "reachable")
    assert not sandbox.stats["requests"]


def test_offline_asks_nobody(run: Run, sandbox: Sandbox) -> None:
    ran = run("doctor", "--offline")
    assert ran.status == 0
    assert not sandbox.stats["requests"]
    for account, settings in ACCOUNTS.items():
        told = found(ran.out, f"{account} account")
        assert told.startswith("ok")
        assert "complete; set: " in told
        assert all(name in told for name in settings if name != "PAYSTAR_GATEWAY_DIRECT")


def test_half_an_account_does_not_hide_the_others(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAYSTAR_ACCESS_PASSWORD")
    ran = run("doctor")
    assert ran.status == 1
    told = found(ran.out, "application account")
    assert told.startswith("bad   incomplete: not set: PAYSTAR_ACCESS_PASSWORD")
    assert "set: PAYSTAR_APPLICATION_ID, PAYSTAR_API_KEY" in told
    assert found(ran.out, "wallet, reading").startswith("ok")
    assert found(ran.out, "gateway").startswith("ok")
    assert sum(" bad " in line for line in ran.out.splitlines()) == 1
    monkeypatch.setenv("PAYSTAR_ACCESS_PASSWORD", "p")
    monkeypatch.setenv("PAYSTAR_API_KEY", "two\nlines")
    assert found(run("doctor", "--offline").out, "application account").startswith("bad   wrong: api_key")


def test_other_settings_that_are_wrong(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_TIMEOUT", "soon")
    ran = run("doctor")
    assert ran.status == 1
    assert "PAYSTAR_TIMEOUT must be a number" in found(ran.out, "settings")
    monkeypatch.setenv("PAYSTAR_BASE_URL", "ftp://core.paystar.ir")
    ran = run("doctor")
    assert ran.status == 1
    assert found(ran.out, "base URL").startswith("bad")
    assert found(ran.out, "wallet account").startswith("ok")
    assert not sandbox.stats["requests"]


def test_a_base_url_with_the_wrong_path(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", os.environ["PAYSTAR_BASE_URL"].removesuffix("/api"))
    ran = run("doctor")
    assert ran.status == 1
    assert "base_url should end in /api" in found(ran.out, "base URL")
    assert found(ran.out, "base URL").startswith("bad")
    assert not found(ran.out, "reachable").startswith("ok")
    assert "unreadable" not in ran.out
    assert sum(" bad " in line for line in ran.out.splitlines()) == 1


def test_half_an_account(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none is configured" in found(run("doctor", "--offline").out, "accounts")
    monkeypatch.setenv("PAYSTAR_APPLICATION_ID", "a")
    ran = run("doctor")
    assert ran.status == 1
    assert "not set: PAYSTAR_ACCESS_PASSWORD" in found(ran.out, "application account")
    assert "none is configured" not in ran.out
    monkeypatch.delenv("PAYSTAR_APPLICATION_ID")
    monkeypatch.setenv("PAYSTAR_GATEWAY_ID", "g")
    assert "no sign key" in found(run("doctor", "--offline").out, "gateway account")


def test_a_file_and_a_misspelt_name_are_seen(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("hidden\n")
    monkeypatch.setenv("PAYSTAR_GATEWAY_ID_FILE", str(file))
    monkeypatch.setenv("PAYSTAR_SIGNKEY", "oops-secret")
    ran = run("doctor", "--offline")
    assert f"file {file}" in ran.out
    assert ran.status == 1
    assert found(ran.out, "PAYSTAR_SIGNKEY").startswith("bad")
    assert "did you mean PAYSTAR_SIGN_KEY?" in found(ran.out, "PAYSTAR_SIGNKEY")
    assert not re.search("hidden|oops", ran.out)


def test_every_setting_that_is_read_is_shown() -> None:
    source = "".join((HOME / name).read_text(encoding="utf-8") for name in ("settings.py", "client.py"))
    assert set(re.findall(r'"(PAYSTAR_[A-Z_]+)"', source)) == set(VARIABLES)
    assert {name for names in ACCOUNTS.values() for name in names} < set(VARIABLES)


ADDRESSES = (
    "https://u:CANARY@h.example/api",
    "redis//:CANARY@h",
    "redis:/:CANARY@h",
    "Redis://:CANARY@h",
    "redis://:CANARY@h:port/0",
    "postgres:/u:CANARY@h",
    "postgresql://u:CANARY@h:port/name",
    "host=h password=CANARY dbname=x",
    "host=h password='CAN CANARY",
    "https://h.example/api?password=CANARY",
)
SETTINGS = ("BASE_URL", "KEYS", "DATABASE", "ENGINE", "TIMEOUT", "APPLICATION_ID", "KEYS_FILE", "BASE_URL_FILE")


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_doctor_shows_no_password_of_an_address(
    setting: str, address: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for name in ("BASE_URL", "KEYS", "DATABASE", "ENGINE", "TIMEOUT"):
        if setting == f"{name}_FILE":
            monkeypatch.delenv(f"PAYSTAR_{name}", raising=False)
    monkeypatch.setenv(f"PAYSTAR_{setting}", address)

    ran = run("doctor", "--offline")

    assert "CANARY" not in ran.out + ran.err
    assert not [one for one in tmp_path.rglob("*") if "CANARY" in one.name]


def test_doctor_shows_no_control_characters(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_APPLICATION_ID", "a\x1b[2J\u202eb\x9b")
    sandbox.fail("wallet.balance", "status", status="\x1b]0;title\x07 \u202e odd\n word")

    ran = run("doctor")

    assert not [one for one in ran.out + ran.err if one not in "\n" and not one.isprintable()]
