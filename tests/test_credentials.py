"""Credentials: validation of accounts, identification and keys of each realm, signatures."""

import pickle
from typing import Any, cast

import attrs
import pytest

from paystar_async.credentials import (
    Application,
    Credentials,
    Gateway,
    Realm,
    Wallet,
    check_header_value,
    fits_header,
    signature,
)
from paystar_async.errors import ConfigurationError, InvalidValue
from paystar_async.values.secret import Secret, to_secret
from tests.transport.endpoint_requests import CREDENTIALS

KEY = Secret("test-sign-key")
REQUIRED_FIELDS: list[tuple[type, dict[str, Any]]] = [
    (Application, {"id": "77", "access_password": "p"}),
    (Gateway, {"id": "g"}),
    (Wallet, {"hashid": "w", "password": "p", "sign_key": "s"}),
]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            (10000, "ORD-45245", "https://merchant.example/pay/callback"),
            "c45343e42a41fe562e54eb644c22a2dc2756fc74ded2f5061bf0bf32bfba045e"
            "584eeb0cb7ef07b4d779739567aeb8d42d1c0cbd81d5e9da6de7d320c415fe8f",
        ),
        (
            (10000, "ref-1", "502229******6708", "123456"),
            "83770c4c0eb2c55e6da66f9e27d871b1eb7111b851c74d3fe881b9a43529df4f"
            "137ae27e9d2fb8fb36614084dfd44b16ae508cc02041877a54ced0ab4082266b",
        ),
        (
            ("w123", "p@ss"),
            "8d82df7760e481ff577ce8795b8b328f0113441c474a87d3f399249be7a1eb6a"
            "733cb1eceec49e499557f68ed3ea7f3c97c0529ee998f054e3f07a9449bf0eb8",
        ),
    ],
    ids=["create", "verify", "wallet"],
)
def test_signature_matches_published_examples(parts: tuple[object, ...], expected: str) -> None:
    assert signature(KEY, parts) == expected


def test_signature_missing_part_is_empty_text() -> None:
    assert signature(KEY, (10000, "ref-1", None, None)) == signature(KEY, (10000, "ref-1", "", ""))
    assert signature(KEY, (10000, "ref-1", None, None)) != signature(KEY, (10000, "ref-1"))


def test_signature_key_is_not_decoded() -> None:
    assert signature(Secret("00"), ("a",)) != signature(Secret("\x00"), ("a",))
    assert signature(Secret("کلید"), ("پیام",)) == signature(Secret("کلید"), ("پیام",))


SECRETS = [
    *((Application, name) for name in ("access_password", "api_key", "refresh_token")),
    *((Gateway, name) for name in ("id", "sign_key")),
    *((Wallet, name) for name in ("password", "sign_key", "api_key", "refresh_token", "inquiry_key")),
    (Wallet, "refresh_inquiry_key"),
]
HEADERS = [
    (kind, name) for kind, name in SECRETS if name in {"api_key", "inquiry_key"} or (kind, name) == (Gateway, "id")
]


def make_account(kind: type, **values: object) -> Any:
    return kind(**(dict(REQUIRED_FIELDS)[kind] | values))


@pytest.mark.parametrize(("kind", "name"), SECRETS)
def test_account_secret_is_hidden_and_not_picklable(kind: type, name: str) -> None:
    for secret in ("canary", Secret("canary")):
        account = make_account(kind, **{name: secret})
        assert getattr(account, name) == Secret("canary")
        assert "canary" not in repr(account) + str(account) + str(attrs.asdict(account)) + f"{account}"
    with pytest.raises(TypeError):
        pickle.dumps(make_account(kind, **{name: "canary"}))


@pytest.mark.parametrize(("kind", "name"), SECRETS)
@pytest.mark.parametrize("value", ["", 5, b"bytes", ["x"], True, "\udcff"])
def test_account_secret_other_than_text_is_refused(kind: type, name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        make_account(kind, **{name: value})

    assert caught.value.field == name


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, values in REQUIRED_FIELDS for name in values])
def test_account_required_field_none_is_refused(kind: type, name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make_account(kind, **{name: None})

    assert caught.value.field == name
    assert "NoneType" in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), HEADERS)
@pytest.mark.parametrize("value", ["Zz\nb", "Zz\r\nX-Evil: 1", "Zz ", " Zz", "Zz\t", "کلید", "Zz\x00", "Zz\x7f"])
def test_account_key_invalid_in_header_is_refused(kind: type, name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make_account(kind, **{name: value})

    assert caught.value.field == name
    assert "Zz" not in str(caught.value)
    assert "کلید" not in str(caught.value)


INVALID_ENDS = [
    *("Zz ", "Zz\t", "Zz\n", "Zz\r\n", " Zz", "Zz\u200f", "\u200eZz", "\ufeffZz", "Zz\u200b", "Zz\u00a0", "\u061cZz"),
    *("Zz\u3164", "Zz\ufe0f", "Z\nz", "Z\rz", "Z\u2028z", "Z\x85z", " ", "\u200f"),
]


@pytest.mark.parametrize(("kind", "name"), [*SECRETS, (Application, "id"), (Wallet, "hashid")])
@pytest.mark.parametrize("value", INVALID_ENDS)
def test_secret_with_spoiled_ends_or_line_break_is_refused(kind: type, name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        make_account(kind, **{name: value})

    assert caught.value.field == name
    assert "Zz" not in str(caught.value)


def test_password_with_inner_blanks_is_kept() -> None:
    password = "a  tab\t\x00 ک\u200cلید 😀"

    assert make_account(Application, access_password=password).access_password.reveal() == password


@pytest.mark.parametrize(("kind", "name"), [(Application, "id"), (Wallet, "hashid")])
@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\x00", None, True, 1.5, b"x", ["x"]])
def test_account_id_other_than_line_is_refused(kind: type, name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        make_account(kind, **{name: value})

    assert caught.value.field == name


def test_account_id_int_becomes_text() -> None:
    assert make_account(Application, id=77).id == "77"


def test_accounts_are_immutable_values() -> None:
    for kind, values in REQUIRED_FIELDS:
        account: Any = kind(**values)
        assert account == kind(**values)
        assert hash(account) == hash(kind(**values))
        assert account != attrs.evolve(account, **{next(iter(values)): "other"})
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            account.id = "x"


@pytest.mark.parametrize(
    ("realm", "error_texts"),
    [
        (Realm.APPLICATION, ["application=Application(", "PAYSTAR_APPLICATION_ID", "PAYSTAR_ACCESS_PASSWORD"]),
        (Realm.GATEWAY, ["gateway=Gateway(", "PAYSTAR_GATEWAY_ID", "PAYSTAR_SIGN_KEY"]),
        (Realm.WALLET, ["wallet=Wallet(", "PAYSTAR_WALLET_HASHID", "PAYSTAR_WALLET_SIGN_KEY"]),
        (Realm.INQUIRY, ["wallet=Wallet(", "PAYSTAR_WALLET_PASSWORD", "PAYSTAR_REFRESH_INQUIRY_KEY"]),
    ],
)
def test_missing_credentials_name_argument_and_variables(realm: Realm, error_texts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Credentials().account_id(realm)

    assert not [text for text in error_texts if text not in str(caught.value)]
    assert str(realm) in str(caught.value)


def test_credentials_of_unconfigured_realm_are_empty() -> None:
    for realm in Realm:
        assert Credentials().identification_fields(realm, "POST") == {}
        assert Credentials().sign_key(realm) is None
        assert Credentials().initial_token(realm) == (None, None)
    assert Credentials().secrets() == []
    assert Credentials().path_prefix == "/pardakht"


def test_credentials_identify_each_realm() -> None:
    password, wallet_password = Secret("p&ss=1"), Secret("p@ss")
    fields = {
        (realm, method): CREDENTIALS.identification_fields(realm, method)
        for realm in Realm
        for method in ("GET", "POST")
    }

    assert fields == {
        (Realm.APPLICATION, "GET"): {"application_id": "77", "access_password": password},
        (Realm.APPLICATION, "POST"): {"application_id": "77", "access_password": password},
        (Realm.WALLET, "GET"): {"wallet_hashid": "w123"},
        (Realm.WALLET, "POST"): {"wallet_hashid": "w123", "password": wallet_password},
        (Realm.INQUIRY, "GET"): {"wallet_hashid": "w123"},
        (Realm.INQUIRY, "POST"): {"wallet_hashid": "w123", "password": wallet_password},
        (Realm.GATEWAY, "GET"): {},
        (Realm.GATEWAY, "POST"): {},
    }


def test_credentials_have_id_and_keys_of_each_realm() -> None:
    wallet = make_account(
        Wallet, api_key="a", refresh_token="ra", inquiry_key="i", refresh_inquiry_key="ri", hashid="w", sign_key="ws"
    )
    accounts = Credentials(
        application=make_account(Application, api_key="k", refresh_token="r"),
        gateway=make_account(Gateway, sign_key="gs", direct=True),
        wallet=wallet,
    )

    assert {realm: accounts.account_id(realm) for realm in Realm} == {
        Realm.APPLICATION: "77",
        Realm.GATEWAY: "gateway",  # the gateway_id is a secret, and an account_id is shown
        Realm.WALLET: "w",
        Realm.INQUIRY: "w",
    }
    assert {realm: accounts.initial_token(realm) for realm in Realm} == {
        Realm.APPLICATION: (Secret("k"), Secret("r")),
        Realm.GATEWAY: (Secret("g"), None),
        Realm.WALLET: (Secret("a"), Secret("ra")),
        Realm.INQUIRY: (Secret("i"), Secret("ri")),
    }
    assert {realm: accounts.sign_key(realm) for realm in Realm} == {
        Realm.APPLICATION: None,
        Realm.GATEWAY: Secret("gs"),
        Realm.WALLET: Secret("ws"),
        Realm.INQUIRY: Secret("ws"),
    }
    assert accounts.path_prefix == "/direct"
    assert [secret.reveal() for secret in accounts.secrets()] == [*"pkrg", "gs", "p", "ws", "a", "ra", "i", "ri"]


def test_check_header_value_refuses_invalid_key() -> None:
    assert check_header_value("token", Secret("ok")) == Secret("ok")
    assert fits_header("a b~!")
    for value in ("", "a\n", cast("str", 5)):
        with pytest.raises(InvalidValue, match="token: expected"):
            check_header_value("token", to_secret(value))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_account_secret_with_final_line_break_is_refused(end: str) -> None:
    with pytest.raises(InvalidValue, match="line break"):
        Gateway(id="g", sign_key=f"test-sign-key{end}")


@pytest.mark.parametrize("direct", ["no", "false", 0, None])
def test_gateway_direct_other_than_bool_is_refused(direct: Any) -> None:
    with pytest.raises(InvalidValue, match="direct"):
        Gateway(id="g", direct=direct)
