"""``paystar doctor``: reports problems, shows no secret, moves no money."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from paystar_async.cli.environment import CREDENTIAL_VARIABLES, VARIABLES
from paystar_async.keys.database import DatabaseKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.environment import client_environment
from paystar_async.values.secret import Secret
from tests.cli.conftest import Run
from tests.cli.helpers import check_result


def test_doctor_valid_configuration_passes(run: Run, sandbox: Sandbox) -> None:
    result = run("doctor")
    assert result.status == 0, result.out
    for name in ("base URL", "reachable", "application", "wallet, reading", "gateway"):
        assert check_result(result.out, name).startswith("ok")
    assert sandbox.stats["requests"] == {"transfers.find": 1, "wallet.balance": 1, "gateway.inquiry": 1}
    secrets = {name: value for name, value in client_environment(sandbox, "") if VARIABLES[name]}
    assert len(secrets) == 11
    assert not [name for name, value in secrets.items() if value in result.out + result.err]
    assert check_result(result.out, "application key").endswith("used until it is refused")


@pytest.mark.parametrize(
    ("variable", "name", "hint"),
    [
        ("PAYSTAR_GATEWAY_ID", "gateway", "check the gateway id"),
        ("PAYSTAR_ACCESS_PASSWORD", "application", "check access_password"),
        ("PAYSTAR_APPLICATION_ID", "application", "check application_id"),
        ("PAYSTAR_API_KEY", "application", "doctor --refresh"),
        ("PAYSTAR_INQUIRY_KEY", "wallet, reading", "doctor --refresh"),
        ("PAYSTAR_WALLET_HASHID", "wallet, reading", "PAYSTAR_WALLET_HASHID"),
    ],
)
def test_doctor_one_wrong_variable_fails_its_check(
    variable: str, name: str, hint: str, run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "wrong-secret")
    result = run("doctor")
    assert result.status == 1
    assert check_result(result.out, name).startswith("bad")
    assert hint in check_result(result.out, name)
    assert sum(" bad " in line for line in result.out.splitlines()) == 1
    assert sandbox.stats["refreshes"] == {"application": 0, "wallet": 0, "inquiry": 0}


def test_doctor_refresh_refreshes_refused_keys(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_API_KEY", "wrong")
    monkeypatch.delenv("PAYSTAR_INQUIRY_KEY")
    result = run("doctor", "--refresh")
    assert result.status == 0, result.out
    assert sandbox.stats["refreshes"] == {"application": 1, "wallet": 0, "inquiry": 1}
    assert "valid until" in check_result(result.out, "application key")


async def _store_key(path: Path, sandbox: Sandbox, token: str) -> None:
    store = DatabaseKeyStore(path)
    record = KeyRecord(token=Secret(token), refresh_token=sandbox.application.refresh_token)
    await store.commit(KeyId("application", sandbox.application.id), 0, "", record)
    await store.aclose()


async def _load_keys(path: Path, sandbox: Sandbox) -> list[KeyRecord | None]:
    store, wallet = DatabaseKeyStore(path), sandbox.wallet.hashid
    ids = [("application", sandbox.application.id), ("wallet", wallet), ("inquiry", wallet)]
    records = [await store.load(KeyId(*key)) for key in ids]
    await store.aclose()
    return records


def test_doctor_stores_no_key(run: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record without a refresh token would lock out the service that uses the store next."""
    monkeypatch.setenv("PAYSTAR_KEYS", str(tmp_path / "keys.db"))
    assert run("doctor").status == 0
    assert asyncio.run(_load_keys(tmp_path / "keys.db", sandbox)) == [None, None, None]


def test_doctor_refreshes_no_stored_key(
    run: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.db"
    asyncio.run(_store_key(path, sandbox, "expired"))
    before = asyncio.run(_load_keys(path, sandbox))
    monkeypatch.setenv("PAYSTAR_KEYS", str(path))
    result = run("doctor")
    assert result.status == 1
    assert "doctor --refresh" in check_result(result.out, "application")
    assert sandbox.stats["refreshes"] == {"application": 0, "wallet": 0, "inquiry": 0}
    assert asyncio.run(_load_keys(path, sandbox)) == before

    assert run("doctor", "--refresh").status == 0
    assert sandbox.stats["refreshes"]["application"] == 1
    refreshed = asyncio.run(_load_keys(path, sandbox))[0]
    assert refreshed is not None
    assert refreshed.token == sandbox.application.api_key


def test_doctor_reports_unreadable_key_store(
    run: Run, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.db"
    asyncio.run(_store_key(path, sandbox, "key"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE paystar_keys SET payload = '{}'")
    monkeypatch.setenv("PAYSTAR_KEYS", str(path))
    result = run("doctor")
    assert result.status == 1
    for name in ("application", "application key"):
        assert check_result(result.out, name).startswith("bad")
        assert "no valid payload.format" in check_result(result.out, name)


def test_doctor_missing_key_suggests_refresh_or_token(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYSTAR_API_KEY")
    assert "the first call fetches one" in check_result(run("doctor").out, "application")
    monkeypatch.delenv("PAYSTAR_REFRESH_TOKEN")
    result = run("doctor")
    assert result.status == 1
    assert "PAYSTAR_REFRESH_TOKEN" in check_result(result.out, "application")
    monkeypatch.setenv("PAYSTAR_API_KEY", "wrong")
    assert "keys.replace" in check_result(run("doctor").out, "application")
    assert sandbox.stats["refreshes"]["application"] == 0


def test_doctor_unreachable_server_fails(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PAYSTAR_MAX_RETRIES", "0")
    result = run("doctor")
    assert result.status == 1
    assert "check the network" in check_result(result.out, "reachable")
    assert not sandbox.stats["requests"]


def test_doctor_http_is_for_credentials_of_sandbox(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", "http://sandbox.invalid:8000/api")
    assert check_result(run("doctor", "--offline").out, "base URL").startswith("ok")
    monkeypatch.setenv("PAYSTAR_SIGN_KEY", "real-canary")
    result = check_result(run("doctor", "--offline").out, "base URL")
    assert result.startswith("bad")
    assert result.endswith("not of a sandbox: gateway.sign_key")


def test_doctor_offline_makes_no_request(run: Run, sandbox: Sandbox) -> None:
    result = run("doctor", "--offline")
    assert result.status == 0
    assert not sandbox.stats["requests"]
    for account, variables in CREDENTIAL_VARIABLES.items():
        message = check_result(result.out, f"{account} credentials")
        assert message.startswith("ok")
        assert "complete; set: " in message
        assert all(name in message for name in variables if name != "PAYSTAR_GATEWAY_DIRECT")


def test_doctor_incomplete_credentials_do_not_hide_others(
    run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYSTAR_ACCESS_PASSWORD")
    result = run("doctor")
    assert result.status == 1
    message = check_result(result.out, "application credentials")
    assert message.startswith("bad   incomplete: not set: PAYSTAR_ACCESS_PASSWORD")
    assert "set: PAYSTAR_APPLICATION_ID, PAYSTAR_API_KEY" in message
    assert check_result(result.out, "wallet, reading").startswith("ok")
    assert check_result(result.out, "gateway").startswith("ok")
    assert sum(" bad " in line for line in result.out.splitlines()) == 1
    monkeypatch.setenv("PAYSTAR_ACCESS_PASSWORD", "p")
    monkeypatch.setenv("PAYSTAR_API_KEY", "two\nlines")
    assert check_result(run("doctor", "--offline").out, "application credentials").startswith(
        "bad   invalid: PAYSTAR_API_KEY"
    )


def test_doctor_invalid_settings_fail(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_TIMEOUT", "soon")
    result = run("doctor")
    assert result.status == 1
    assert "PAYSTAR_TIMEOUT must be a number of seconds" in check_result(result.out, "settings")
    monkeypatch.setenv("PAYSTAR_BASE_URL", "ftp://core.paystar.ir")
    result = run("doctor")
    assert result.status == 1
    assert check_result(result.out, "base URL").startswith("bad")
    assert check_result(result.out, "wallet credentials").startswith("ok")
    assert not sandbox.stats["requests"]


def test_doctor_base_url_without_api_path_fails(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_BASE_URL", os.environ["PAYSTAR_BASE_URL"].removesuffix("/api"))
    result = run("doctor")
    assert result.status == 1
    assert "base_url should end in /api" in check_result(result.out, "base URL")
    assert check_result(result.out, "base URL").startswith("bad")
    assert not check_result(result.out, "reachable").startswith("ok")
    assert "unreadable" not in result.out
    assert sum(" bad " in line for line in result.out.splitlines()) == 1


def test_doctor_names_missing_credentials(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "none are configured" in check_result(run("doctor", "--offline").out, "credentials")
    monkeypatch.setenv("PAYSTAR_APPLICATION_ID", "a")
    result = run("doctor")
    assert result.status == 1
    assert "not set: PAYSTAR_ACCESS_PASSWORD" in check_result(result.out, "application credentials")
    assert "none are configured" not in result.out
    monkeypatch.delenv("PAYSTAR_APPLICATION_ID")
    monkeypatch.setenv("PAYSTAR_GATEWAY_ID", "g")
    assert "without a sign key" in check_result(run("doctor", "--offline").out, "gateway credentials")


def test_doctor_shows_no_control_characters(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_APPLICATION_ID", "a\x1b[2J\u202eb\x9b")
    sandbox.fail("wallet.balance", "status", status="\x1b]0;title\x07 \u202e odd\n word")

    result = run("doctor")

    assert not [char for char in result.out + result.err if char != "\n" and not char.isprintable()]
