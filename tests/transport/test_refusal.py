"""The message and the field errors of a refusal, in the form of each framework."""

import pytest

from paystar_async.transport.refusal import MAX_FIELDS, MAX_MESSAGES, error_message, field_errors


class TestErrorMessage:
    @pytest.mark.parametrize("name", ["message", "error", "detail", "title"])
    def test_error_message_reads_each_name(self, name: str) -> None:
        assert error_message({name: " refused "}) == "refused"

    def test_error_message_prefers_message_over_other_names(self) -> None:
        body = {"title": "4", "detail": "3", "error": "2", "message": "1"}

        assert error_message(body) == "1"

    @pytest.mark.parametrize("empty", ["", "  ", None, [], [" "], {}, 5])
    def test_error_message_skips_empty_values(self, empty: object) -> None:
        assert error_message({"message": empty, "error": "next"}) == "next"

    def test_error_message_nested_object_is_read(self) -> None:
        assert error_message({"error": {"message": "no such thing", "code": 5}}) == "no such thing"

    def test_error_message_joins_at_most_max_messages(self) -> None:
        texts = [str(number) for number in range(MAX_MESSAGES + 2)]

        assert error_message({"message": [None, *texts]}) == "; ".join(texts[:MAX_MESSAGES])

    @pytest.mark.parametrize("body", [{}, {"message": 5}, {"error": {"code": 5}}, {"detail": [{"msg": "x"}]}])
    def test_error_message_without_text_is_empty(self, body: dict[str, object]) -> None:
        assert error_message(body) == ""


class TestFieldErrors:
    @pytest.mark.parametrize("name", ["data", "errors", "detail"])
    def test_field_errors_reads_each_name(self, name: str) -> None:
        assert field_errors({name: {"amount": ["too low"], "iban": "invalid"}}) == {
            "amount": ["too low"],
            "iban": ["invalid"],
        }

    def test_field_errors_takes_the_first_name_with_fields(self) -> None:
        assert field_errors({"data": {"amount": []}, "errors": {"iban": ["invalid"]}}) == {"iban": ["invalid"]}

    def test_field_errors_fastapi_location_is_joined(self) -> None:
        detail = [
            {"loc": ["body", "transfers", 0, "amount"], "msg": "too low"},
            {"loc": "body", "msg": "the location is no list"},
            {"loc": ["body"], "msg": 5},
            "text",
        ]

        assert field_errors({"detail": detail}) == {"body.transfers.0.amount": ["too low"]}

    def test_field_errors_fastapi_location_is_cut(self) -> None:
        assert field_errors({"detail": [{"loc": list(range(20)), "msg": "deep"}]}) == {"0.1.2.3.4.5.6.7": ["deep"]}

    def test_field_errors_bounds_fields_and_messages(self) -> None:
        data = {f"field{number}": ["wrong"] * (MAX_MESSAGES + 2) for number in range(MAX_FIELDS + 10)}

        fields = field_errors({"data": data})

        assert list(fields) == list(data)[:MAX_FIELDS]
        assert {len(messages) for messages in fields.values()} == {MAX_MESSAGES}

    @pytest.mark.parametrize("value", [None, "text", 5, [], {}, {"amount": 5}, ["text"]])
    def test_field_errors_without_fields_is_empty(self, value: object) -> None:
        assert field_errors({"data": value}) == {}
