"""Request and response models, and lists of models."""

import copy
import inspect
import pickle
from collections.abc import Iterator
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import attrs
import pytest

from paystar_async.errors import InvalidValue
from paystar_async.errors.text import describe_type
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
TRANSFER_FIELDS = example_values(Transfer)
each_endpoint = pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.id)


def transfers(*changes: dict[str, Any]) -> list[Any]:
    return [TRANSFER_FIELDS | {"track_id": f"t-{index}"} | change for index, change in enumerate(changes)]


def error_of(values: Any) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        Settle(transfers=values)
    return caught.value


@each_endpoint
class TestRequest:
    """A request can be stored, queued, compared and sent later."""

    def test_request_equals_same_values(self, endpoint: Any) -> None:
        values = example_values(endpoint.request)
        first, second = endpoint.request(**values), endpoint.request(**values)

        assert first == second
        assert hash(first) == hash(second)
        assert {first: 1}[second] == 1

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_request_pickle_round_trips(self, endpoint: Any, protocol: int) -> None:
        request = endpoint.request(**example_values(endpoint.request))

        assert pickle.loads(pickle.dumps(request, protocol)) == request

    def test_request_copy_is_equal(self, endpoint: Any) -> None:
        request = endpoint.request(**example_values(endpoint.request))

        assert copy.copy(request) == copy.deepcopy(request) == request

    def test_request_is_immutable(self, endpoint: Any) -> None:
        request = endpoint.request(**example_values(endpoint.request))

        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            request.anything = 1
        for field in fields_of(endpoint.request):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(request, field.name, 1)

    def test_request_takes_keywords_only(self, endpoint: Any) -> None:
        with pytest.raises(TypeError):
            endpoint.request(*example_values(endpoint.request).values(), "positional")
        with pytest.raises(TypeError):
            endpoint.request(**example_values(endpoint.request), unknown_field=1)

    def test_request_fields_are_checked_and_documented(self, endpoint: Any) -> None:
        for field in fields_of(endpoint.request):
            assert field.field_type is not None
            assert field.doc
            with pytest.raises(InvalidValue) as caught:
                endpoint.request(**(example_values(endpoint.request) | {field.name: object()}))
            assert caught.value.field == field.name

    def test_request_only_optional_fields_accept_null(self, endpoint: Any) -> None:
        for field in fields_of(endpoint.request):
            values = example_values(endpoint.request) | {field.name: None}
            if not field.required:
                endpoint.request(**values)
                continue
            with pytest.raises(InvalidValue):
                endpoint.request(**values)

    def test_request_example_passes_checksums(self, endpoint: Any) -> None:
        verify_checksums(endpoint.request(**example_values(endpoint.request)))


class TestLists:
    """Lists of transfers, as models or as parsed JSON."""

    def test_list_of_accepts_models_and_mappings(self) -> None:
        request = Settle(transfers=[Transfer(**TRANSFER_FIELDS), *transfers({})])

        assert [type(item) for item in request.transfers] == [Transfer, Transfer]
        assert isinstance(request.transfers, tuple)
        assert request == Settle(transfers=(Transfer(**TRANSFER_FIELDS), Transfer(**transfers({})[0])))

    def test_list_of_accepts_iterator(self) -> None:
        def generate() -> Iterator[Any]:
            yield from transfers({}, {})

        assert len(Settle(transfers=generate()).transfers) == 2  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [TRANSFER_FIELDS, Transfer(**TRANSFER_FIELDS), "t", b"t", None, 5])
    def test_list_of_single_item_is_rejected(self, value: object) -> None:
        assert error_of(value).field == "transfers"

    def test_list_of_empty_list_is_rejected(self) -> None:
        assert "empty" in error_of([]).hint

    @pytest.mark.parametrize(
        "item", [None, 5, "x", [TRANSFER_FIELDS], WalletTransfer(**example_values(WalletTransfer))]
    )
    def test_list_of_wrong_item_type_names_index(self, item: object) -> None:
        error = error_of([*transfers({}), item])

        assert (error.field, error.expected, error.got) == ("transfers[1]", "a Transfer", describe_type(item))

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
    def test_list_of_invalid_field_names_path(self, change: dict[str, Any], field: str) -> None:
        error = error_of(transfers({}, {}, {}, change))

        assert error.field == field
        assert str(error).startswith(f"{field}: expected ")

    def test_list_of_missing_field_names_expected_form(self) -> None:
        (fields,) = transfers({})
        del fields["amount"]
        error = error_of([fields])

        assert str(error) == "transfers[0].amount: expected whole Rial as an int, 1 or more, got nothing"

    def test_list_of_unknown_field_name_is_not_shown(self) -> None:
        error = error_of([{"6037990000000006": 1}])

        assert error.field == "transfers[0].…"
        assert "amount" in error.expected

    def test_list_of_duplicate_track_id_is_rejected(self) -> None:
        error = error_of(transfers({}, {"track_id": "same"}, {}, {"track_id": "same", "amount": 1}))

        assert (error.field, error.got) == ("transfers[3].track_id", "that of transfers[1]")
        assert "pay twice" in error.hint

    def test_list_of_duplicate_wallet_track_id_is_rejected(self) -> None:
        transfer = WalletTransfer(**example_values(WalletTransfer))

        with pytest.raises(InvalidValue, match=r"transfers\[1\]\.track_id"):
            SettleWallet(transfers=[transfer, transfer])

    def test_list_of_track_ids_are_case_sensitive(self) -> None:
        Settle(transfers=transfers({"track_id": "a"}, {"track_id": "A"}))

    def test_list_of_repr_shows_length(self) -> None:
        assert repr(Settle(transfers=transfers({}, {}))) == "Settle(transfers=<2 transfers>)"


class TestVerifyChecksums:
    """Checksums of a whole request."""

    def test_verify_checksums_names_nested_field(self) -> None:
        value = Settle(transfers=transfers({}, {}, {"destination_account": WRONG_IBAN}))

        with pytest.raises(InvalidValue) as caught:
            verify_checksums(value)
        assert caught.value.field == "transfers[2].destination_account"
        assert WRONG_IBAN not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(("name", "wrong"), [("card_number", "6037990000000007"), ("national_code", "0012345670")])
    def test_verify_checksums_names_field(self, name: str, wrong: str) -> None:
        values: dict[str, Any] = example_values(CreatePayment) | {name: wrong}
        value = CreatePayment(**values)

        with pytest.raises(InvalidValue) as caught:
            verify_checksums(value)
        assert caught.value.field == name

    def test_verify_checksums_ignores_omitted_fields(self) -> None:
        verify_checksums(CreatePayment(amount=5_000, order_id="1", callback="https://merchant.example"))


@each_endpoint
def test_response_type_of_every_request_exists(endpoint: Any) -> None:
    assert response_type(endpoint.request) is not None


def test_response_type_without_parameter_raises() -> None:
    @request_model
    class Untyped(Call):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
        """A request without a response type."""

    with pytest.raises((TypeError, AttributeError)):
        response_type(Untyped)


def test_fields_of_describes_request_fields() -> None:
    (first, second) = fields_of(MatchMobile)

    assert (first.name, first.required, first.sent, first.item) == ("national_id", True, True, None)
    assert (second.name, second.doc) == ("mobile_number", "mobile number")
    assert [field.item for field in fields_of(Settle)] == [Transfer]
    assert next(field.item for field in fields_of(CreatePayment) if field.name == "allotment") is Allotment
    assert response_type(MatchMobile) is Match
    assert example_value(first) == "0012345679"


class TestOpenEnums:
    """Values of the server that are unknown to this version."""

    def test_open_enum_keeps_unknown_value(self) -> None:
        status = TransferStatus("reversed")

        assert (status, status.value, str(status), f"{status}") == ("reversed",) * 4
        assert status.name == "UNRECOGNISED"
        assert repr(status) == "<TransferStatus.UNRECOGNISED: 'reversed'>"
        assert isinstance(status, TransferStatus)

    def test_open_enum_unknown_value_equals_itself_only(self) -> None:
        status = TransferStatus("reversed")

        assert status == TransferStatus("reversed")
        assert hash(status) == hash("reversed")
        assert status not in set(TransferStatus)
        assert len(TransferStatus) == 3
        assert "UNRECOGNISED" not in TransferStatus.__members__

    def test_open_enum_known_value_is_member(self) -> None:
        assert TransferStatus("success") is TransferStatus.SUCCESS

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("value", ["success", "reversed", "SUCCESS", "UNRECOGNISED", ""])
    def test_open_enum_pickles_and_copies_by_value(self, value: str, protocol: int) -> None:
        for duplicate in (
            pickle.loads(pickle.dumps(TransferStatus(value), protocol)),
            copy.copy(TransferStatus(value)),
            copy.deepcopy(TransferStatus(value)),
        ):
            assert (type(duplicate), duplicate.value) == (TransferStatus, value)

    @pytest.mark.parametrize("value", [None, 5, 1.5, ["success"]])
    def test_open_enum_other_type_raises(self, value: Any) -> None:
        with pytest.raises(ValueError, match="not a valid"):
            TransferStatus(value)

    def test_open_enum_supports_match(self) -> None:
        def describe(status: TransferStatus) -> str:
            match status:
                case TransferStatus.SUCCESS:
                    return "paid"
                case TransferStatus():
                    return "else"

        assert [describe(TransferStatus("success")), describe(TransferStatus("x"))] == ["paid", "else"]

    def test_open_enum_subclass_accepts_unknown_value(self) -> None:
        class CustomStatus(OpenEnum):
            A = "a"

        assert CustomStatus("b") == "b"


class TestResponse:
    """Responses are values, and the repr of ``extra`` shows names only."""

    def test_response_equals_same_values(self) -> None:
        first = Settlement(track_id="t", status=TransferStatus.PENDING, extra={"a": [1]})
        second = Settlement(track_id="t", status=TransferStatus("pending"), extra={"a": [1]})

        assert first == second
        assert len({first, second}) == 1
        assert first != Settlement(track_id="t", status=TransferStatus.PENDING)
        assert pickle.loads(pickle.dumps(first)) == copy.deepcopy(first) == first

    def test_response_extra_is_not_shared(self) -> None:
        assert Match(is_matched=True).extra is not Match(is_matched=True).extra

    @pytest.mark.parametrize(
        ("extra", "expected_repr"),
        [
            ({}, "{}"),
            ({"fee": "canary", "other_name": 1}, "<fee, other_name>"),
            ({'{"password":"canary"}': ""}, "<…>"),
            ({"6037990000000006": ""}, "<…>"),
            ({"x" * 41: ""}, "<…>"),
        ],
    )
    def test_response_extra_repr_shows_names(self, extra: dict[str, object], expected_repr: str) -> None:
        assert names_only(extra) == expected_repr
        assert repr(Match(is_matched=True, extra=extra)) == f"Match(is_matched=True, extra={expected_repr})"


@pytest.mark.parametrize("model", [*(endpoint.request for endpoint in TABLE), Transfer, WalletTransfer, Allotment])
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
