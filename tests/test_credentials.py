"""Who we are in each realm, what we tell it, and how we sign."""

import pickle
from typing import Any

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
from paystar_async.values.secret import Secret
from tests.transport.endpoint_requests import CREDENTIALS

KEY = Secret("test-sign-key")
LEAST: list[tuple[type, dict[str, Any]]] = [
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
def test_the_published_signatures(parts: tuple[object, ...], expected: str) -> None:
    assert signature(KEY, parts) == expected


def test_what_is_missing_signs_as_an_empty_text() -> None:
    assert signature(KEY, (10000, "ref-1", None, None)) == signature(KEY, (10000, "ref-1", "", ""))
    assert signature(KEY, (10000, "ref-1", None, None)) != signature(KEY, (10000, "ref-1"))


def test_a_key_that_looks_like_hex_is_not_decoded() -> None:
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


def made(kind: type, **values: object) -> Any:
    return kind(**(dict(LEAST)[kind] | values))


@pytest.mark.parametrize(("kind", "name"), SECRETS)
def test_a_secret_is_one_however_it_is_given(kind: type, name: str) -> None:
    for given in ("canary", Secret("canary")):
        account = made(kind, **{name: given})
        assert getattr(account, name) == Secret("canary")
        assert "canary" not in repr(account) + str(account) + str(attrs.asdict(account)) + f"{account}"
    with pytest.raises(TypeError):
        pickle.dumps(made(kind, **{name: "canary"}))


@pytest.mark.parametrize(("kind", "name"), SECRETS)
@pytest.mark.parametrize("value", ["", 5, b"bytes", ["x"], True, "\udcff"])
def test_a_secret_is_a_text(kind: type, name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        made(kind, **{name: value})

    assert caught.value.field == name


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, values in LEAST for name in values])
def test_what_an_account_cannot_do_without_is_not_none(kind: type, name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        made(kind, **{name: None})

    assert caught.value.field == name
    assert "NoneType" in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), HEADERS)
@pytest.mark.parametrize("value", ["Zz\nb", "Zz\r\nX-Evil: 1", "Zz ", " Zz", "Zz\t", "کلید", "Zz\x00", "Zz\x7f"])
def test_a_key_fits_into_a_header(kind: type, name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        made(kind, **{name: value})

    assert caught.value.field == name
    assert "Zz" not in str(caught.value)
    assert "کلید" not in str(caught.value)


SPOILED = [
    *("Zz ", "Zz\t", "Zz\n", "Zz\r\n", " Zz", "Zz\u200f", "\u200eZz", "\ufeffZz", "Zz\u200b", "Zz\u00a0", "\u061cZz"),
    *("Zz\u3164", "Zz\ufe0f", "Z\nz", "Z\rz", "Z\u2028z", "Z\x85z", " ", "\u200f"),
]


@pytest.mark.parametrize(("kind", "name"), [*SECRETS, (Application, "id"), (Wallet, "hashid")])
@pytest.mark.parametrize("value", SPOILED)
def test_secret_with_spoiled_ends_or_line_break_is_refused(kind: type, name: str, value: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        made(kind, **{name: value})

    assert caught.value.field == name
    assert "Zz" not in str(caught.value)


def test_password_with_inner_blanks_is_kept() -> None:
    password = "a  tab\t\x00 ک\u200cلید 😀"

    assert made(Application, access_password=password).access_password.reveal() == password


@pytest.mark.parametrize(("kind", "name"), [(Application, "id"), (Wallet, "hashid")])
@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\x00", None, True, 1.5, b"x", ["x"]])
def test_an_id_is_a_line_of_text(kind: type, name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        made(kind, **{name: value})

    assert caught.value.field == name


def test_a_number_stands_for_an_id() -> None:
    assert made(Application, id=77).id == "77"


def test_accounts_are_values() -> None:
    for kind, values in LEAST:
        one: Any = kind(**values)
        assert one == kind(**values)
        assert hash(one) == hash(kind(**values))
        assert one != attrs.evolve(one, **{next(iter(values)): "other"})
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            one.id = "x"


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        (Realm.APPLICATION, ["application=Application(", "PAYSTAR_APPLICATION_ID", "PAYSTAR_ACCESS_PASSWORD"]),
        (Realm.GATEWAY, ["gateway=Gateway(", "PAYSTAR_GATEWAY_ID", "PAYSTAR_SIGN_KEY"]),
        (Realm.WALLET, ["wallet=Wallet(", "PAYSTAR_WALLET_HASHID", "PAYSTAR_WALLET_SIGN_KEY"]),
        (Realm.INQUIRY, ["wallet=Wallet(", "PAYSTAR_WALLET_PASSWORD", "PAYSTAR_REFRESH_INQUIRY_KEY"]),
    ],
)
def test_missing_credentials_name_argument_and_variables(realm: Realm, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Credentials().account_id(realm)

    assert not [word for word in words if word not in str(caught.value)]
    assert str(realm) in str(caught.value)


def test_a_realm_that_is_missing_has_nothing_to_tell() -> None:
    for realm in Realm:
        assert Credentials().identification_fields(realm, "POST") == {}
        assert Credentials().sign_key(realm) is None
        assert Credentials().initial_token(realm) == (None, None)
    assert Credentials().secrets() == []
    assert Credentials().path_prefix == "/pardakht"


def test_credentials_identify_each_realm() -> None:
    password, wallet_password = Secret("p&ss=1"), Secret("p@ss")
    told = {
        (realm, method): CREDENTIALS.identification_fields(realm, method)
        for realm in Realm
        for method in ("GET", "POST")
    }

    assert told == {
        (Realm.APPLICATION, "GET"): {"application_id": "77", "access_password": password},
        (Realm.APPLICATION, "POST"): {"application_id": "77", "access_password": password},
        (Realm.WALLET, "GET"): {"wallet_hashid": "w123"},
        (Realm.WALLET, "POST"): {"wallet_hashid": "w123", "password": wallet_password},
        (Realm.INQUIRY, "GET"): {"wallet_hashid": "w123"},
        (Realm.INQUIRY, "POST"): {"wallet_hashid": "w123", "password": wallet_password},
        (Realm.GATEWAY, "GET"): {},
        (Realm.GATEWAY, "POST"): {},
    }


def test_each_realm_has_its_id_and_keys() -> None:
    wallet = made(
        Wallet, api_key="a", refresh_token="ra", inquiry_key="i", refresh_inquiry_key="ri", hashid="w", sign_key="ws"
    )
    accounts = Credentials(
        application=made(Application, api_key="k", refresh_token="r"),
        gateway=made(Gateway, sign_key="gs", direct=True),
        wallet=wallet,
    )

    assert {realm: accounts.account_id(realm) for realm in Realm} == {
        Realm.APPLICATION: "77",
        Realm.GATEWAY: "gateway",  # its real id is a secret, and an id is shown
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
    assert [one.reveal() for one in accounts.secrets()] == [*"pkrg", "gs", "p", "ws", "a", "ra", "i", "ri"]


def test_a_key_from_elsewhere_is_checked_the_same_way() -> None:
    assert check_header_value("token", Secret("ok")) == Secret("ok")
    assert fits_header("a b~!")
    for value in ("", "a\n", 5):
        with pytest.raises(InvalidValue, match="token: expected"):
            check_header_value("token", Secret(value))  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_secret_is_not_taken_with_the_line_break_of_its_file(end: str) -> None:
    with pytest.raises(InvalidValue, match="line break"):
        Gateway(id="g", sign_key=f"test-sign-key{end}")


@pytest.mark.parametrize("direct", ["no", "false", 0, None])
def test_a_gateway_is_direct_or_not_and_nothing_in_between(direct: Any) -> None:
    with pytest.raises(InvalidValue, match="direct"):
        Gateway(id="g", direct=direct)
