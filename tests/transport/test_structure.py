"""Answers become models strictly, and what does not fit is named by its path."""

import json
import re
from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paystar_async.errors import BadAnswer
from paystar_async.models.base import answer_type
from paystar_async.models.gateway import Created, GatewayStatus, GatewayTransaction, Verified
from paystar_async.models.identity import Match
from paystar_async.models.inquiry import IbanInfo, Owner
from paystar_async.models.keys import RenewedInquiryKey, RenewedKey
from paystar_async.models.transfers import Balance, Settlement, Statement, Transaction, TransferStatus
from paystar_async.models.wallet import Accepted, WalletBalance
from paystar_async.transport.columns import FEW
from paystar_async.transport.structure import _careful, structure  # pyright: ignore[reportPrivateUsage]
from paystar_async.values.secret import Secret
from tests.transport.asking import CALLS

SETTLEMENTS = list[Settlement]
DONE = {"status": "success"}


def refusal(kind: Any, data: object) -> tuple[str, str]:
    with pytest.raises(BadAnswer) as caught:
        structure(kind, data)
    reason = str(caught.value.args[0]).partition(": ")[2]
    return caught.value.path, reason


UNFIT: list[tuple[Any, object, str, str | None]] = [
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
    (Verified, {"price": "10000.0"}, "$.data.price", "expected whole Rial, got a text of 7 characters"),
    (Verified, {"price": 2.0**53}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": 1e300}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": 2**63}, "$.data.price", "expected whole Rial, got a number"),
    (Verified, {"price": {}}, "$.data.price", "expected whole Rial, got an object"),
    (Verified, {"price": 1, "ref_num": 1.5}, "$.data.ref_num", "expected a text, got the number 1.5"),
    (Verified, {"price": 1, "ref_num": True}, "$.data.ref_num", "expected a text, got true"),
    (Verified, {"price": 1, "card_number": {}}, "$.data.card_number", "expected a text, got an object"),
    (Created, {"token": None, "ref_num": "r"}, "$.data.token", "required field missing"),
    (GatewayTransaction, {"status": 1.5}, "$.data.status", "expected a text, got the number 1.5"),
    (GatewayTransaction, {"status": ["INIT"]}, "$.data.status", "expected a text, got a list"),
    (GatewayTransaction, {"status": True}, "$.data.status", "expected a text, got true"),
    (SETTLEMENTS, "done", "$.data", "expected a list, got a text of 4 characters"),
    (SETTLEMENTS, False, "$.data", "expected a list, got false"),
    (SETTLEMENTS, {}, "$.data[0].status", "required field missing"),
    (SETTLEMENTS, [DONE, DONE, DONE, {"status": {}}], "$.data[3].status", "expected a text, got an object"),
    (SETTLEMENTS, [DONE, None], "$.data[1]", "expected an object, got null"),
    (SETTLEMENTS, [[DONE]], "$.data[0]", "expected an object, got a list"),
    (SETTLEMENTS, [DONE, {"status": "failed", "ref_code": 1.5}], "$.data[1].ref_code", None),
    (IbanInfo, {"owners": "Ali"}, "$.data.owners", "expected a list, got a text of 3 characters"),
    (IbanInfo, {"owners": 5}, "$.data.owners", "expected a list, got the number 5"),
    (IbanInfo, {"owners": [{}, {"last_name": 1.5}]}, "$.data.owners[1].last_name", None),
    (Statement, {"transactions": [{"credit_amount": 0.5}]}, "$.data.transactions[0].credit_amount", None),
    (WalletBalance, {"total_amount": "1,000"}, "$.data.available_amount", "required field missing"),
    (RenewedKey, {"api_key": 5}, "$.data.api_key", "expected a key"),
    (RenewedKey, {"api_key": ""}, "$.data.api_key", "expected a key"),
    (RenewedKey, {"api_key": "a\nb"}, "$.data.api_key", "expected a key"),
    (RenewedKey, {"api_key": "key "}, "$.data.api_key", "expected a key"),
    (RenewedKey, {"api_key": "کلید"}, "$.data.api_key", "expected a key"),
    (RenewedInquiryKey, {"api_key": "k"}, "$.data.inquiry_key", "required field missing"),
]


@pytest.mark.parametrize(("kind", "data", "path", "reason"), UNFIT)
def test_what_does_not_fit_is_refused_by_path(kind: Any, data: object, path: str, reason: str | None) -> None:
    told = refusal(kind, data)

    assert told == (path, reason if reason is not None else told[1])


FIT: list[tuple[Any, object, object]] = [
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
    (SETTLEMENTS, None, []),
    (SETTLEMENTS, [], []),
    (SETTLEMENTS, DONE, [Settlement(status=TransferStatus.SUCCESS)]),
    (SETTLEMENTS, [DONE], [Settlement(status=TransferStatus.SUCCESS)]),
    (Accepted, None, Accepted()),
    (Accepted, [], Accepted()),
    (Accepted, "queued", Accepted(extra={"data": "queued"})),
    (Accepted, {"id": 5}, Accepted(extra={"id": 5})),
    (RenewedKey, {"api_key": "k"}, RenewedKey(api_key=Secret("k"))),
]


@pytest.mark.parametrize(("kind", "data", "value"), FIT)
def test_what_fits_is_read(kind: Any, data: object, value: object) -> None:
    read = structure(kind, data)

    assert value is None or read == value


def test_what_is_unknown_is_kept() -> None:
    read = structure(Match, {"is_matched": True, "score": 5, "extra": {"a": 1}})

    assert read == Match(is_matched=True, extra={"score": 5, "extra": {"a": 1}})


def test_a_word_that_is_unknown_is_a_member_of_its_own() -> None:
    (one,) = structure(SETTLEMENTS, {"status": "reversed"})

    assert one.status == "reversed"
    assert isinstance(one.status, TransferStatus)
    assert one.status not in list(TransferStatus)
    assert structure(GatewayTransaction, {"status": "VERIFIED"}).status == GatewayStatus("VERIFIED")


@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.id)
def test_every_answer_has_room_for_what_is_unknown(row: Any) -> None:
    kind: Any = answer_type(row.request)
    inner = kind if attrs.has(kind) else kind.__args__[0]
    assert "extra" in {one.name for one in attrs.fields(inner)}


MODELS: tuple[Any, ...] = (Settlement, Verified, IbanInfo, Created)
NAMES = sorted({"extra", "x"}.union(*(set(attrs.fields_dict(one)) for one in MODELS)))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("success")
ANSWERS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner))


@settings(max_examples=150)
@given(st.sampled_from([answer_type(row.request) for row in CALLS]), ANSWERS)
def test_whatever_comes_is_read_or_refused_by_a_clean_path(kind: Any, data: object) -> None:
    path = "$.data"
    try:
        structure(kind, data)
    except BadAnswer as bad:
        path = bad.path
    assert re.fullmatch(r"\$\.data(\.[a-z_]+|\[[0-9]+\])*", path)


@given(st.text(min_size=6) | st.integers(10**6))
def test_a_reason_does_not_quote_what_came(value: object) -> None:
    told = refusal(Match, {"is_matched": value})[1]

    assert json.dumps(value, ensure_ascii=False).strip('"') not in told


# --- the quick way and the one that explains ---

USUAL = ["success", "SUCCEED", "1,000", "10000", "۱۰", "-1", "", " k", "a\nb", "true", 7, -1, True, 1.0, 2.0**53, 2**63]
ODD = st.sampled_from(USUAL) | LEAVES


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is in place, or all that is ever read is a refusal."""
    return st.integers(0, 5).flatmap(lambda chance: odd if chance == 0 else usual)


def said_of(kind: Any) -> st.SearchStrategy[Any]:
    """What a server might say where an answer of this kind is awaited."""
    if not attrs.has(kind):
        one = said_of(kind.__args__[0])
        alike = st.tuples(one, st.integers(FEW - 1, FEW + 3)).map(lambda drawn: [drawn[0]] * drawn[1])
        return mostly(alike, one | ODD | st.tuples(alike, st.lists(one, max_size=2)).map(lambda two: two[0] + two[1]))
    fields = {one.name: _said_in(one.type) for one in attrs.fields(kind) if one.name != "extra"}
    beside = {"extra": ODD, "unheard_of": ODD}
    return mostly(st.fixed_dictionaries(fields), st.fixed_dictionaries({}, optional=fields | beside) | ODD)


def _said_in(annotation: Any) -> st.SearchStrategy[Any]:
    inner = getattr(annotation, "__args__", ())[:1]
    if inner and attrs.has(inner[0]):
        return said_of(annotation)
    odd = ODD | st.lists(ODD, max_size=1) | st.dictionaries(st.just("x"), ODD, max_size=1)
    return mostly(st.sampled_from(["success", "1,000", "k", 7, True, None]), odd)


def laid_out(value: Any) -> object:
    """A value with its types, to the last field; secrets opened."""
    kind = cast("Any", type(value))
    if kind is Secret:
        return value.reveal()
    if attrs.has(kind):
        return kind, [laid_out(getattr(value, one.name)) for one in attrs.fields(kind)]
    return kind, [laid_out(one) for one in value] if kind in (list, tuple) else repr(value)


def read_by(way: Callable[[], Any]) -> object:
    try:
        return laid_out(way())
    except Exception:
        return "refused"


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
@pytest.mark.parametrize("row", CALLS, ids=lambda row: row.id)
def test_the_quick_way_reads_what_the_careful_one_reads(row: Any, data: st.DataObject) -> None:
    kind: Any = answer_type(row.request)
    came = data.draw(said_of(kind))
    before = repr(came)

    assert read_by(lambda: structure(kind, came)) == read_by(lambda: _careful.structure(came, kind))
    assert repr(came) == before


class Entries(list[object]):
    """A list that counts how many of its entries are read."""

    read = 0

    def __iter__(self) -> Any:
        for one in super().__iter__():
            self.read += 1
            yield one


WRONG_LISTS: dict[str, tuple[Any, Callable[[list[object]], object], str]] = {
    "list": (SETTLEMENTS, lambda entries: entries, "$.data[0]"),
    "list in an object": (Statement, lambda entries: {"transactions": entries}, "$.data.transactions[0]"),
    "owners": (IbanInfo, lambda entries: {"owners": entries}, "$.data.owners[0]"),
}


@pytest.mark.parametrize("where", WRONG_LISTS)
def test_structure_stops_at_the_first_wrong_entry(where: str) -> None:
    kind, wrapped, path = WRONG_LISTS[where]
    entries = Entries([[1]] * 1000)

    assert refusal(kind, wrapped(entries))[0] == path
    assert entries.read < 10


def test_structure_explains_a_late_fault_alone() -> None:
    entries: list[object] = [*[DONE] * 500, {"status": 7}, *[DONE] * 10, *[[]] * 500]

    assert refusal(SETTLEMENTS, entries) == ("$.data[511]", "expected an object, got a list")


def test_structure_required_field_is_missed_before_copies_are_made() -> None:
    class Wide(dict[str, object]):
        def items(self) -> Any:
            copies.append(1)
            return super().items()

    copies: list[int] = []
    entry = Wide({f"k{number}": 1 for number in range(10)})

    assert refusal(SETTLEMENTS, [entry]) == ("$.data[0].status", "required field missing")
    assert len(copies) <= 2  # by the pass that explains
