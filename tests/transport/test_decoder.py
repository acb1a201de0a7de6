"""Decoding of responses: success, errors, and texts without secrets."""

import json
import re
from urllib.parse import quote

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from paystar_async.credentials import Credentials
from paystar_async.endpoint import Endpoint
from paystar_async.errors import (
    BY_STATUS,
    InvalidInput,
    InvalidResponse,
    InvalidToken,
    StatusError,
    Unauthenticated,
    UpstreamError,
)
from paystar_async.errors.base import MAX_FIELDS_SHOWN
from paystar_async.models.identity import Match
from paystar_async.models.transfers import Settlement, TransferStatus
from paystar_async.response import Response
from paystar_async.transport.decoder import MAX_KEYS, ResponseDecoder
from paystar_async.transport.refusal import MAX_FIELDS, MAX_MESSAGES
from paystar_async.values.secret import Secret
from tests.transport.endpoint_requests import (
    APPLICATION,
    CALLS,
    CREDENTIALS,
    KEY,
    decode,
    envelope,
    example_request,
    hmac_sha512,
    make_request,
)

CARD, IBAN, NATIONAL_ID = "6037990000000006", "IR110170000000123456789001", "0012345679"


@pytest.mark.parametrize("status", [1, "1", "ok", "OK", " ok "])
@pytest.mark.parametrize("http_status", [200, 201, 400, 404, 500])
def test_decode_success_ignores_http_status(status: object, http_status: int) -> None:
    body = envelope(status, {"is_matched": True}, "Request succeeded")
    response = decode("identity.match_mobile", body, http_status, {"date": "today"})

    assert response == Response(
        value=Match(is_matched=True),
        status=1 if status in (1, "1") else "ok",
        message="Request succeeded",
        http_status=http_status,
        headers={"date": "today"},
        body=body,
    )


def test_decode_single_transfer_reads_as_list() -> None:
    fields = {
        "hashid": "1j18r",
        "track_id": "t",
        "status": "pending",
        "message": "…",
        "ref_code": "bank_ref",
        "fee": 5,
    }
    single = decode("transfers.settle", envelope("ok", fields)).value
    list_of_one = decode("transfers.settle", envelope("ok", [fields])).value

    assert (
        single
        == list_of_one
        == [
            Settlement(
                hashid="1j18r",
                track_id="t",
                status=TransferStatus.PENDING,
                message="…",
                ref_code="bank_ref",
                extra={"fee": 5},
            )
        ]
    )


def decode_error(endpoint: Endpoint | str, body: bytes, http_status: int = 400, **headers: str) -> StatusError:
    with pytest.raises(StatusError) as caught:
        decode(endpoint, body, http_status, headers)
    return caught.value


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("http_status", [200, 400])
def test_decode_status_is_its_error_class(status: int | str, http_status: int) -> None:
    error = decode_error("transfers.settle", envelope(status, None, "پیام"), http_status)

    assert type(error) is BY_STATUS[status]
    assert (error.status, error.message, error.http_status) == (status, "پیام", http_status)
    assert (error.endpoint, error.fields) == ("transfers.settle", {})
    assert error.executed == type(error).executed


@pytest.mark.parametrize("status", [status for status in BY_STATUS if isinstance(status, int)])
def test_decode_numeric_text_status_is_the_same_class(status: int) -> None:
    assert type(decode_error("gateway.verify", envelope(str(status)))) is BY_STATUS[status]


@pytest.mark.parametrize("status", [-1, -2, -3, -4, -5, -6, -7, -8, -9, -16, -98, -99])
def test_decode_gateway_status_minus_100_is_the_same(status: int) -> None:
    error = decode_error("gateway.verify", envelope(status - 100))

    assert type(error) is BY_STATUS[status]
    assert error.status == status - 100


def test_decode_unauthenticated_ignores_other_keys() -> None:
    body = envelope("unauthenticated", [], "x", action="login", tag="auth", api_version=2)

    assert type(decode_error("gateway.create", body, 401)) is Unauthenticated
    assert type(decode_error("gateway.create", envelope("UNAUTHENTICATED"), 401)) is Unauthenticated


@pytest.mark.parametrize("status", [0, 10, 99, "error", None, ""])
def test_decode_invalid_access_message_is_invalid_token(status: object) -> None:
    error = decode_error("wallet.balance", envelope(status, None, " دسترسی نامعتبر "))

    assert type(error) is InvalidToken
    assert error.executed == "no"


@pytest.mark.parametrize("status", [2, 5, 9, 11, -1])
def test_decode_invalid_access_message_keeps_other_code(status: int) -> None:
    assert type(decode_error("wallet.balance", envelope(status, None, "دسترسی نامعتبر"))) is BY_STATUS[status]


@pytest.mark.parametrize("status", [14, -10, -100, -101 - 9, 99, "failed", 2**63, "x" * 500])
def test_decode_unknown_status_is_status_error(status: int | str) -> None:
    error = decode_error("transfers.settle", envelope(status, None, "?"))

    assert type(error) in (StatusError, BY_STATUS.get(-10))
    assert error.executed == "maybe"
    assert len(str(error.status)) <= 40


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"amount": ["too low", "not a number"]}, {"amount": ["too low", "not a number"]}),
        ({"amount": "too low"}, {"amount": ["too low"]}),
        ({"transfers.0.amount": ["too low"], "x": [], "y": [5], "z": {}}, {"transfers.0.amount": ["too low"]}),
        ([{"amount": ["too low"]}], {}),
        ("too low", {}),
        (None, {}),
    ],
)
def test_decode_field_errors_are_shown(data: object, fields: dict[str, list[str]]) -> None:
    error = decode_error("wallet.settle", envelope(10, data, "invalid"))

    assert type(error) is InvalidInput
    assert error.fields == fields
    assert all(f"{name}: {', '.join(texts)}" in str(error) for name, texts in fields.items())


@pytest.mark.parametrize(
    "body", [b'{"status": "ok", "data": {"hashid": "h-', b'[{"status": "ok"}]', b'{"a": 1, "a": 1}']
)
def test_decode_401_with_broken_envelope_may_be_executed(body: bytes) -> None:
    with pytest.raises(InvalidResponse) as caught:
        decode("transfers.settle", body, 401)

    assert caught.value.executed == "maybe"
    with pytest.raises(InvalidToken):
        decode("transfers.find", body, 401)


@pytest.mark.parametrize("body", [b"", b" [] ", b"<html>no</html>", b"Unauthorized", b'"no"'])
def test_decode_401_without_envelope_is_not_executed(body: bytes) -> None:
    with pytest.raises(InvalidToken) as caught:
        decode("transfers.settle", body, 401)

    assert caught.value.executed == "no"


@pytest.mark.parametrize("status", [3, 4, 9, 10, 13])
@pytest.mark.parametrize("transfer_status", ["pending", "success", "queued"])
def test_decode_refusal_with_transfer_is_maybe_executed(status: int, transfer_status: str) -> None:
    entry = {"hashid": "h-1", "track_id": "t-1", "status": transfer_status}

    assert decode_error("transfers.settle", envelope(status, entry)).executed == "maybe"
    assert decode_error("transfers.settle", envelope(status, [entry])).executed == "maybe"


@pytest.mark.parametrize(
    "data", [{"hashid": "h-1", "status": "failed"}, {"track_id": ["repeated"]}, {"status": "error"}, []]
)
def test_decode_refusal_without_transfer_is_not_executed(data: object) -> None:
    assert decode_error("transfers.settle", envelope(10, data)).executed == "no"


def test_decode_refusal_with_settlement_is_maybe_executed() -> None:
    assert decode_error("wallet.settle", envelope(10, {"created_settlements": [{"id": 5}]})).executed == "maybe"


def test_decode_data_of_refusal_is_not_shown() -> None:
    error = decode_error("gateway.create", envelope("odd", {"token": "secret-token", "order_id": "used before"}))

    assert error.fields == {"order_id": ["used before"]}
    assert "secret-token" not in str(error)


@pytest.mark.parametrize("status", [6037991899752346, -6037991899752346])
def test_decode_long_status_is_masked(status: int) -> None:
    error = decode_error("identity.match_mobile", envelope(status))

    assert str(abs(status)) not in f"{error!s} {error!r} {vars(error)}"


def test_decode_key_of_entry_is_not_shown() -> None:
    with pytest.raises(InvalidResponse) as caught:
        decode("transfers.find", envelope("ok", {"6037991899752346": "text"}))

    assert caught.value.path == "$.data[…]"


@pytest.mark.parametrize("http_status", [301, 307, 408, 429, 500, 502, 503, 504])
def test_decode_refusal_with_http_5xx_is_maybe_executed(http_status: int) -> None:
    assert decode_error("transfers.settle", envelope(10), http_status).executed == "maybe"


@pytest.mark.parametrize("http_status", [200, 400, 401, 403, 404, 409, 422, 451])
def test_decode_refusal_with_http_4xx_is_not_executed(http_status: int) -> None:
    assert decode_error("transfers.settle", envelope(10), http_status).executed == "no"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("-1", None),
        ("1.5", None),
        ("nan", None),
        ("99999999", None),
        ("٥", None),
        ("tomorrow", None),
        ("Wed, 21 Oct 1998 07:28:00 GMT", 0.0),
    ],
)
def test_decode_retry_after_is_read_from_header(header: str, seconds: float | None) -> None:
    assert decode_error("identity.match_mobile", envelope(11), 503, **{"retry-after": header}).retry_after == seconds
    with pytest.raises(InvalidResponse) as caught:
        decode("identity.match_mobile", b"", 503, {"retry-after": header})
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        (b"", "$", "an empty body"),
        (b" \n", "$", "an empty body"),
        (b"<html><body>502 Bad Gateway", "$", "an HTML page"),
        (b"  <!doctype html>", "$", "an HTML page"),
        (b'{"status": 1, "data": {"is_mat', "$", "not JSON"),
        (b'{"status": 0, "status": 1}', "$", "a name that occurs twice in one object"),
        (b'{"status": 1, "data": {"is_matched": true, "is_matched": true}}', "$", "a name that occurs twice"),
        (b'{"status": 18446744073709551616}', "$.status", "expected a status"),
        (b'{"status": NaN}', "$.status", "expected a status"),
        (b"[]", "$", "expected a JSON object"),
        (b"null", "$", "expected a JSON object"),
        (b'"ok"', "$", "expected a JSON object"),
        (b"{}", "$.status", "expected a status"),
        (b'{"status": null}', "$.status", "expected a status"),
        (b'{"status": true}', "$.status", "expected a status"),
        (b'{"status": 1.0}', "$.status", "expected a status"),
        (b'{"status": ""}', "$.status", "expected a status"),
        (b'{"status": [1]}', "$.status", "expected a status"),
        (b'{"status": 1}', "$.data", "expected an object, got null"),
        (b'{"status": 1, "data": {"is_matched": "false"}}', "$.data.is_matched", "expected true or false"),
        (b'{"status": 1, "data": {"is_matched": NaN}}', "$.data.is_matched", "expected true or false, got a number"),
    ],
)
@pytest.mark.parametrize("http_status", [200, 502])
def test_decode_invalid_body_is_refused_with_path(body: bytes, path: str, reason: str, http_status: int) -> None:
    with pytest.raises(InvalidResponse, match=re.escape(reason)) as caught:
        decode("identity.match_mobile", body, http_status)

    assert (caught.value.path, caught.value.http_status) == (path, http_status)
    assert f"(HTTP {http_status})" in str(caught.value)


class TestRedactor:
    """A server that echoes its request: no secret is shown in an error."""

    SECRET = 'canary/ "pass" = &é'

    def decoder(self) -> ResponseDecoder:
        return ResponseDecoder(Credentials(application=evolve(APPLICATION, access_password=self.SECRET)).secrets())

    def error_text(self, message: str, data: object = None) -> str:
        with pytest.raises(StatusError) as caught:
            self.decoder().decode(make_request(example_request("inquiry.iban")), 400, {}, envelope(10, data, message))
        return str(caught.value) + repr(caught.value.__dict__)

    @pytest.mark.parametrize(
        "form",
        [
            SECRET,
            quote(SECRET),
            quote(SECRET, safe=""),
            quote(SECRET).replace("%20", "+"),
            json.dumps(SECRET),
            json.dumps(SECRET, ensure_ascii=False),
            json.dumps(SECRET).replace("/", r"\/"),
            quote(SECRET, safe="").lower(),
            SECRET.upper(),
        ],
    )
    def test_decode_secret_is_hidden_in_any_spelling(self, form: str) -> None:
        text = self.error_text(f"got {form}!", {form: [form], "x": form})

        assert "got ***!" in text or 'got "***"!' in text
        assert "canary" not in text

    def test_decode_every_configured_secret_is_hidden(self) -> None:
        body = envelope(0, None, " ".join(secret.reveal() for secret in CREDENTIALS.secrets()))

        assert decode_error("gateway.create", body).message == " ".join(["***"] * 9)

    def test_decode_request_key_is_hidden(self) -> None:
        assert decode_error("gateway.create", envelope(0, None, f"Bearer {KEY.reveal()} x")).message == "Bearer *** x"

    def test_decode_text_is_hidden_once_used_as_key(self) -> None:
        decoder = self.decoder()

        def decode(key: Secret) -> str:
            body = envelope(1, {"is_matched": True}, "canary-key")
            return decoder.decode(make_request(example_request("identity.match_mobile"), key), 200, {}, body).message

        assert decode(KEY) == decode(KEY) == "canary-key"
        assert decode(Secret("canary-key")) == decode(KEY) == "***"
        for number in range(MAX_KEYS):
            decode(Secret(f"newer-key-{number}"))
        assert decode(KEY) == "canary-key"

    def test_decode_signature_is_hidden(self) -> None:
        sign = hmac_sha512("anything")

        assert (
            decode_error("gateway.create", envelope(0, None, f"sign={sign}&x={sign.upper()}")).message
            == "sign=***&x=***"
        )

    def test_decode_personal_numbers_are_masked(self) -> None:
        message = decode_error("identity.match_card", envelope(10, None, f"{CARD} {IBAN} {NATIONAL_ID}")).message

        assert message == "603799******0006 IR********************9001 ********79"

    def test_decode_long_text_is_cut_after_masking(self) -> None:
        secret = CREDENTIALS.secrets()[0].reveal()
        message = decode_error("gateway.create", envelope(0, None, "x" * 996 + secret)).message

        assert message == "x" * 996 + "***"
        assert len(decode_error("gateway.create", envelope(0, None, "x" * 10**6)).message) == 1_000

    def test_decode_secret_in_status_is_hidden(self) -> None:
        assert decode_error("gateway.create", envelope(f"word {KEY.reveal()}")).status == "word ***"

    def test_decode_success_message_is_masked(self) -> None:
        response = decode("identity.match_mobile", envelope(1, {"is_matched": True}, f"{KEY.reveal()} {CARD}"))

        assert response.message == "*** 603799******0006"


NAMES = st.sampled_from(
    [
        "is_matched",
        "status",
        "price",
        "token",
        "ref_num",
        "balance",
        "total_amount",
        "api_key",
        "owners",
        "extra",
        "data",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["ok", "1"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))
ENVELOPES = st.builds(
    envelope,
    st.sampled_from([1, "ok", "1", 0, 4, 10, 11, -6, -106, "unauthenticated"]) | LEAVES,
    LEAVES,
    JSON,
)


@settings(max_examples=300)
@given(st.sampled_from(CALLS), st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | ENVELOPES)
def test_decode_any_body_is_response_or_paystar_error(endpoint: Endpoint, body: bytes) -> None:
    path, status, succeeded = "$", None, False
    try:
        status = decode(endpoint, body).status
        succeeded = True
    except InvalidResponse as error:
        path = error.path
    except StatusError as error:
        status = error.status
    assert re.fullmatch(r"\$(\.[a-z_]+|\[[0-9]+\])*", path)
    assert (status in (1, "ok")) is succeeded


def test_decode_upstream_error_is_maybe_executed() -> None:
    assert decode_error("transfers.settle", envelope(11)).executed == "maybe"
    assert type(decode_error("transfers.settle", envelope("11"))) is UpstreamError


def test_decode_without_secrets_works() -> None:
    decoder = ResponseDecoder(Credentials().secrets())

    with pytest.raises(StatusError, match="internal"):
        decoder.decode(make_request(example_request("inquiry.iban"), None), 200, {}, envelope(0, None, "internal"))


@pytest.mark.parametrize(("http_status", "text"), [(403, "address"), (404, "end in /api"), (429, "fewer")])
def test_decode_http_status_without_envelope_is_explained(http_status: int, text: str) -> None:
    with pytest.raises(InvalidResponse, match=text):
        ResponseDecoder(CREDENTIALS.secrets()).decode(
            make_request(example_request("transfers.find")), http_status, {}, b"Not Found"
        )


def test_decode_byte_order_mark_and_odd_message_are_read() -> None:
    for message in (b'{"a": [NaN]}', b"[]", b"1e999", rb'"\ud800"', b"null"):
        body = b'\xef\xbb\xbf{"status": 1, "message": ' + message + b', "data": {"is_matched": true, "x": NaN}}'

        assert decode("identity.match_mobile", body).value.is_matched is True


FRAMEWORK_BODIES: list[tuple[dict[str, object], str, dict[str, list[str]]]] = [
    (
        {"message": "The data was invalid.", "errors": {"amount": ["too low"]}},
        "The data was invalid.",
        {"amount": ["too low"]},
    ),
    ({"error": "Forbidden"}, "Forbidden", {}),
    ({"error": {"message": "no such thing", "code": 5}}, "no such thing", {}),
    ({"detail": "Not Found"}, "Not Found", {}),
    ({"detail": [{"loc": ["body", "amount"], "msg": "too low"}], "title": "bad"}, "bad", {"body.amount": ["too low"]}),
    ({"status": None, "message": ["first", "second"], "errors": 5}, "first; second", {}),
    ({"message": "x\x1b[2J\nthe-key\u202e"}, "x [2J ***", {}),
]


@pytest.mark.parametrize(("body", "message", "fields"), FRAMEWORK_BODIES)
@pytest.mark.parametrize("http_status", [403, 404, 413, 422])
def test_decode_framework_refusal_shows_message_and_fields(
    body: dict[str, object], message: str, fields: dict[str, list[str]], http_status: int
) -> None:
    error = decode_error("transfers.settle", json.dumps(body).encode(), http_status)

    assert type(error) is StatusError
    assert error.message.startswith(message)
    assert (error.fields, error.status, error.executed) == (fields, http_status, "maybe")


@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'{"message": "Unauthenticated."}', envelope("error")])
@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [("transfers.settle", InvalidToken), ("wallet.balance", InvalidToken), ("gateway.verify", Unauthenticated)],
)
def test_decode_http_401_is_a_refused_key(endpoint: str, kind: type[StatusError], body: bytes) -> None:
    error = decode_error(endpoint, body, 401)

    assert (type(error), error.executed, error.http_status) == (kind, "no", 401)


@pytest.mark.parametrize("body", [envelope(0), envelope(9)])
def test_decode_http_401_with_known_status_is_that_status(body: bytes) -> None:
    assert type(decode_error("transfers.settle", body, 401)) is not InvalidToken


def test_decode_http_401_of_success_is_no_refusal() -> None:
    with pytest.raises(InvalidResponse):
        decode("transfers.settle", envelope("ok", "?"), 401)


@pytest.mark.parametrize("body", [b'{"message": "Server Error"}', b'{"error": "x"}'])
@pytest.mark.parametrize("http_status", [200, 302, 500, 503])
def test_decode_body_without_status_is_unreadable(body: bytes, http_status: int) -> None:
    with pytest.raises(InvalidResponse):
        decode("transfers.settle", body, http_status)


def test_decode_many_refused_fields_keeps_some() -> None:
    data = {f"field{number}": ["wrong"] * 9 for number in range(2000)}

    error = decode_error("transfers.find", envelope(10, data, "no"))

    assert len(error.fields) == MAX_FIELDS
    assert {len(texts) for texts in error.fields.values()} == {MAX_MESSAGES}
    assert len(str(error)) < 1000
    assert f"and {MAX_FIELDS - MAX_FIELDS_SHOWN} more fields" in str(error)


HOSTILE = "\x1b[31mred\x07 \u202egnol\u2066 a\u200bb\x85next\r\nline \x9b2J\u2028"


def test_decode_server_texts_hold_no_control_characters() -> None:
    error = decode_error("transfers.find", envelope(HOSTILE, {HOSTILE: [HOSTILE]}, HOSTILE))

    for text in (str(error), str(error.status), error.message, *error.fields, *error.fields[next(iter(error.fields))]):
        assert text.replace("\u200c", "").isprintable(), text


def test_decode_persian_text_is_shown_as_written() -> None:
    text = "کاربر نمی\u200cتواند"

    assert decode_error("transfers.find", envelope(10, None, text)).message == text


@pytest.mark.parametrize("mark", ["\u200b", "\u202e", "\xad"])
def test_decode_secret_with_a_mark_inside_is_hidden(mark: str) -> None:
    key = KEY.reveal()
    message = f"bad key {key[:3]}{mark}{key[3:]}!"

    assert decode_error("transfers.find", envelope(10, None, message)).message == "bad key ***!"
