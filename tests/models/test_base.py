"""The two shapes of a model, and lists of what is sent."""

import copy
import inspect
import pickle
from collections.abc import Iterator
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import attrs
import pytest

from paystar_async.errors import InvalidValue
from paystar_async.models.base import (
    Call,
    OpenEnum,
    fields_of,
    names_only,
    request_model,
    response_type,
    verify_checksums,
)
from paystar_async.models.gateway import Allotment, CreatePayment
from paystar_async.models.identity import Match, MatchMobile
from paystar_async.models.transfers import Settle, Settlement, Transfer, TransferStatus
from paystar_async.models.wallet import SettleWallet, WalletTransfer
from paystar_async.table import TABLE
from tests.describe.endpoints import example_value, example_values

IBAN = "IR110170000000123456789001"
WRONG_IBAN = "IR120170000000123456789001"
ONE = example_values(Transfer)
each_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)


def transfers(*changes: dict[str, Any]) -> list[Any]:
    return [ONE | {"track_id": f"t-{place}"} | change for place, change in enumerate(changes)]


def refusal(values: Any) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        Settle(transfers=values)
    return caught.value


@each_row
class TestARequestIsAValue:
    """It can be kept, queued, compared and sent by another."""

    def test_it_equals_its_twin(self, row: Any) -> None:
        one, twin = row.request(**example_values(row.request)), row.request(**example_values(row.request))

        assert one == twin
        assert hash(one) == hash(twin)
        assert {one: 1}[twin] == 1

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_is_pickled(self, row: Any, protocol: int) -> None:
        one = row.request(**example_values(row.request))

        assert pickle.loads(pickle.dumps(one, protocol)) == one

    def test_it_is_copied(self, row: Any) -> None:
        one = row.request(**example_values(row.request))

        assert copy.copy(one) == copy.deepcopy(one) == one

    def test_it_does_not_change(self, row: Any) -> None:
        one = row.request(**example_values(row.request))

        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            one.anything = 1
        for field in fields_of(row.request):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(one, field.name, 1)

    def test_it_is_made_by_name_alone(self, row: Any) -> None:
        with pytest.raises(TypeError):
            row.request(*example_values(row.request).values(), "one more")
        with pytest.raises(TypeError):
            row.request(**example_values(row.request), unheard_of=1)

    def test_every_field_is_checked_and_explained(self, row: Any) -> None:
        for field in fields_of(row.request):
            assert field.field_type is not None
            assert field.doc
            with pytest.raises(InvalidValue) as caught:
                row.request(**(example_values(row.request) | {field.name: object()}))
            assert caught.value.field == field.name

    def test_an_optional_field_may_be_none_and_no_other(self, row: Any) -> None:
        for field in fields_of(row.request):
            values = example_values(row.request) | {field.name: None}
            if not field.required:
                row.request(**values)
                continue
            with pytest.raises(InvalidValue):
                row.request(**values)

    def test_its_example_holds_strictly(self, row: Any) -> None:
        verify_checksums(row.request(**example_values(row.request)))


class TestLists:
    """Several transfers, made by hand or come as JSON."""

    def test_models_and_mappings_may_be_mixed(self) -> None:
        made = Settle(transfers=[Transfer(**ONE), *transfers({})])

        assert [type(one) for one in made.transfers] == [Transfer, Transfer]
        assert isinstance(made.transfers, tuple)
        assert made == Settle(transfers=(Transfer(**ONE), Transfer(**transfers({})[0])))

    def test_any_iterable_is_taken_once(self) -> None:
        def each() -> Iterator[Any]:
            yield from transfers({}, {})

        assert len(Settle(transfers=each()).transfers) == 2  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [ONE, Transfer(**ONE), "t", b"t", None, 5])
    def test_a_single_one_is_not_a_list(self, value: object) -> None:
        assert refusal(value).field == "transfers"

    def test_an_empty_one_asks_for_nothing(self) -> None:
        assert "empty" in refusal([]).hint

    @pytest.mark.parametrize("item", [None, 5, "x", [ONE], WalletTransfer(**example_values(WalletTransfer))])
    def test_an_item_of_another_kind_is_named_by_its_place(self, item: object) -> None:
        error = refusal([*transfers({}), item])

        assert (error.field, error.expected, error.got) == ("transfers[1]", "a Transfer", type(item).__name__)

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"amount": 1.5}, "transfers[3].amount"),
            ({"amount": "1000"}, "transfers[3].amount"),
            ({"amount": True}, "transfers[3].amount"),
            ({"amount": 0}, "transfers[3].amount"),
            ({"destination_account": "IR1"}, "transfers[3].destination_account"),
            ({"track_id": "a b"}, "transfers[3].track_id"),
            ({"trackid": "t"}, "transfers[3].trackid"),
            ({"a b": 1}, "transfers[3].…"),
            ({"x" * 41: 1}, "transfers[3].…"),
            ({5: 1}, "transfers[3].…"),
        ],
    )
    def test_a_field_that_is_wrong_is_named_by_its_place(self, change: dict[str, Any], field: str) -> None:
        error = refusal(transfers({}, {}, {}, change))

        assert error.field == field
        assert str(error).startswith(f"{field}: expected ")

    def test_a_field_that_is_missing_is_named_with_its_shape(self) -> None:
        (one,) = transfers({})
        del one["amount"]
        error = refusal([one])

        assert str(error) == "transfers[0].amount: expected whole Rial as an int, 1 or more, got nothing"

    def test_a_name_that_may_be_anything_is_not_shown(self) -> None:
        error = refusal([{"6037990000000006": 1}])

        assert error.field == "transfers[0].…"
        assert "amount" in error.expected

    def test_the_same_track_id_twice_would_pay_twice(self) -> None:
        error = refusal(transfers({}, {"track_id": "same"}, {}, {"track_id": "same", "amount": 1}))

        assert (error.field, error.got) == ("transfers[3].track_id", "that of transfers[1]")
        assert "pay twice" in error.hint

    def test_a_wallets_track_ids_differ_too(self) -> None:
        one = WalletTransfer(**example_values(WalletTransfer))

        with pytest.raises(InvalidValue, match=r"transfers\[1\]\.track_id"):
            SettleWallet(transfers=[one, one])

    def test_track_ids_that_only_look_alike_differ(self) -> None:
        Settle(transfers=transfers({"track_id": "a"}, {"track_id": "A"}))

    def test_a_list_shows_its_length_alone(self) -> None:
        assert repr(Settle(transfers=transfers({}, {}))) == "Settle(transfers=<2 transfers>)"


class TestStrictly:
    """Checksums, asked for the whole of a request."""

    def test_a_nested_field_is_named(self) -> None:
        value = Settle(transfers=transfers({}, {}, {"destination_account": WRONG_IBAN}))

        with pytest.raises(InvalidValue) as caught:
            verify_checksums(value)
        assert caught.value.field == "transfers[2].destination_account"
        assert WRONG_IBAN not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(("name", "wrong"), [("card_number", "6037990000000007"), ("national_code", "0012345670")])
    def test_a_field_is_named(self, name: str, wrong: str) -> None:
        values: dict[str, Any] = example_values(CreatePayment) | {name: wrong}
        value = CreatePayment(**values)

        with pytest.raises(InvalidValue) as caught:
            verify_checksums(value)
        assert caught.value.field == name

    def test_what_is_left_out_is_not_asked(self) -> None:
        verify_checksums(CreatePayment(amount=5_000, order_id="1", callback="https://merchant.example"))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_a_request_names_its_answer(row: Any) -> None:
    assert response_type(row.request) is not None


def test_a_request_that_does_not_is_a_mistake() -> None:
    @request_model
    class Nameless(Call):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
        """Asks for who knows what."""

    with pytest.raises((TypeError, AttributeError)):
        response_type(Nameless)


def test_the_fields_of_a_request() -> None:
    (first, second) = fields_of(MatchMobile)

    assert (first.name, first.required, first.sent, first.item) == ("national_id", True, True, None)
    assert (second.name, second.doc) == ("mobile_number", "mobile number")
    assert [one.item for one in fields_of(Settle)] == [Transfer]
    assert next(one.item for one in fields_of(CreatePayment) if one.name == "allotment") is Allotment
    assert response_type(MatchMobile) is Match
    assert example_value(first) == "0012345679"


class TestOpenEnums:
    """A word of the server's that this version does not know."""

    def test_it_is_kept_as_it_came(self) -> None:
        word = TransferStatus("reversed")

        assert (word, word.value, str(word), f"{word}") == ("reversed",) * 4
        assert word.name == "UNRECOGNISED"
        assert repr(word) == "<TransferStatus.UNRECOGNISED: 'reversed'>"
        assert isinstance(word, TransferStatus)

    def test_it_equals_itself_and_nothing_known(self) -> None:
        word = TransferStatus("reversed")

        assert word == TransferStatus("reversed")
        assert hash(word) == hash("reversed")
        assert word not in set(TransferStatus)
        assert len(TransferStatus) == 3
        assert "UNRECOGNISED" not in TransferStatus.__members__

    def test_a_known_word_is_the_member(self) -> None:
        assert TransferStatus("success") is TransferStatus.SUCCESS

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("word", ["success", "reversed", "SUCCESS", "UNRECOGNISED", ""])
    def test_it_is_pickled_and_copied_by_its_word(self, word: str, protocol: int) -> None:
        for back in (
            pickle.loads(pickle.dumps(TransferStatus(word), protocol)),
            copy.copy(TransferStatus(word)),
            copy.deepcopy(TransferStatus(word)),
        ):
            assert (type(back), back.value) == (TransferStatus, word)

    @pytest.mark.parametrize("value", [None, 5, 1.5, ["success"]])
    def test_what_is_no_word_is_none(self, value: Any) -> None:
        with pytest.raises(ValueError, match="not a valid"):
            TransferStatus(value)

    def test_it_can_be_matched(self) -> None:
        def said(status: TransferStatus) -> str:
            match status:
                case TransferStatus.SUCCESS:
                    return "paid"
                case TransferStatus():
                    return "else"

        assert [said(TransferStatus("success")), said(TransferStatus("x"))] == ["paid", "else"]

    def test_one_of_ones_own_is_open_too(self) -> None:
        class Own(OpenEnum):
            A = "a"

        assert Own("b") == "b"


class TestAnswers:
    """What is answered: values too, and ``extra`` never shows what is in it."""

    def test_they_are_values(self) -> None:
        one = Settlement(track_id="t", status=TransferStatus.PENDING, extra={"a": [1]})
        twin = Settlement(track_id="t", status=TransferStatus("pending"), extra={"a": [1]})

        assert one == twin
        assert len({one, twin}) == 1
        assert one != Settlement(track_id="t", status=TransferStatus.PENDING)
        assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one

    def test_one_answers_extra_is_not_anothers(self) -> None:
        assert Match(is_matched=True).extra is not Match(is_matched=True).extra

    @pytest.mark.parametrize(
        ("extra", "shown"),
        [
            ({}, "{}"),
            ({"fee": "canary", "other_name": 1}, "<fee, other_name>"),
            ({'{"password":"canary"}': ""}, "<…>"),
            ({"6037990000000006": ""}, "<…>"),
            ({"x" * 41: ""}, "<…>"),
        ],
    )
    def test_extra_shows_names(self, extra: dict[str, object], shown: str) -> None:
        assert names_only(extra) == shown
        assert repr(Match(is_matched=True, extra=extra)) == f"Match(is_matched=True, extra={shown})"


@pytest.mark.parametrize("model", [*(row.request for row in TABLE), Transfer, WalletTransfer, Allotment])
def test_signature_shows_real_types(model: type) -> None:
    parameters = inspect.signature(model).parameters

    assert set(parameters) == {field.name for field in fields_of(model)}
    for field in fields_of(model):
        annotation = parameters[field.name].annotation
        assert annotation not in (object, inspect.Parameter.empty, Any)
        assert get_origin(annotation) is not Annotated
        assert (NoneType in get_args(annotation)) is (not field.required and field.name != "extra")


def test_signature_of_transfer_shows_plain_types() -> None:
    parameters = inspect.signature(Transfer).parameters

    assert parameters["amount"].annotation is int
    assert parameters["track_id"].annotation is str
    assert parameters["pay_id"].annotation == str | None
