"""Settings from arguments, environment variables and files, and the errors for wrong values."""

import logging
import traceback
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve, fields

from paystar_async.client import Paystar
from paystar_async.config import (
    read_application,
    read_gateway,
    read_log_level,
    read_number,
    read_setting,
    read_switch,
    read_wallet,
    require_base_url,
)
from paystar_async.credentials import Application, Credentials, Gateway, Wallet
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from paystar_async.sandbox import Sandbox
from paystar_async.values.secret import Secret
from tests.support import delete_paystar_variables

APPLICATION = {
    "PAYSTAR_APPLICATION_ID": "77",
    "PAYSTAR_ACCESS_PASSWORD": "password",
    "PAYSTAR_API_KEY": "key",
    "PAYSTAR_REFRESH_TOKEN": "refresh",
}
GATEWAY = {"PAYSTAR_GATEWAY_ID": "gateway", "PAYSTAR_SIGN_KEY": "sign", "PAYSTAR_GATEWAY_DIRECT": "yes"}
WALLET = {
    "PAYSTAR_WALLET_HASHID": "w123",
    "PAYSTAR_WALLET_PASSWORD": "wallet-password",
    "PAYSTAR_WALLET_SIGN_KEY": "wallet-sign",
    "PAYSTAR_WALLET_API_KEY": "wallet-key",
    "PAYSTAR_WALLET_REFRESH_TOKEN": "wallet-refresh",
    "PAYSTAR_INQUIRY_KEY": "inquiry",
    "PAYSTAR_REFRESH_INQUIRY_KEY": "inquiry-refresh",
}
ALL = APPLICATION | GATEWAY | WALLET

SANDBOX = Sandbox()
ACCOUNTS: dict[str, Any] = {
    "application": SANDBOX.application,
    "gateway": SANDBOX.gateway,
    "wallet": SANDBOX.wallet,
}
SECRETS_AND_IDS = [
    (name, attribute.name)
    for name, account in ACCOUNTS.items()
    for attribute in fields(cast("type[Application]", type(account)))
    if attribute.name != "direct"
]

EXPECTED_APPLICATION = Application(id="77", access_password="password", api_key="key", refresh_token="refresh")
EXPECTED_GATEWAY = Gateway(id="gateway", sign_key="sign", direct=True)
EXPECTED_WALLET = Wallet(
    hashid="w123",
    password="wallet-password",
    sign_key="wallet-sign",
    api_key="wallet-key",
    refresh_token="wallet-refresh",
    inquiry_key="inquiry",
    refresh_inquiry_key="inquiry-refresh",
)


def write_files(values: dict[str, str], folder: Path) -> dict[str, str]:
    for name, text in values.items():
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return {f"{name}_FILE": str(folder / name) for name in values}


def accounts(values: dict[str, str]) -> tuple[object, ...]:
    return read_application(values), read_gateway(values), read_wallet(values)


def test_accounts_are_read_from_variables() -> None:
    assert accounts(ALL) == (EXPECTED_APPLICATION, EXPECTED_GATEWAY, EXPECTED_WALLET)


def test_accounts_are_read_from_files(tmp_path: Path) -> None:
    assert accounts(write_files(ALL, tmp_path)) == (EXPECTED_APPLICATION, EXPECTED_GATEWAY, EXPECTED_WALLET)


def test_accounts_of_empty_environment_are_none() -> None:
    assert accounts({}) == (None, None, None)
    assert accounts(dict.fromkeys(ALL, "")) == (None, None, None)


def test_accounts_optional_variables_may_be_missing() -> None:
    minimal = {
        "PAYSTAR_APPLICATION_ID": "77",
        "PAYSTAR_ACCESS_PASSWORD": "p",
        "PAYSTAR_GATEWAY_ID": "g",
        "PAYSTAR_WALLET_HASHID": "w",
        "PAYSTAR_WALLET_PASSWORD": "p",
        "PAYSTAR_WALLET_SIGN_KEY": "s",
    }
    assert accounts(minimal) == (
        Application(id="77", access_password="p"),
        Gateway(id="g"),
        Wallet(hashid="w", password="p", sign_key="s"),
    )


@pytest.mark.parametrize(
    ("missing", "read"),
    [
        ("PAYSTAR_APPLICATION_ID", read_application),
        ("PAYSTAR_ACCESS_PASSWORD", read_application),
        ("PAYSTAR_WALLET_HASHID", read_wallet),
        ("PAYSTAR_WALLET_PASSWORD", read_wallet),
        ("PAYSTAR_WALLET_SIGN_KEY", read_wallet),
    ],
)
def test_account_missing_variable_is_named(missing: str, read: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({name: value for name, value in ALL.items() if name != missing})

    assert str(caught.value) == f"not set: {missing} – an account needs all of its variables"


def test_read_gateway_defaults_to_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_GATEWAY_ID", "from-outside")
    gateway = read_gateway()
    assert gateway is not None
    assert gateway.id == Secret("from-outside")


class TestFiles:
    """Settings whose value is in the file named by ``NAME_FILE``."""

    @pytest.mark.parametrize(
        ("content", "value"),
        [
            (b"secret", "secret"),
            (b"secret\n", "secret"),
            (b"secret\r\n", "secret"),
            (b" se cret \n", " se cret "),
            (b"\xef\xbb\xbfsecret\n", "secret"),
            ("کلید\n".encode(), "کلید"),
            (b"two\nlines\n", "two\nlines"),
            (b"secret\n\n", "secret"),
            (b"", None),
            (b"\n", None),
        ],
    )
    def test_read_setting_from_file_strips_final_line_breaks(
        self, tmp_path: Path, content: bytes, value: str | None
    ) -> None:
        path = tmp_path / "secret"
        path.write_bytes(content)

        assert read_setting("NAME", {"NAME_FILE": str(path)}) == value

    def test_read_setting_conflicts_with_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("canary-in-file")
        with pytest.raises(ConfigurationError, match="NAME and NAME_FILE are both set") as caught:
            read_setting("NAME", {"NAME": "canary", "NAME_FILE": str(path)})

        assert "canary" not in str(caught.value)
        assert read_setting("NAME", {"NAME": "", "NAME_FILE": str(path)}) == "canary-in-file"
        assert read_setting("NAME", {"NAME": "value", "NAME_FILE": ""}) == "value"
        assert read_setting("NAME", {"NAME_FILE": ""}) is None

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("missing", "FileNotFoundError"), ("", "IsADirectoryError"), ("latin", "UnicodeDecodeError")],
    )
    def test_read_setting_unreadable_file_is_named(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "latin").write_bytes(b"canary \xff\xfe")
        path = tmp_path / name
        with pytest.raises(ConfigurationError) as caught:
            read_setting("NAME", {"NAME_FILE": str(path)})

        assert str(caught.value) == f"NAME_FILE cannot be read: {reason} – check the path {path}"
        assert caught.value.__context__ is None

    def test_read_setting_impossible_path_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read: ValueError"):
            read_setting("NAME", {"NAME_FILE": "a\x00b"})


class TestNumbersAndSwitches:
    @pytest.mark.parametrize(("text", "value"), [("5", 5), (" 7 ", 7), ("-1", -1)])
    def test_read_number_is_parsed(self, text: str, value: int) -> None:
        assert read_number("N", int, {"N": text}) == value
        assert read_number("N", float, {"N": f"{text.strip()}.5"}) in (value + 0.5, value - 0.5)

    @pytest.mark.parametrize("text", ["five", "5s", "1.5", "0x10", "5 5", "-"])
    def test_read_number_invalid_text_is_named(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="PAYSTAR_CONCURRENCY must be a whole number") as caught:
            read_number("PAYSTAR_CONCURRENCY", int, {"PAYSTAR_CONCURRENCY": text})
        assert caught.value.__context__ is None

    def test_read_number_unset_or_empty_returns_none(self) -> None:
        assert read_number("N", int, {}) is None
        assert read_number("N", int, {"N": ""}) is None

    @pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
    def test_read_switch_on_is_true(self, text: str) -> None:
        assert read_switch("S", {"S": text}) is True

    @pytest.mark.parametrize("text", ["0", "false", "No", "off", "", None])
    def test_read_switch_off_or_unset_is_false(self, text: str | None) -> None:
        assert read_switch("S", {"S": text} if text is not None else {}) is False

    @pytest.mark.parametrize("text", ["2", "direct", "ja", "-"])
    def test_read_switch_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="S must be on or off"):
            read_switch("S", {"S": text})

    def test_read_log_level_other_text_is_refused(self) -> None:
        assert read_log_level({"PAYSTAR_LOG": " Info "}) == logging.INFO
        with pytest.raises(ConfigurationError, match="PAYSTAR_LOG must be debug, info, warning or error"):
            read_log_level({"PAYSTAR_LOG": "verbose"})


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("https://core.paystar.ir/api", "https://core.paystar.ir/api"),
            ("https://core.paystar.ir/api///", "https://core.paystar.ir/api"),
            ("  https://core.paystar.ir/api\n", "https://core.paystar.ir/api"),
            ("HTTPS://core.paystar.ir:8443", "HTTPS://core.paystar.ir:8443"),
            ("http://localhost:8000/api", "http://localhost:8000/api"),
            ("http://LOCALHOST", "http://LOCALHOST"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
            ("http://[::1]:8000/api/", "http://[::1]:8000/api"),
        ],
    )
    def test_require_base_url_strips_blanks_and_final_slashes(self, text: str, url: str) -> None:
        assert require_base_url(text, Credentials()) == url

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "core.paystar.ir/api",
            "//core.paystar.ir",
            "/api",
            "ftp://core.paystar.ir",
            "file:///etc/passwd",
            "https://",
            "https:///api",
            "https://host:port/api",
            "https://host:99999",
            "https://[::1/api",
            "https://user@host/",
            "https://user:canary@host/",
            "https://:canary@host/",
            "https://@host/",
            "http://localhost@evil.example/",
            "http://localhost\\@evil.example/",
            "https://host/api?x=1",
            "https://host/api?",
            "https://host/api#x",
            "https://host/api#",
            "https://ho st/api",
            "https://host/a b",
            "https://host/a\nb",
            "https://host\t/api",
        ],
    )
    def test_require_base_url_invalid_url_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="base_url must be an absolute URL") as caught:
            require_base_url(text, Credentials())

        assert "canary" not in str(caught.value)
        assert "PAYSTAR_BASE_URL" in caught.value.hint

    @pytest.mark.parametrize(
        "text",
        [
            "http://core.paystar.ir/api",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://[::2]/",
            "http://10.0.0.1",
            "http://0.0.0.0:80",
        ],
    )
    def test_require_base_url_remote_http_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="unencrypted"):
            require_base_url(text, Credentials())


class TestSandboxBaseUrl:
    """Plain http to another host, for the credentials of a sandbox alone."""

    @pytest.mark.parametrize(
        "text", ["http://sandbox:8000/api", "http://10.0.0.7:8000/api", "http://[2001:db8::1]/api"]
    )
    @pytest.mark.parametrize("accounts", [("application",), ("gateway",), ("wallet",), tuple(ACCOUNTS)])
    def test_require_base_url_accepts_sandbox_accounts(self, text: str, accounts: tuple[str, ...]) -> None:
        credentials = Credentials(**{name: ACCOUNTS[name] for name in accounts})
        assert require_base_url(text, credentials) == text

    @pytest.mark.parametrize(("account", "attribute"), SECRETS_AND_IDS)
    def test_require_base_url_one_real_value_is_refused(self, account: str, attribute: str) -> None:
        for real in ("real-canary", "sandbox-real-canary", "sandbox-key-00000000-0000000000000000"):
            mixed = evolve(ACCOUNTS[account], **{attribute: real})
            with pytest.raises(ConfigurationError, match="would send keys to sandbox unencrypted") as caught:
                require_base_url("http://sandbox:8000/api", Credentials(**{**ACCOUNTS, account: mixed}))
            assert real not in str(caught.value)
            assert caught.value.hint.endswith(f"not of a sandbox: {account}.{attribute}")

    def test_require_base_url_live_host_is_refused(self) -> None:
        for text in ("http://core.paystar.ir/api", "http://CORE.paystar.ir:8000/api"):
            with pytest.raises(ConfigurationError, match="unencrypted"):
                require_base_url(text, Credentials(**ACCOUNTS))

    def test_require_base_url_invalid_url_of_sandbox_is_refused(self) -> None:
        for text in ("http://sandbox@evil.example/api", "ftp://sandbox/api", "http://sandbox/api?x=1"):
            with pytest.raises(ConfigurationError, match="absolute URL"):
                require_base_url(text, Credentials(**ACCOUNTS))

    def test_client_with_real_account_beside_sandbox_is_refused(self) -> None:
        gateway = Gateway(id="real-canary", sign_key="real-canary")
        with pytest.raises(ConfigurationError, match="unencrypted"):
            Paystar(application=SANDBOX.application, gateway=gateway, base_url="http://sandbox:8000/api")
        with pytest.raises(ConfigurationError, match="unencrypted"):
            Paystar(base_url="http://sandbox:8000/api")


class TestFromEnv:
    """Clients configured by environment variables."""

    @pytest.fixture(autouse=True)
    def _empty_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        delete_paystar_variables(monkeypatch)

    def test_from_env_applies_every_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {
            "PAYSTAR_BASE_URL": "http://localhost:1/api/",
            "PAYSTAR_TIMEOUT": "7.5",
            "PAYSTAR_MAX_RETRIES": "1",
            "PAYSTAR_CONCURRENCY": "4",
            "PAYSTAR_ENGINE": "httpx",
        }
        for name, value in (ALL | settings).items():
            monkeypatch.setenv(name, value)
        attributes = vars(Paystar.from_env())

        credentials = attributes["_credentials"]
        assert (credentials.application, credentials.gateway, credentials.wallet) == (
            EXPECTED_APPLICATION,
            EXPECTED_GATEWAY,
            EXPECTED_WALLET,
        )
        assert (attributes["_timeout"], attributes["_max_retries"], attributes["_concurrency"]) == (7.5, 1, 4)

    def test_from_env_argument_overrides_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAYSTAR_TIMEOUT", "7")
        monkeypatch.setenv("PAYSTAR_APPLICATION_ID", "incomplete")
        attributes = vars(Paystar.from_env(timeout=3, application=EXPECTED_APPLICATION))

        assert attributes["_timeout"] == 3
        assert attributes["_credentials"].application == EXPECTED_APPLICATION

    @pytest.mark.parametrize(
        ("name", "value", "error_text"),
        [
            ("PAYSTAR_TIMEOUT", "soon", "PAYSTAR_TIMEOUT must be a number of seconds, got text of 4 characters"),
            ("PAYSTAR_TIMEOUT", "0", "timeout must be .*above 0"),
            ("PAYSTAR_TIMEOUT", "nan", "timeout must be .*above 0"),
            ("PAYSTAR_MAX_RETRIES", "1.5", "PAYSTAR_MAX_RETRIES must be a whole number"),
            ("PAYSTAR_CONCURRENCY", "0", "concurrency must be .*1 or more"),
            ("PAYSTAR_BASE_URL", "http://core.paystar.ir", "unencrypted"),
            ("PAYSTAR_ENGINE", "curl", "no engine is named 'curl'"),
            ("PAYSTAR_WALLET_SIGN_KEY", " key", "PAYSTAR_WALLET_SIGN_KEY: expected a text, got a text with a blank"),
            ("PAYSTAR_GATEWAY_ID", "id\n", "PAYSTAR_GATEWAY_ID: expected a text, got a text with a blank"),
            ("PAYSTAR_APPLICATION_ID", "7\n7", "PAYSTAR_APPLICATION_ID: expected a line of text"),
        ],
    )
    def test_from_env_invalid_variable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, error_text: str
    ) -> None:
        for variable in ("APPLICATION_ID", "ACCESS_PASSWORD", "WALLET_HASHID", "WALLET_PASSWORD", "WALLET_SIGN_KEY"):
            monkeypatch.setenv(f"PAYSTAR_{variable}", "set")
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=error_text):
            Paystar.from_env()


@pytest.mark.parametrize(
    "wrong",
    [
        {"PAYSTAR_API_KEY": "canary\nwith a break"},
        {"PAYSTAR_API_KEY_FILE": "/nowhere"},
        {"PAYSTAR_APPLICATION_ID": ""},
        {"PAYSTAR_REFRESH_TOKEN_FILE": "/nowhere", "PAYSTAR_REFRESH_TOKEN": "canary-refresh"},
        {"PAYSTAR_TIMEOUT": "canary"},
        {"PAYSTAR_GATEWAY_ID": "canary ", "PAYSTAR_SIGN_KEY": "canary"},
        {"PAYSTAR_GATEWAY_ID": "x", "PAYSTAR_GATEWAY_DIRECT": "canary"},
        {"PAYSTAR_WALLET_HASHID": "x", "PAYSTAR_WALLET_PASSWORD": "canary"},
    ],
)
def test_from_env_traceback_hides_environment(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]) -> None:
    base = {"PAYSTAR_APPLICATION_ID": "77", "PAYSTAR_ACCESS_PASSWORD": "canary-password", "DATABASE_URL": "canary-url"}
    for name, value in (base | wrong).items():
        monkeypatch.setenv(name, value)
    with pytest.raises((ConfigurationError, InvalidValue)) as caught:
        Paystar.from_env()

    error: PaystarError = caught.value
    rendered = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in rendered.stack if "paystar_async" in frame.filename]
    assert frames
    assert "canary" not in str(error) + "".join(str(frame.locals) for frame in frames)


@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("PAYSTAR_API_KEY", read_application),
        ("PAYSTAR_REFRESH_TOKEN", read_application),
        ("PAYSTAR_SIGN_KEY", read_gateway),
        ("PAYSTAR_WALLET_REFRESH_TOKEN", read_wallet),
        ("PAYSTAR_INQUIRY_KEY", read_wallet),
    ],
)
def test_account_key_without_required_variables_is_refused(variable: str, read: Any) -> None:
    with pytest.raises(ConfigurationError, match="not set"):
        read({variable: "value"})
