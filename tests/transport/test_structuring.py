"""Structuring of responses to models: strict in deciding fields, with the path of each misfit."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.errors import InvalidResponse
from paystar_async.models.base import FieldInfo, fields_of, response_type
from paystar_async.models.gateway import Created, GatewayStatus, GatewayTransaction, Verified
from paystar_async.models.identity import Match
from paystar_async.models.inquiry import IbanInfo, Owner
from paystar_async.models.keys import NewApiKey, NewInquiryKey
from paystar_async.models.transfers import Balance, Settlement, Statement, Transaction, TransferStatus
from paystar_async.models.wallet import Accepted, CreatedSettlement, CreatedTransfer, WalletBalance
from paystar_async.transport.structuring import structure_response
from paystar_async.values.numbers import Money
from paystar_async.values.secret import Secret
from tests.transport.endpoint_requests import CALLS

SETTLEMENTS = list[Settlement]
DONE = {"status": "success"}


def structure_error(kind: Any, data: object) -> tuple[str, str]:
    with pytest.raises(InvalidResponse) as caught:
        structure_response(kind, data)
    reason = str(caught.value.args[0]).partition(": ")[2]
    return caught.value.path, reason


MISFITS: list[tuple[Any, object, str, str | None]] = [
    (Match, {"is_matched": "false"}, "$.data.is_matched", 'expected true or false, got the text "false"'),
    (Match, {"is_matched": "true"}, "$.data.is_matched", 'expected true or false, got the text "true"'),
    (Match, {"is_matched": 0}, "$.data.is_matched", "expected true or false, got the number 0"),
    (Match, {"is_matched": 1}, "$.data.is_matched", "expected true or false, got the number 1"),
    (Match, {"is_matched": []}, "$.data.is_matched", "expected true or false, got a list"),
    (Match, {"is_matched": None}, "$.data.is_matched", "required field missing"),
    (Match, {}, "$.data.is_matched", "required field missing"),
    (Match, {"Is_matched": True}, "$.data.is_matched", "required field missing"),
    (Match, None, "$.data", "expected an object, got null"),
    (Match, [], "$.data", "expected an object, got a list"),
    (Match, "nothing", "$.data", "expected an object, got a text of 7 characters"),
    (Match, [{"is_matched": True}], "$.data", "expected an object, got a list"),
    (Verified, {"price": 10000.9}, "$.data.price", "expected whole Rial, got the number 10000.9"),
    (Verified, {"price": True}, "$.data.price", "expected whole Rial, got true"),
    (Verified, {"price": "ten"}, "$.data.price", "expected whole Rial, got a text of 3 characters"),
    (Verified, {"price": "1,0"}, "$.data.price", "expected whole Rial, got a text of 3 characters"),
    (Verified, {"price": "10000.5"}, "$.data.price", "expected whole Rial, got a text of 7 characters"),
    (Verified, {"price": " "}, "$.data.price", "required field missing"),
    (Verified, {"price": math.nan}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": 1, "ref_num": 2**64}, "$.data.ref_num", "expected a text, got a number"),
    (Verified, {"price": 1, "ref_num": "r\ud800"}, "$.data.ref_num", "expected a text, got half a surrogate pair"),
    (GatewayTransaction, {"status": "INIT\udc00"}, "$.data.status", "expected a text, got half a surrogate pair"),
    (Verified, {"price": 2.0**53}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": 1e300}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": 2**63}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": {}}, "$.data.price", "expected whole Rial, got an object"),
    (Verified, {"price": 1, "ref_num": 1.5}, "$.data.ref_num", "expected a text, got the number 1.5"),
    (Verified, {"price": 1, "ref_num": True}, "$.data.ref_num", "expected a text, got true"),
    (Created, {"token": None, "ref_num": "r"}, "$.data.token", "required field missing"),
    (GatewayTransaction, {"status": 1.5}, "$.data.status", "expected a text, got the number 1.5"),
    (GatewayTransaction, {"status": ["INIT"]}, "$.data.status", "expected a text, got a list"),
    (GatewayTransaction, {"status": True}, "$.data.status", "expected a text, got true"),
    (SETTLEMENTS, "done", "$.data", "expected a list, got a text of 4 characters"),
    (SETTLEMENTS, False, "$.data", "expected a list, got false"),
    (SETTLEMENTS, {"x": 1}, "$.data[0].status", "required field missing"),
    (SETTLEMENTS, {"0": DONE, "2": {"status": 1.5}}, "$.data[2].status", "expected a text, got the number 1.5"),
    (SETTLEMENTS, {"data": [DONE, {}]}, "$.data[1].status", "required field missing"),
    (SETTLEMENTS, {"data": "x", "total": 1}, "$.data", "expected a list, got a text of 1 characters"),
    (SETTLEMENTS, {"hashid": "h", "data": []}, "$.data[0].status", "required field missing"),
    (SETTLEMENTS, [DONE, DONE, DONE, {"status": {}}], "$.data[3].status", "expected a text, got an object"),
    (SETTLEMENTS, [DONE, None], "$.data[1]", "expected an object, got null"),
    (SETTLEMENTS, [[DONE]], "$.data[0]", "expected an object, got a list"),
    (SETTLEMENTS, [DONE, {"status": "failed", "hashid": 1.5}], "$.data[1].hashid", None),
    (IbanInfo, "Ali", "$.data", "expected an object, got a text of 3 characters"),
    (Statement, {"transactions": "x"}, "$.data.transactions", "expected a list, got a text of 1 characters"),
    (Statement, {"transactions": [{"credit_amount": 0.5}]}, "$.data.transactions[0].credit_amount", None),
    (WalletBalance, {"total_amount": "1,000"}, "$.data.available_amount", "required field missing"),
    (NewApiKey, {"api_key": 5}, "$.data.api_key", "expected a key"),
    (NewApiKey, {"api_key": ""}, "$.data.api_key", "required field missing"),
    (NewApiKey, {"api_key": "a\nb"}, "$.data.api_key", "expected a key"),
    (NewApiKey, {"api_key": "key "}, "$.data.api_key", "expected a key"),
    (NewApiKey, {"api_key": "کلید"}, "$.data.api_key", "expected a key"),
    (NewInquiryKey, {"api_key": "k"}, "$.data.inquiry_key", "required field missing"),
]


@pytest.mark.parametrize(("kind", "data", "path", "reason"), MISFITS)
def test_structure_misfit_is_refused_with_path(kind: Any, data: object, path: str, reason: str | None) -> None:
    actual_path, actual_reason = structure_error(kind, data)

    assert actual_path == path
    assert reason is None or actual_reason == reason


VALID_DATA: list[tuple[Any, object, object]] = [
    (Match, {"is_matched": False}, Match(is_matched=False)),
    (Verified, {"price": 10000.0}, Verified(price=10000)),
    (Verified, {"price": "1,000"}, Verified(price=1000)),
    (Verified, {"price": "۱۰۰۰", "ref_num": 17}, Verified(price=1000, ref_num="17")),
    (Verified, {"price": 2**63 - 1, "ref_num": None}, Verified(price=2**63 - 1)),
    (Balance, {"balance": -5}, Balance(balance=-5)),
    (WalletBalance, {"total_amount": "12,345", "available_amount": 0}, None),
    (IbanInfo, {}, IbanInfo()),
    (IbanInfo, [], IbanInfo()),
    (IbanInfo, {"owners": None}, IbanInfo()),
    (IbanInfo, {"owners": {"first_name": "Ali"}}, IbanInfo(owners=(Owner(first_name="Ali"),))),
    (Statement, [], Statement()),
    (Statement, {"transactions": []}, Statement()),
    (
        Statement,
        {"transactions": [{"credit_amount": "5"}]},
        Statement(transactions=(Transaction(credit_amount=5),)),
    ),
    (Verified, {"price": "50,000.00", "card_number": {}}, Verified(price=50_000, extra={"card_number": {}})),
    (Verified, {"price": 5, "card_number": "c\ud800"}, Verified(price=5, extra={"card_number": "c\ud800"})),
    (Verified, {"price": 5, "card_number": 2**64}, Verified(price=5, extra={"card_number": 2**64})),
    (Verified, {"price": 5, "ref_num": "", "card_number": " \n"}, Verified(price=5)),
    (Balance, {"balance": 5, "available_balance": ""}, Balance(balance=5)),
    (IbanInfo, None, IbanInfo()),
    (IbanInfo, "", IbanInfo()),
    (IbanInfo, {"owners": "Ali"}, IbanInfo(extra={"owners": "Ali"})),
    (IbanInfo, {"owners": [{}, {"last_name": 1.5}]}, IbanInfo(owners=(Owner(), Owner(extra={"last_name": 1.5})))),
    (IbanInfo, {"owners": {"0": {}, "2": {}}}, IbanInfo(owners=(Owner(), Owner()))),
    (IbanInfo, {"owners": {"data": [{}]}}, IbanInfo(owners=(Owner(),))),
    (
        Statement,
        {"transactions": [{"additional": {"a": 1}}]},
        Statement(transactions=(Transaction(additional={"a": 1}),)),
    ),
    (
        Statement,
        {"transactions": {"additional": "x"}},
        Statement(transactions=(Transaction(extra={"additional": "x"}),)),
    ),
    (Statement, {"transactions": [{"credit_amount": ""}]}, Statement(transactions=(Transaction(),))),
    (SETTLEMENTS, "", []),
    (SETTLEMENTS, {}, []),
    (SETTLEMENTS, {"data": None}, []),
    (SETTLEMENTS, {"current_page": 1, "data": [], "total": 0}, []),
    (SETTLEMENTS, {"data": [DONE], "links": {}}, [Settlement(status=TransferStatus.SUCCESS)]),
    (SETTLEMENTS, {"data": {"1": DONE}}, [Settlement(status=TransferStatus.SUCCESS)]),
    (SETTLEMENTS, {"0": DONE, "2": DONE}, [Settlement(status=TransferStatus.SUCCESS)] * 2),
    (SETTLEMENTS, DONE | {"data": []}, [Settlement(status=TransferStatus.SUCCESS, extra={"data": []})]),
    (SETTLEMENTS, None, []),
    (SETTLEMENTS, [], []),
    (SETTLEMENTS, DONE, [Settlement(status=TransferStatus.SUCCESS)]),
    (SETTLEMENTS, [DONE], [Settlement(status=TransferStatus.SUCCESS)]),
    (Accepted, None, Accepted()),
    (Accepted, [], Accepted()),
    (Accepted, "queued", Accepted(extra={"data": "queued"})),
    (Accepted, {"id": 5}, Accepted(extra={"id": 5})),
    (Accepted, [1], Accepted(extra={"data": [1]})),
    (Accepted, {"created_settlements": 5}, Accepted(extra={"created_settlements": 5})),
    (Accepted, {"created_settlements": [5]}, Accepted(extra={"created_settlements": [5]})),
    (
        Accepted,
        {"created_settlements": [{"id": 7, "amount_with_wage": "1,200", "data": {"amount": 1000, "fee": 1}}]},
        Accepted(
            created_settlements=(
                CreatedSettlement(id="7", amount_with_wage=1200, data=CreatedTransfer(amount=1000, extra={"fee": 1})),
            )
        ),
    ),
    (
        Accepted,
        {"created_settlements": {"id": {}, "amount_with_wage": 0.5, "data": 3}},
        Accepted(created_settlements=(CreatedSettlement(extra={"id": {}, "amount_with_wage": 0.5, "data": 3}),)),
    ),
    (NewApiKey, {"api_key": "k"}, NewApiKey(api_key=Secret("k"))),
]


@pytest.mark.parametrize(("kind", "data", "value"), VALID_DATA)
def test_structure_valid_data_is_read(kind: Any, data: object, value: object) -> None:
    structured = structure_response(kind, data)

    assert value is None or structured == value


@pytest.mark.parametrize("name", ["token", "ref_num"])
@pytest.mark.parametrize("value", ["a\nb", "\x00", "x" * 600])
def test_structure_created_unsendable_text_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidResponse, match=rf"\$\.data\.{name}: expected a text"):
        structure_response(Created, {"token": "t", "ref_num": "r"} | {name: value})


def test_structure_unknown_fields_go_to_extra() -> None:
    structured = structure_response(Match, {"is_matched": True, "score": 5, "extra": {"a": 1}})

    assert structured == Match(is_matched=True, extra={"score": 5, "extra": {"a": 1}})


def test_structure_unknown_enum_value_is_kept() -> None:
    (settlement,) = structure_response(SETTLEMENTS, {"status": "reversed"})

    assert settlement.status == "reversed"
    assert isinstance(settlement.status, TransferStatus)
    assert settlement.status not in list(TransferStatus)
    assert structure_response(GatewayTransaction, {"status": "VERIFIED"}).status == GatewayStatus("VERIFIED")


@pytest.mark.parametrize("endpoint", CALLS, ids=lambda endpoint: endpoint.id)
def test_response_models_have_extra(endpoint: Any) -> None:
    kind: Any = response_type(endpoint.request)
    inner = kind if attrs.has(kind) else kind.__args__[0]
    assert "extra" in {attribute.name for attribute in attrs.fields(inner)}


MODELS: tuple[Any, ...] = (Settlement, Verified, IbanInfo, Created)
NAMES = sorted({"extra", "x"}.union(*(set(attrs.fields_dict(model)) for model in MODELS)))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("success")
RESPONSES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner))


@settings(max_examples=150)
@given(st.sampled_from([response_type(endpoint.request) for endpoint in CALLS]), RESPONSES)
def test_structure_any_data_is_read_or_has_clean_path(kind: Any, data: object) -> None:
    path = "$.data"
    try:
        structure_response(kind, data)
    except InvalidResponse as error:
        path = error.path
    assert re.fullmatch(r"\$\.data(\.[a-z_]+|\[[0-9]+\])*", path)


@given(st.text(min_size=6) | st.integers(10**6))
def test_structure_reason_does_not_quote_value(value: object) -> None:
    reason = structure_error(Match, {"is_matched": value})[1]

    assert json.dumps(value, ensure_ascii=False).strip('"') not in reason


VALUES = st.recursive(
    LEAVES | st.sampled_from(["", "1,000", "r\ud800", 2**64, math.nan, math.inf]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
PLAIN: dict[Any, object] = {bool: True, str: "text-1", Money: 1000, Secret: "key-1"}


def known_fields(model: type) -> list[FieldInfo]:
    return [info for info in fields_of(model) if info.name != "extra"]


def is_list(info: FieldInfo) -> bool:
    return info.item is not None and "tuple" in str(info.annotation)


def example_data(model: type) -> dict[str, Any]:
    """Return a response with a value in every field of the model, and of nested models."""
    data: dict[str, Any] = {}
    for info in known_fields(model):
        kind = next(
            (part for part in getattr(info.annotation, "__args__", ()) if part is not type(None)), info.annotation
        )
        kind = info.annotation if info.annotation == Money else kind
        if info.item is not None:
            data[info.name] = [example_data(info.item)] if is_list(info) else example_data(info.item)
        elif kind == Mapping[str, object]:
            data[info.name] = {"a": 1}
        else:
            data[info.name] = PLAIN.get(Money if kind in (int, Money) else kind, "success")
    return data


def field_paths(model: type, path: str = "") -> list[tuple[str, FieldInfo]]:
    """Return the path of every field of the model, and of nested models."""
    paths: list[tuple[str, FieldInfo]] = []
    for info in known_fields(model):
        field_path = f"{path}.{info.name}"
        paths.append((field_path, info))
        if info.item is not None:
            paths += field_paths(info.item, field_path + "[0]" if is_list(info) else field_path)
    return paths


def holder_of(data: Any, path: str) -> tuple[Any, str]:
    """Return the object that holds the field at a path, and the field's name."""
    *above, name = path.replace("[0]", ".0").strip(".").split(".")
    for step in above:
        data = data[0] if step == "0" else data[step]
    return data, name


def deciding_fields(value: Any) -> object:
    """Return the deciding fields of a value, and of nested values."""
    if isinstance(value, list | tuple):
        return [deciding_fields(entry) for entry in cast("list[object]", value)]
    model = cast("Any", type(value))
    if not attrs.has(model):
        return value
    return {info.name: deciding_fields(getattr(value, info.name)) for info in known_fields(model) if info.decides}


RESPONSE_TYPES: list[Any] = list(
    {str(response_type(endpoint.request)): response_type(endpoint.request) for endpoint in CALLS}.values()
)


def model_of(kind: Any) -> Any:
    return kind if attrs.has(kind) else kind.__args__[0]


def field_params(*, decides: bool) -> list[Any]:
    return [
        pytest.param(kind, path, info, id=f"{model_of(kind).__name__}{path}")
        for kind in RESPONSE_TYPES
        for path, info in field_paths(model_of(kind))
        if info.decides is decides
    ]


@settings(max_examples=25)
@given(value=VALUES)
@pytest.mark.parametrize(("kind", "path", "info"), field_params(decides=False))
def test_structure_odd_descriptive_field_decides_nothing(kind: Any, path: str, info: FieldInfo, value: object) -> None:
    before = structure_response(kind, example_data(model_of(kind)))
    data = example_data(model_of(kind))
    holder, name = holder_of(data, path)
    holder[name] = value

    assert deciding_fields(structure_response(kind, data)) == deciding_fields(before)


@pytest.mark.parametrize("value", [{"a": []}, [[1]], 1.5, True, "a\ud800"], ids=repr)
@pytest.mark.parametrize(("kind", "path", "info"), field_params(decides=True))
def test_structure_odd_deciding_field_is_refused(kind: Any, path: str, info: FieldInfo, value: object) -> None:
    if info.annotation is bool or is_list(info):
        value = [5]
    data = example_data(model_of(kind))
    holder, name = holder_of(data, path)
    holder[name] = value

    assert structure_error(kind, data)[0].replace("$.data[0]", "$.data") in ("$.data" + path, f"$.data{path}[0]")


class Entries(list[object]):
    """A list that counts how many of its entries are read."""

    read = 0

    def __iter__(self) -> Any:
        for entry in super().__iter__():
            self.read += 1
            yield entry


WRONG_LISTS: dict[str, tuple[Any, Callable[[list[object]], object], str]] = {
    "list": (SETTLEMENTS, lambda entries: entries, "$.data[0]"),
    "list in an object": (Statement, lambda entries: {"transactions": entries}, "$.data.transactions[0]"),
}


@pytest.mark.parametrize("where", WRONG_LISTS)
def test_structure_wrong_entries_stop_at_first(where: str) -> None:
    kind, wrapped, path = WRONG_LISTS[where]
    entries = Entries([[1]] * 1000)

    assert structure_error(kind, wrapped(entries))[0] == path
    assert entries.read < 10


def test_structure_late_misfit_is_explained() -> None:
    entries: list[object] = [*[DONE] * 500, {"status": 7}, *[DONE] * 10, *[[]] * 500]

    assert structure_error(SETTLEMENTS, entries) == ("$.data[511]", "expected an object, got a list")


def test_structure_missing_field_is_refused_before_copies() -> None:
    class Wide(dict[str, object]):
        def items(self) -> Any:
            copies.append(1)
            return super().items()

    copies: list[int] = []
    entry = Wide({f"k{number}": 1 for number in range(10)})

    assert structure_error(SETTLEMENTS, [entry]) == ("$.data[0].status", "required field missing")
    assert not copies
