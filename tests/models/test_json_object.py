"""JSON objects of further request fields: copied, checked, and shown by name only."""

import copy
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async.errors import InvalidValue
from paystar_async.models.base import fields_of
from paystar_async.models.gateway import CreatePayment
from paystar_async.models.json_object import MAX_DEPTH, JSONObject
from paystar_async.values.secret import Secret


class ProductKind(str, Enum):  # noqa: UP042 - a str Enum, whose str() is not its value
    LICENSE = "license"


def create(extra: Any) -> CreatePayment:
    return CreatePayment(amount=5_000, order_id="o-1", callback="https://m.example/", extra=extra)


def error_of(extra: Any) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        create(extra)
    return caught.value


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().map("x{}".format), values, max_size=4))
def test_extra_is_kept_unchanged(extra: dict[str, object]) -> None:
    value = create(extra)

    assert value.extra == extra
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    assert hash(create(dict(reversed(extra.items())))) == hash(value)


def test_extra_converts_mappings_and_tuples_to_plain_json() -> None:
    extra = create(MappingProxyType({"products": ({"kind": ProductKind.LICENSE},), "paid": True})).extra

    assert isinstance(extra, JSONObject)
    assert extra.to_dict() == {"products": [{"kind": "license"}], "paid": True}
    assert type(extra["products"][0]["kind"]) is str  # type: ignore[index]  # pyright: ignore


def test_extra_is_copied_from_mutable_values() -> None:
    products = [{"id": 1}]
    fields: dict[str, object] = {"products": products}
    value = create(fields)

    products.append({"id": 2})
    products[0]["id"] = 3
    fields["more"] = 1
    value.extra["products"].append(4)  # type: ignore[attr-defined]  # pyright: ignore

    assert value.extra == {"products": [{"id": 1}]}
    with pytest.raises(TypeError):
        value.extra["more"] = 1  # type: ignore[index]  # pyright: ignore


@pytest.mark.parametrize(
    "invalid",
    [
        float("nan"),
        float("-inf"),
        {1, 2},
        b"canary",
        datetime(2026, 1, 1, tzinfo=UTC),
        Decimal("1.5"),
        Secret("canary"),
        object(),
        2**63,
        -(2**63) - 1,
        "\ud800",
        iter([1]),
    ],
)
def test_extra_value_invalid_in_json_is_rejected_by_path(invalid: object) -> None:
    assert error_of({"a": invalid}).field == "extra.a"
    error = error_of({"products": [{}, {"price": invalid, "name": "canary"}]})

    assert error.field == "extra.products[1].price"
    assert "canary" not in str(error)


@pytest.mark.parametrize("name", [1, None, b"a", ("a",), "\udfff"])
def test_extra_name_that_is_not_str_is_rejected_by_path(name: object) -> None:
    assert error_of({"products": [{name: 1}]}).field == "extra.products[0]"


@pytest.mark.parametrize("invalid", ["canary", [("a", 1)], 5, b"{}"])
def test_extra_that_is_not_mapping_is_rejected(invalid: object) -> None:
    error = error_of(invalid)

    assert error.field == "extra"
    assert "canary" not in str(error)


def test_extra_nested_too_deep_is_rejected() -> None:
    cyclic: list[object] = []
    cyclic.append(cyclic)

    assert create(nested(MAX_DEPTH)).extra == nested(MAX_DEPTH)
    assert "levels" in error_of(nested(MAX_DEPTH + 1)).got
    assert error_of({"a": cyclic}).field.startswith("extra")


@pytest.mark.parametrize("name", [field.name for field in fields_of(CreatePayment)])
def test_extra_with_name_of_request_field_is_rejected(name: str) -> None:
    for variant in (name, name.upper(), f" {name}"):
        assert f"{name}=" in error_of({"products": [], variant: 1}).hint
    assert error_of({name: None}).field == f"extra.{name}"


@pytest.mark.parametrize(
    "name", ["sign", "sign_key", "gateway_id", "access_password", "password", "api_key", "Sign", ""]
)
def test_extra_with_name_of_credential_is_rejected(name: str) -> None:
    assert error_of({name: "canary"}).field.startswith("extra.")


def test_extra_with_nested_reserved_names_is_accepted() -> None:
    extra = {"products": [{"amount": 1, "name": "n", "sign": "s"}], "wallet": "w", "first_name": "f", "last_name": "l"}

    assert create(extra).extra == extra


def test_extra_repr_shows_top_level_names_only() -> None:
    value = create({"products": [{"canary": "canary"}], "not a name": 1})

    assert "canary" not in repr(value)
    assert "canary" not in repr(value.extra)
    assert "canary" not in str(value.extra)
    assert repr(value).endswith("extra=<products, …>)")
    assert repr(create({})).endswith("extra={})")
