"""The sources of settings, and the errors for wrong values."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from paystar_async.client import Paystar
from paystar_async.config import (
    application_from,
    checked_base_url,
    gateway_from,
    number,
    setting,
    switch,
    wallet_from,
)
from paystar_async.credentials import Application, Gateway, Wallet
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from paystar_async.values.secret import Secret

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

THE_APPLICATION = Application(id="77", access_password="password", api_key="key", refresh_token="refresh")
THE_GATEWAY = Gateway(id="gateway", sign_key="sign", direct=True)
THE_WALLET = Wallet(
    hashid="w123",
    password="wallet-password",
    sign_key="wallet-sign",
    api_key="wallet-key",
    refresh_token="wallet-refresh",
    inquiry_key="inquiry",
    refresh_inquiry_key="inquiry-refresh",
)


def in_files(values: dict[str, str], folder: Path) -> dict[str, str]:
    for name, text in values.items():
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return {f"{name}_FILE": str(folder / name) for name in values}


def accounts(values: dict[str, str]) -> tuple[object, ...]:
    return application_from(values), gateway_from(values), wallet_from(values)


def test_every_account_comes_from_its_variables() -> None:
    assert accounts(ALL) == (THE_APPLICATION, THE_GATEWAY, THE_WALLET)


def test_every_variable_can_be_a_file(tmp_path: Path) -> None:
    assert accounts(in_files(ALL, tmp_path)) == (THE_APPLICATION, THE_GATEWAY, THE_WALLET)


def test_an_empty_environment_names_no_account() -> None:
    assert accounts({}) == (None, None, None)
    assert accounts(dict.fromkeys(ALL, "")) == (None, None, None)


def test_what_is_optional_may_be_missing() -> None:
    least = {
        "PAYSTAR_APPLICATION_ID": "77",
        "PAYSTAR_ACCESS_PASSWORD": "p",
        "PAYSTAR_GATEWAY_ID": "g",
        "PAYSTAR_WALLET_HASHID": "w",
        "PAYSTAR_WALLET_PASSWORD": "p",
        "PAYSTAR_WALLET_SIGN_KEY": "s",
    }
    assert accounts(least) == (
        Application(id="77", access_password="p"),
        Gateway(id="g"),
        Wallet(hashid="w", password="p", sign_key="s"),
    )


@pytest.mark.parametrize(
    ("missing", "read"),
    [
        ("PAYSTAR_APPLICATION_ID", application_from),
        ("PAYSTAR_ACCESS_PASSWORD", application_from),
        ("PAYSTAR_WALLET_HASHID", wallet_from),
        ("PAYSTAR_WALLET_PASSWORD", wallet_from),
        ("PAYSTAR_WALLET_SIGN_KEY", wallet_from),
    ],
)
def test_half_an_account_names_the_other_half(missing: str, read: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({name: value for name, value in ALL.items() if name != missing})

    assert str(caught.value) == f"not set: {missing} – an account needs all of its variables"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYSTAR_GATEWAY_ID", "from-outside")
    gateway = gateway_from()
    assert gateway is not None
    assert gateway.id == Secret("from-outside")


class TestFiles:
    """``NAME_FILE`` names a file that holds the value."""

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
    def test_what_it_holds_without_its_last_line_break(self, tmp_path: Path, content: bytes, value: str | None) -> None:
        path = tmp_path / "secret"
        path.write_bytes(content)

        assert setting("NAME", {"NAME_FILE": str(path)}) == value

    def test_both_are_one_too_many(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("canary-in-file")
        with pytest.raises(ConfigurationError, match="NAME and NAME_FILE are both set") as caught:
            setting("NAME", {"NAME": "canary", "NAME_FILE": str(path)})

        assert "canary" not in str(caught.value)
        assert setting("NAME", {"NAME": "", "NAME_FILE": str(path)}) == "canary-in-file"
        assert setting("NAME", {"NAME": "value", "NAME_FILE": ""}) == "value"
        assert setting("NAME", {"NAME_FILE": ""}) is None

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("missing", "FileNotFoundError"), ("", "IsADirectoryError"), ("latin", "UnicodeDecodeError")],
    )
    def test_one_that_cannot_be_read_is_named(self, tmp_path: Path, name: str, reason: str) -> None:
        (tmp_path / "latin").write_bytes(b"canary \xff\xfe")
        path = tmp_path / name
        with pytest.raises(ConfigurationError) as caught:
            setting("NAME", {"NAME_FILE": str(path)})

        assert str(caught.value) == f"NAME_FILE cannot be read: {reason} – check the path {path}"
        assert caught.value.__context__ is None

    def test_a_path_that_cannot_be_one_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read: ValueError"):
            setting("NAME", {"NAME_FILE": "a\x00b"})


class TestNumbersAndSwitches:
    @pytest.mark.parametrize(("text", "value"), [("5", 5), (" 7 ", 7), ("-1", -1)])
    def test_a_number(self, text: str, value: int) -> None:
        assert number("N", int, {"N": text}) == value
        assert number("N", float, {"N": f"{text.strip()}.5"}) in (value + 0.5, value - 0.5)

    @pytest.mark.parametrize("text", ["five", "5s", "1.5", "0x10", "5 5", "-"])
    def test_what_is_no_number_is_named(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="PAYSTAR_CONCURRENCY must be a number") as caught:
            number("PAYSTAR_CONCURRENCY", int, {"PAYSTAR_CONCURRENCY": text})
        assert caught.value.__context__ is None

    def test_number_unset_or_empty_is_none(self) -> None:
        assert number("N", int, {}) is None
        assert number("N", int, {"N": ""}) is None

    @pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
    def test_on(self, text: str) -> None:
        assert switch("S", {"S": text}) is True

    @pytest.mark.parametrize("text", ["0", "false", "No", "off", "", None])
    def test_off(self, text: str | None) -> None:
        assert switch("S", {"S": text} if text is not None else {}) is False

    @pytest.mark.parametrize("text", ["2", "direct", "ja", "-"])
    def test_neither(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="S must be on or off"):
            switch("S", {"S": text})


class TestTheBaseUrl:
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
    def test_one_that_is_taken(self, text: str, url: str) -> None:
        assert checked_base_url(text) == url

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
    def test_one_that_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="base_url must be an absolute URL") as caught:
            checked_base_url(text)

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
    def test_keys_do_not_travel_in_the_open(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match="unencrypted"):
            checked_base_url(text)


class TestFromEnv:
    """The client that the environment describes."""

    @pytest.fixture(autouse=True)
    def _nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import os

        for name in [name for name in os.environ if name.startswith("PAYSTAR_")]:
            monkeypatch.delenv(name)

    def test_every_setting_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        others = {
            "PAYSTAR_BASE_URL": "http://localhost:1/api/",
            "PAYSTAR_TIMEOUT": "7.5",
            "PAYSTAR_MAX_RETRIES": "1",
            "PAYSTAR_CONCURRENCY": "4",
            "PAYSTAR_ENGINE": "httpx",
        }
        for name, value in (ALL | others).items():
            monkeypatch.setenv(name, value)
        held = vars(Paystar.from_env())

        made = held["_credentials"]
        assert (made.application, made.gateway, made.wallet) == (THE_APPLICATION, THE_GATEWAY, THE_WALLET)
        assert (held["_timeout"], held["_max_retries"], held["_concurrency"]) == (7.5, 1, 4)

    def test_an_argument_goes_before_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAYSTAR_TIMEOUT", "7")
        monkeypatch.setenv("PAYSTAR_APPLICATION_ID", "half an account")
        held = vars(Paystar.from_env(timeout=3, application=THE_APPLICATION))

        assert held["_timeout"] == 3
        assert held["_credentials"].application == THE_APPLICATION

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("PAYSTAR_TIMEOUT", "soon", "PAYSTAR_TIMEOUT must be a number"),
            ("PAYSTAR_TIMEOUT", "0", "timeout must be .*above 0"),
            ("PAYSTAR_TIMEOUT", "nan", "timeout must be .*above 0"),
            ("PAYSTAR_MAX_RETRIES", "1.5", "PAYSTAR_MAX_RETRIES must be a number"),
            ("PAYSTAR_CONCURRENCY", "0", "concurrency must be .*above 0"),
            ("PAYSTAR_BASE_URL", "http://core.paystar.ir", "unencrypted"),
            ("PAYSTAR_ENGINE", "curl", "no engine is named 'curl'"),
        ],
    )
    def test_a_wrong_one_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=said):
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
def test_no_traceback_shows_the_environment(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]) -> None:
    whole = {"PAYSTAR_APPLICATION_ID": "77", "PAYSTAR_ACCESS_PASSWORD": "canary-password", "DATABASE_URL": "canary-url"}
    for name, value in (whole | wrong).items():
        monkeypatch.setenv(name, value)
    with pytest.raises((ConfigurationError, InvalidValue)) as caught:
        Paystar.from_env()

    error: PaystarError = caught.value
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in told.stack if "paystar_async" in frame.filename]
    assert frames
    assert "canary" not in str(error) + "".join(str(frame.locals) for frame in frames)


@pytest.mark.parametrize(
    ("alone", "read"),
    [
        ("PAYSTAR_API_KEY", application_from),
        ("PAYSTAR_REFRESH_TOKEN", application_from),
        ("PAYSTAR_SIGN_KEY", gateway_from),
        ("PAYSTAR_WALLET_REFRESH_TOKEN", wallet_from),
        ("PAYSTAR_INQUIRY_KEY", wallet_from),
    ],
)
def test_a_key_without_its_account_is_half_an_account_too(alone: str, read: Any) -> None:
    with pytest.raises(ConfigurationError, match="not set"):
        read({alone: "value"})
