"""``start``: storing an order and creating its payment page."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from paystar_async import Allotment, Paystar
from paystar_async.errors import (
    AboveCeiling,
    ConfigurationError,
    InvalidResponse,
    InvalidValue,
    NoResponse,
    NotSent,
    OrderConflict,
    OrderPaid,
    StorageError,
)
from paystar_async.payments import Verified
from paystar_async.payments.models import OrderStatus
from paystar_async.payments.order_store import OrderStore
from tests.payments.shop import AMOUNT, CALLBACK_URL, Shop, open_shop, token_of
from tests.support import GATEWAY, Engine, client, in_turn, ok, refused


def read_files(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.iterdir())


async def test_start_stores_order_and_returns_page(shop: Shop) -> None:
    started = await shop.start()

    assert started.url == f"https://core.paystar.ir/api/pardakht/payment?token={token_of(started)}"
    assert (started.order_id, started.amount, started.payment_amount) == ("o-1", AMOUNT, AMOUNT)
    order = await shop.order()
    assert (order.amount, order.state, order.created_at) == (AMOUNT, OrderStatus.OPEN, shop.clock.time())
    assert [attempt.ref_num for attempt in order.attempts] == [started.ref_num]


async def test_start_stores_order_before_request(tmp_path: Path) -> None:
    orders: list[Any] = []

    async def find_order(_: Any) -> Any:
        orders.append(await paystar.payments.find(order_id="o-1"))
        return ok({"token": "t", "ref_num": "ref-1", "order_id": "o-1"})

    async with client(Engine(find_order), database=tmp_path / "p.db") as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)

    assert orders[0].amount == AMOUNT
    assert orders[0].attempts == ()


async def test_start_passes_all_fields_to_create(tmp_path: Path) -> None:
    engine = Engine(in_turn(ok({"token": "t", "ref_num": "ref-1", "payment_amount": AMOUNT + 1200})))
    options: dict[str, Any] = {
        "name": "Ali", "phone": "09121234567", "mail": "a@b.c", "description": "books", "callback_method": 2,
        "wallet_hashid": "w", "national_code": "0012345679", "card_number": "6037990000000006", "referer_id": "r",
    }  # fmt: skip
    parts = [Allotment(id=1, sheba_id="s-1", share=60), Allotment(id=2, sheba_id="s-2", share=40)]

    async with client(engine, database=tmp_path / "p.db") as paystar:
        started = await paystar.payments.start(
            amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL, allotment=parts, timeout=7.0, **options
        )

    sent = engine.sent[0].fields
    assert {name: sent[name] for name in options} == options
    assert [part["share"] for part in sent["allotment"]] == [60, 40]
    assert engine.sent[0].timeout <= 7.0
    assert started.payment_amount == AMOUNT + 1200


async def test_start_again_sends_its_own_extra_and_stores_none(tmp_path: Path) -> None:
    engine = Engine(in_turn(*(ok({"token": "t", "ref_num": f"ref-{number}"}) for number in (1, 2, 3))))

    async with client(engine, database=tmp_path / "p.db") as paystar:
        for extra in ({"products": [{"id": "canary-1"}]}, {"first_name": "canary-2"}, {}):
            await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL, extra=extra)

    created = [request.fields for request in engine.sent if request.path.endswith("/create")]
    assert [fields.get("products") for fields in created] == [[{"id": "canary-1"}], None, None]
    assert [fields.get("first_name") for fields in created] == [None, "canary-2", None]
    assert b"canary" not in read_files(tmp_path)


async def test_start_extra_with_known_name_sends_nothing(shop: Shop) -> None:
    with pytest.raises(InvalidValue, match=r"^extra\.amount: .*pass this field as amount="):
        await shop.start(extra={"amount": 1})

    assert shop.request_counts == {}


async def test_start_stores_no_personal_data_and_no_key(tmp_path: Path) -> None:
    person = {
        "name": "Ali Ahmadi", "phone": "09121234567", "national_code": "0012345679", "card_number": "6037990000000006"
    }  # fmt: skip
    async with open_shop(tmp_path / "p.db") as shop:
        started = await shop.start(**person)
        await shop.confirm(shop.pay(started))

    stored_bytes = read_files(tmp_path)
    assert started.ref_num.encode() in stored_bytes
    for text in (*person.values(), token_of(started), shop.gateway.id.reveal()):
        assert text.encode() not in stored_bytes


@pytest.mark.parametrize(
    "invalid_value",
    [
        {"callback": f"{CALLBACK_URL}?order_id=45"},
        {"callback": f"{CALLBACK_URL}#top"},
        {"order_id": " o-1"},
        {"order_id": "o-1 "},
    ],
)
async def test_start_ambiguous_return_stores_and_sends_nothing(shop: Shop, invalid_value: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=f"^{next(iter(invalid_value))}: "):
        await shop.start(**invalid_value)

    assert await shop.paystar.payments.find(order_id="o-1") is None
    assert shop.request_counts == {}


# --- orders that are started again ------------------------------------------------------------------------------------


async def test_start_again_returns_second_page(shop: Shop) -> None:
    for pick in (0, 1):
        order_id = f"o-{pick}"
        pages = [await shop.start(order_id), await shop.start(order_id)]
        assert pages[0].ref_num != pages[1].ref_num

        payment = await shop.confirm(shop.pay(pages[pick]))

        assert isinstance(payment.outcome, Verified)
        assert payment.ref_num == pages[pick].ref_num
        assert len((await shop.order(order_id)).attempts) == 2


async def test_start_concurrently_is_one_order_with_two_pages(shop: Shop) -> None:
    first, second = await asyncio.gather(shop.start(), shop.start())

    order = await shop.order()
    assert {attempt.ref_num for attempt in order.attempts} == {first.ref_num, second.ref_num}


async def test_start_two_paid_pages_verify_one(shop: Shop) -> None:
    pages = [await shop.start(), await shop.start()]
    callbacks = [shop.pay(page) for page in pages]

    payments = await asyncio.gather(*[shop.confirm(callback) for callback in callbacks])

    assert len(shop.fulfilled) == 1
    assert shop.request_counts["verify"] == 1
    unverified = next(payment for payment in payments if not isinstance(payment.outcome, Verified))
    second = await shop.confirm(callbacks[payments.index(unverified)])
    assert "another payment" in second.outcome.reason  # type: ignore[union-attr]  # pyright: ignore
    assert shop.request_counts["verify"] == 1


async def test_start_other_amount_is_conflict(shop: Shop) -> None:
    await shop.start()

    with pytest.raises(OrderConflict, match="50000 Rial") as refusal:
        await shop.start(amount=AMOUNT * 10)

    assert isinstance(refusal.value, InvalidValue)
    assert (refusal.value.field, refusal.value.executed) == ("amount", "no")
    assert shop.request_counts["create"] == 1
    assert (await shop.order()).amount == AMOUNT


async def test_start_paid_order_is_refused(shop: Shop) -> None:
    await shop.confirm(shop.pay(await shop.start()))

    with pytest.raises(OrderPaid):
        await shop.start()

    assert shop.request_counts["create"] == 1


async def test_start_paid_without_callback_is_refused(shop: Shop) -> None:
    shop.pay(await shop.start())

    with pytest.raises(OrderPaid):
        await shop.start()

    assert shop.request_counts == {"create": 1, "inquiry": 1, "verify": 1}
    assert len(shop.fulfilled) == 1


async def test_start_ended_order_is_started_again(shop: Shop) -> None:
    for choice in ("cancel", "fail", "expire"):
        await shop.confirm(shop.pay(await shop.start(), choice))
        assert (await shop.order()).state is not OrderStatus.OPEN

    started = await shop.start()
    assert (await shop.order()).state is OrderStatus.OPEN
    assert isinstance((await shop.confirm(shop.pay(started))).outcome, Verified)


async def test_start_separates_gateways(shop: Shop) -> None:
    await shop.confirm(shop.pay(await shop.start()))
    other = client(Engine(in_turn(ok({"token": "t", "ref_num": "ref-1"}))), gateway=GATEWAY, database=shop.path)

    started = await other.payments.start(amount=AMOUNT * 2, order_id="o-1", callback=CALLBACK_URL)

    assert started.ref_num == "ref-1"
    await other.aclose()


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "server_error", "truncated", "html", "status_0"])
async def test_start_after_lost_create_succeeds(shop: Shop, kind: str) -> None:
    shop.sandbox.fail("gateway.create", kind, times=1)

    with pytest.raises(Exception, match="start the order again") as failure:
        await shop.start()

    assert getattr(failure.value, "executed", None) == "maybe"
    assert (await shop.order()).attempts == ()
    assert isinstance((await shop.confirm(shop.pay(await shop.start()))).outcome, Verified)


async def test_start_after_unsent_create_succeeds(shop: Shop) -> None:
    shop.sandbox.fail("gateway.create", "refused", times=1)

    with pytest.raises(NotSent):
        await shop.start()

    await shop.start()


async def test_start_refusal_of_gateway_is_raised(shop: Shop) -> None:
    shop.sandbox.settings.gateway_ceiling = 10_000

    with pytest.raises(AboveCeiling):
        await shop.start()


@pytest.mark.parametrize(
    ("field", "value"), [("amount", 4_999), ("amount", 50_000.0), ("order_id", ""), ("callback", "/back")]
)
async def test_start_invalid_value_stores_nothing(shop: Shop, field: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=field):
        await shop.start(**{field: value})

    assert shop.request_counts == {}
    assert await shop.paystar.payments.find(order_id="o-1") is None


async def test_start_response_for_other_order_is_invalid(tmp_path: Path) -> None:
    responses = in_turn(
        ok({"token": "t", "ref_num": "ref-1", "order_id": "o-1"}),
        ok({"token": "t", "ref_num": "ref-1", "order_id": "o-2"}),
        ok({"token": "t", "ref_num": "ref-2", "order_id": "o-1"}),
    )
    async with client(Engine(responses), database=tmp_path / "p.db", max_retries=0) as paystar:
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        for order_id, field in (("o-2", "ref_num"), ("o-3", "order_id")):
            with pytest.raises(InvalidResponse, match=field) as failure:
                await paystar.payments.start(amount=AMOUNT, order_id=order_id, callback=CALLBACK_URL)
            assert "start the order again" in failure.value.hint

        for order_id in ("o-2", "o-3"):
            order = await paystar.payments.find(order_id=order_id)
            assert order is not None
            assert order.attempts == ()


async def test_start_failed_earlier_check_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    await shop.start()
    shop.sandbox.fail("gateway.inquiry", "status", status=-2, times=1)

    with caplog.at_level(logging.INFO, logger="paystar_async"):
        await shop.start()

    assert "cannot be checked" in caplog.text


async def test_start_order_paid_during_create_is_refused(shop: Shop) -> None:
    callback = shop.pay(await shop.start())
    create = shop.paystar.gateway.create

    async def create_slowly(**fields: Any) -> Any:
        created = await create(**fields)
        await shop.worker().payments.confirm(callback)
        return created

    shop.paystar.gateway.create = create_slowly  # type: ignore[method-assign]  # pyright: ignore
    shop.sandbox.fail("gateway.inquiry", "status", status=-2, times=1)

    with pytest.raises(OrderPaid):
        await shop.start()


async def test_start_store_failure_returns_no_page(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail_on_full_disk(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(OrderStore, "update", fail_on_full_disk)
    with pytest.raises(StorageError):
        await shop.start()

    monkeypatch.setattr(OrderStore, "get_or_create", fail_on_full_disk)
    with pytest.raises(StorageError):
        await shop.start("o-2")
    assert shop.request_counts["create"] == 1


async def test_start_without_database_names_setting() -> None:
    paystar = client(Engine(lambda _: ok()))
    for call in (
        paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL),
        paystar.payments.sweep(),
        paystar.payments.run(),
        paystar.payments.sweeping().__aenter__(),
    ):
        with pytest.raises(ConfigurationError, match=r"database=.*PAYSTAR_DATABASE"):
            await call


async def test_start_without_gateway_names_setting(tmp_path: Path) -> None:
    paystar = Paystar(database=tmp_path / "p.db")

    with pytest.raises(ConfigurationError, match="PAYSTAR_GATEWAY_ID"):
        await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)

    assert read_files(tmp_path) == b""


async def test_start_after_cancelled_start_succeeds(shop: Shop) -> None:
    for rounds in range(0, 200, 10):
        task = asyncio.create_task(shop.start(f"o-{rounds}"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        started = await shop.start(f"o-{rounds}")

        assert isinstance((await shop.confirm(shop.pay(started))).outcome, Verified)


async def test_start_token_with_url_signs_is_percent_encoded(tmp_path: Path) -> None:
    engine = Engine(in_turn(ok({"token": "a&b=c#d e", "ref_num": "ref-1"})))
    async with client(engine, database=tmp_path / "p.db") as paystar:
        started = await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)

    assert started.url.endswith("/payment?token=a%26b%3Dc%23d+e")
    assert 'value="a&amp;b=c#d e"' in started.form_html


async def test_started_payment_repr_shows_no_token(tmp_path: Path) -> None:
    engine = Engine(in_turn(ok({"token": "very-secret-token", "ref_num": "ref-1"}), refused(-1)))
    async with client(engine, database=tmp_path / "p.db") as paystar:
        started = await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)

    assert "very-secret-token" not in repr(started)


async def test_start_lost_create_has_its_own_hint(shop: Shop) -> None:
    shop.sandbox.fail("gateway.create", "reset_after", times=1)

    with pytest.raises(NoResponse) as failure:
        await shop.start()

    assert "the payment cannot be made" in failure.value.hint
    assert NoResponse.hint != failure.value.hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", ""),
        ("token", " "),
        ("token", "x" * 513),
        ("token", "a\nb"),
        ("ref_num", ""),
        ("ref_num", "x" * 256),
        ("ref_num", "a\nb"),
    ],
)
async def test_start_unusable_create_response_is_invalid(tmp_path: Path, field: str, value: str) -> None:
    """The error names no argument of the caller, and no payment with an unusable ref_num is stored."""
    response = {"token": "t", "ref_num": "ref-1", field: value}
    async with client(Engine(in_turn(ok(response))), database=tmp_path / "p.db") as paystar:
        with pytest.raises(InvalidResponse) as caught:
            await paystar.payments.start(amount=AMOUNT, order_id="o-1", callback=CALLBACK_URL)
        order = await paystar.payments.find(order_id="o-1")

    assert caught.value.path.startswith("$.data")
    assert (caught.value.executed, caught.value.hint) == (
        "maybe",
        "no payer has the payment page, so the payment cannot be made: start the order again",
    )
    assert "xxx" not in str(caught.value)
    assert order is not None
    assert order.attempts == ()
