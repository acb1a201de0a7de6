"""The callback in every framework: payers are redirected, and invalid requests are a page and a log line."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlencode

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paystar_async import Paystar
from paystar_async.conform import ShapeRecorder
from paystar_async.contrib import _callback as callback_module
from paystar_async.contrib._callback import MAX_FIELDS, MAX_FORM_BYTES, NoPayment, confirm_request
from paystar_async.errors import InvalidValue
from paystar_async.payments import Cancelled, Declined, Expired, PaymentOutcome, Undecided, Verified
from tests.contrib.shops import FRAMEWORKS, BrowserResponse, Shop, Visit

FORM = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": 'multipart/form-data; boundary="a b"'}
CARD = "6037991234567890"

logger = logging.getLogger("paystar_async")


@pytest.fixture(params=["orders stored by the SDK", "orders stored by the shop"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    recorder = ShapeRecorder(tmp_path / "shapes.jsonl")
    return Shop(database=tmp_path / "orders.db" if "SDK" in request.param else None, middleware=[recorder])


@pytest.fixture(params=FRAMEWORKS)
async def visit(request: pytest.FixtureRequest, shop: Shop) -> AsyncIterator[Visit]:
    await shop.start_orders("ORD-1")
    async with FRAMEWORKS[request.param](shop) as visit:
        yield visit


async def come_back(visit: Visit, method: str, fields: Any) -> BrowserResponse:
    text = urlencode(fields, doseq=True)
    if method == "multipart":
        return await visit("POST", "/pay/callback", encode_multipart(fields), MULTIPART)
    if method == "GET":
        return await visit("GET", f"/pay/callback?{text}")
    return await visit("POST", "/pay/callback", text.encode(), FORM)


def encode_multipart(fields: Mapping[str, str | list[str]], *, file: bytes | None = None) -> bytes:
    """Return a multipart form as test clients of web frameworks send it, with a file if one is given."""
    parts = [(name, each) for name, value in fields.items() for each in ([value] if isinstance(value, str) else value)]
    texts = [f'--a b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts]
    head = b'--a b\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name="order_id"; filename="a"\r\n\r\n'
    attached = b"" if file is None else head + file + b"\r\n"
    return "".join(texts).encode(errors="surrogatepass") + attached + b"--a b--\r\n"


CLIENT = Paystar()


class Lines(logging.Handler):
    """The log lines within a ``with``."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logger.addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        logger.removeHandler(self)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about callbacks."""
    return [record.getMessage() for record in caplog.records if "a callback" in record.getMessage()]


# --- a payer comes back -----------------------------------------------------------------------------------------------

# A shop that stores its orders has only the callback, which reports every failure as a cancellation.
OUTCOMES: dict[str, tuple[type[PaymentOutcome], ...]] = {
    "pay": (Verified,),
    "cancel": (Cancelled,),
    "fail": (Cancelled, Declined),
    "expire": (Expired,),
}


@pytest.mark.parametrize("choice", OUTCOMES)
@pytest.mark.parametrize("method", ["GET", "POST", "multipart"])
async def test_callback_payer_is_redirected(
    visit: Visit, shop: Shop, method: str, choice: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "paystar_async")
    response = await come_back(visit, method, await shop.pay(choice))

    assert response.status == 303
    assert response.headers["location"] == "/orders/ORD-1"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    (payment,) = shop.received
    assert isinstance(payment.outcome, OUTCOMES[choice])
    assert lines(caplog) == [f"payments: a callback for order 'ORD-1': {type(payment.outcome).__name__}"]


# --- a callback is recorded -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_callback_of_seen_payment_is_recorded(method: str, visit: Visit, shop: Shop, tmp_path: Path) -> None:
    fields = {**await shop.pay(order_id="ORD-seen"), "user_name": CARD, "kanari": "kanari"}

    for query in (fields, fields | {"ref_num": "kanari"}, fields):
        await come_back(visit, method, query)

    text = (tmp_path / "shapes.jsonl").read_text("utf-8")
    (record,) = [record for record in map(json.loads, text.splitlines()) if record["endpoint"] == "gateway.callback"]
    assert record["facts"] == {"method": method, "default": "yes"}
    assert record["times"] == 1, "anyone can send a callback: one of each payment is recorded"
    assert record["shape"]["card_number"] == "text:masked_card:9-16"
    assert record["shape"]["…"] == "unknown"
    assert [value for value in (*fields.values(), "kanari") if len(value) > 3 and value in text] == []


async def test_callback_that_is_unreadable_is_recorded(visit: Visit, shop: Shop, tmp_path: Path) -> None:
    fields = await shop.pay()
    del fields["order_id"]

    assert (await come_back(visit, "GET", fields)).status == 400
    assert '"endpoint":"gateway.callback"' in (tmp_path / "shapes.jsonl").read_text("utf-8")


async def test_callback_is_confirmed_if_recording_fails(
    visit: Visit, shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = await shop.pay()
    monkeypatch.setattr("paystar_async.conform.recorder.shape_of", Mock(side_effect=ZeroDivisionError))

    assert (await come_back(visit, "GET", fields)).status == 303
    assert isinstance(shop.received[0].outcome, Verified)
    assert "shapes are no longer recorded: ZeroDivisionError" in caplog.messages


# --- how a callback is read -------------------------------------------------------------------------------------------


async def test_callback_form_goes_before_query(visit: Visit, shop: Shop) -> None:
    body = urlencode(await shop.pay()).encode()

    response = await visit("POST", "/pay/callback?status=new&lang=fa", body, FORM)

    assert response.status == 303
    assert isinstance(shop.received[0].outcome, Verified)


async def test_callback_post_with_query_only_is_read(visit: Visit, shop: Shop) -> None:
    response = await visit("POST", f"/pay/callback?{urlencode(await shop.pay())}")

    assert response.status == 303
    assert isinstance(shop.received[0].outcome, Verified)


async def test_callback_unknown_fields_are_ignored(visit: Visit, shop: Shop) -> None:
    fields = {**await shop.pay(), "utm_source": "x", "؟": "\x00\ufffe"}

    assert (await come_back(visit, "POST", fields)).status == 303
    assert isinstance(shop.received[0].outcome, Verified)


async def test_callback_repeated_has_same_response(visit: Visit, shop: Shop) -> None:
    fields = await shop.pay()

    assert [(await come_back(visit, method, fields)).status for method in ("GET", "POST")] == [303, 303]
    assert [type(payment.outcome) for payment in shop.received] == [Verified, Verified]


async def test_callback_persian_location_is_percent_encoded(visit: Visit, shop: Shop) -> None:
    shop.response = "/سفارش?a=b\r\nset-cookie: c=d"
    response = await come_back(visit, "POST", await shop.pay())

    assert response.status == 303
    assert response.headers["location"].startswith("/%D8%B3%D9%81%D8%A7%D8%B1%D8%B4?a=b")
    assert "set-cookie" not in response.headers


async def test_callback_handler_returning_none_shows_page(visit: Visit, shop: Shop) -> None:
    shop.response = None
    response = await come_back(visit, "GET", await shop.pay())

    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "The payment was made" in response.text
    assert 'dir="rtl"' in response.text


# --- an invalid callback ----------------------------------------------------------------------------------------------

GOOD = {"status": "1", "order_id": "ORD-1", "ref_num": "r-1", "transaction_id": "7"}
BAD: dict[str, Any] = {
    "nothing at all": {},
    "no order": {"status": "1", "ref_num": "r-1"},
    "no ref_num": {"status": "1", "order_id": "ORD-1"},
    "no status": {"order_id": "ORD-1", "ref_num": "r-1"},
    "an empty order": GOOD | {"order_id": ""},
    "two different orders": GOOD | {"order_id": ["ORD-1", "ORD-2"]},
    "two different statuses": GOOD | {"status": ["-98", "1"]},
    "an endless field": GOOD | {"ref_num": "r" * 600},
    "a line break": GOOD | {"order_id": "ORD-1\r\nset-cookie: a=b"},
    "half a surrogate pair and NUL": GOOD | {"ref_num": "\x00"},
    "a whole card number": GOOD | {"card_number": CARD},
    "fields without end": GOOD | {f"f{n}": "1" for n in range(MAX_FIELDS)},
    "an unknown order": GOOD | {"order_id": "ORD-9"},
    "a national id for an order": GOOD | {"order_id": "0012345679"},
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
@pytest.mark.parametrize("method", ["GET", "POST", "multipart"])
async def test_callback_invalid_is_400_and_one_log_line(
    visit: Visit, shop: Shop, method: str, fields: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "paystar_async")
    response = await come_back(visit, method, fields)

    assert response.status == 400
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "Nothing was changed" in response.text
    assert not shop.received
    assert len(lines(caplog)) == 1
    assert "refused: " in lines(caplog)[0]
    texts = response.text + caplog.text
    assert not [value for value in (CARD, "0012345679", "set-cookie", "rrrrr") if value in texts]
    assert "\n" not in lines(caplog)[0]


@pytest.mark.parametrize("method", ["GET", "POST", "multipart"])
async def test_callback_oversized_is_400(visit: Visit, shop: Shop, method: str) -> None:
    # aiohttp itself refuses an address of this length.
    assert (await come_back(visit, method, {**await shop.pay(), "more": "x" * MAX_FORM_BYTES})).status == 400
    assert not shop.received


async def test_callback_multipart_file_is_no_field(visit: Visit, shop: Shop) -> None:
    body = encode_multipart(await shop.pay(), file=b"ORD-2")

    assert (await visit("POST", "/pay/callback", body, MULTIPART)).status == 303
    assert isinstance(shop.received[0].outcome, Verified)


async def test_confirm_request_reads_bounded_body() -> None:
    read: list[int] = []

    async def long() -> AsyncIterator[bytes]:
        for _ in range(100):
            read.append(1024)
            yield b"a" * 1024

    with pytest.raises(NoPayment):
        await confirm_request(Shop().client(), method="POST", query=b"", body=long())
    assert sum(read) == MAX_FORM_BYTES + 1024


NAMES = st.sampled_from(["status", "order_id", "ref_num", "card_number", "tracking_code", "x"])
PAIRS = st.lists(st.tuples(NAMES, st.text(max_size=30) | st.sampled_from(["1", "-98", "ORD-1"])), max_size=8)
RAW = (
    st.binary(max_size=200)
    | PAIRS.map(lambda pairs: urlencode(pairs, errors="surrogatepass").encode())
    | PAIRS.map(lambda pairs: encode_multipart(dict(pairs)))
)
CONTENT_TYPES = ["", *FORM.values(), *MULTIPART.values(), "multipart/form-data; boundary*0*=utf-8''a%20", "?;"]


@given(query=RAW, chunks=st.lists(RAW, max_size=3) | st.none(), content_type=st.sampled_from(CONTENT_TYPES))
def test_confirm_request_any_bytes_are_400_and_one_log_line(
    query: bytes, chunks: list[bytes] | None, content_type: str
) -> None:
    async def body(pieces: list[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def confirm() -> None:
        form = None if chunks is None else body(chunks)
        with pytest.raises(NoPayment) as refused:
            await confirm_request(
                CLIENT,
                method="POST",
                query=query,
                content_type=content_type,
                body=form,
                amount_of={"ORD-2": 50_000}.get,
            )
        assert refused.value.page.status == 400

    with Lines() as lines:
        asyncio.run(confirm())
    assert len(lines) == 1
    assert lines[0].isprintable()


BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "JSON": (b'{"status": "1"}', {"content-type": "application/json"}),
    "half a multipart form": (b"--x\r\n", {"content-type": "multipart/form-data; boundary=x"}),
    "a multipart form cut off": (encode_multipart(GOOD).removesuffix(b"--\r\n"), MULTIPART),
    "a multipart form without boundary": (encode_multipart(GOOD), {"content-type": "multipart/form-data"}),
    "a multipart form of no names": (encode_multipart(GOOD).replace(b"name=", b"n="), MULTIPART),
    "a multipart form of another kind": (encode_multipart(GOOD), {"content-type": "multipart/mixed; boundary=a"}),
    "no content type": (b"\xff\xfe\x00", {}),
    "bytes that are no text": (b"status=%ff%fe&order_id=\xff&ref_num=%c3", FORM),
    "a body without end": (b"a" * (MAX_FORM_BYTES + 1), FORM),
}


@pytest.mark.parametrize(("body", "headers"), BODIES.values(), ids=BODIES)
async def test_callback_other_body_than_form_is_400(
    visit: Visit, shop: Shop, body: bytes, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert (await visit("POST", "/pay/callback", body, headers)).status == 400
    assert not shop.received
    assert len(lines(caplog)) == 1


# --- a forged callback -----------------------------------------------------------------------------------------------


async def test_callback_other_orders_payment_is_declined(visit: Visit, shop: Shop) -> None:
    other_payment = await shop.pay(order_id="ORD-2")

    assert (await come_back(visit, "POST", {**other_payment, "order_id": "ORD-1"})).status == 303
    assert isinstance(shop.received[0].outcome, Declined)


async def test_callback_forged_is_declined(visit: Visit, shop: Shop) -> None:
    assert (await come_back(visit, "POST", GOOD)).status == 303
    assert isinstance(shop.received[0].outcome, Declined)


# --- Paystar or the shop fails ---------------------------------------------------------------------------------------


async def test_callback_without_gateway_response_is_503(visit: Visit, shop: Shop) -> None:
    fields = await shop.pay()
    shop.response = None
    for endpoint in ("gateway.verify", "gateway.inquiry"):
        shop.sandbox.fail(endpoint, "server_error")

    response = await come_back(visit, "POST", fields)

    assert response.status == 503
    assert "Nothing is lost" in response.text
    assert isinstance(shop.received[0].outcome, Undecided)


async def test_callback_refused_merchant_is_503_and_logged(
    visit: Visit, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    fields = await shop.pay()
    shop.sandbox.fail("gateway.verify", "ip")

    response = await come_back(visit, "POST", fields)

    assert response.status == 503
    assert "Nothing is lost" in response.text
    assert not shop.received
    assert "IP" not in response.text
    assert "a callback for order 'ORD-1' cannot be decided" in lines(caplog)[0]


WRONG_AMOUNTS: dict[str, Any] = {
    "decimal": Decimal(50_000),
    "float": 50_000.0,
    "text": "50000",
    "bool": True,
    "negative": -50_000,
    "below the least": 500,
}


@pytest.mark.parametrize("amount", WRONG_AMOUNTS.values(), ids=WRONG_AMOUNTS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_callback_wrong_amount_of_result_is_503(
    framework: str, amount: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    fields = await shop.pay()
    shop.orders["ORD-1"] = amount
    async with FRAMEWORKS[framework](shop) as visit:
        refused = await come_back(visit, "POST", fields)
        shop.orders["ORD-1"] = 50_000
        accepted = await come_back(visit, "POST", fields)

    assert (refused.status, accepted.status) == (503, 303)
    assert "Your payment is safe" in refused.text
    assert [record.levelname for record in caplog.records if record.name == "paystar_async"] == ["ERROR"]
    assert "amount_of(order_id): expected whole Rial" in caplog.text
    assert isinstance(shop.received[0].outcome, Verified)


async def test_callback_raising_amount_of_is_503(caplog: pytest.LogCaptureFixture) -> None:
    def amount_of(order_id: str) -> int:
        raise KeyError("the shop's own")

    with pytest.raises(NoPayment) as refused:
        await confirm_request(CLIENT, method="GET", query=urlencode(GOOD).encode(), amount_of=amount_of)

    assert refused.value.page.status == 503
    assert "KeyError" in caplog.messages[0]
    assert caplog.records[0].exc_info is not None


async def test_callback_hanging_amount_of_is_503(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callback_module, "AMOUNT_OF_TIMEOUT_SECONDS", 0.0)

    async def amount_of(order_id: str) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    with anyio.fail_after(5), pytest.raises(NoPayment) as refused:
        await confirm_request(CLIENT, method="GET", query=urlencode(GOOD).encode(), amount_of=amount_of)

    assert refused.value.page.status == 503
    assert "TimeoutError" in caplog.messages[0]


FAILURES: dict[str, Any] = {
    "exception": RuntimeError("the shop's own"),
    "error of the SDK": InvalidValue("order_id", expected="x", got="y"),
    "no address": 303,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_callback_failing_handler_is_503_then_verified(
    visit: Visit, shop: Shop, method: str, failure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fields = await shop.pay()
    shop.response = failure
    failed = await come_back(visit, method, fields)
    shop.response = "/orders"

    assert (failed.status, failed.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "Your payment is safe" in failed.text
    assert [record.levelname for record in caplog.records if "on_payment" in record.getMessage()] == ["ERROR"]
    assert (await come_back(visit, method, fields)).status == 303
    assert [type(payment.outcome) for payment in shop.received] == [Verified, Verified]


# --- errors in other routes -------------------------------------------------------------------------------------------


async def test_error_response_in_frameworks_hides_details(
    visit: Visit, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    response = await visit("GET", "/balance")

    assert response.status == 500
    assert response.headers["content-type"].startswith("application/json")
    assert '"executed":"no"' in response.text.replace(" ", "")
    assert "PAYSTAR_APPLICATION_ID" not in response.text
    assert "PAYSTAR_APPLICATION_ID" in caplog.text


async def test_callback_put_is_405(visit: Visit) -> None:
    assert (await visit("PUT", "/pay/callback")).status == 405
