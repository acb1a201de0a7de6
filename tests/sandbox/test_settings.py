"""The settings: checked where they are made, the same everywhere, and harmless to the SDK in either position."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from paystar_async import Callback, Paystar, Transfer, WalletTransfer
from paystar_async.errors import ConfigurationError
from paystar_async.outcomes import Succeeded
from paystar_async.payments import Verified
from paystar_async.sandbox import Sandbox, Settings
from paystar_async.sandbox.settings import DESCRIPTIONS, parse_setting
from tests.payments.shop import open_shop, token_of
from tests.sandbox.merchant import Merchant, envelope
from tests.support import QuickClock

WRONG: list[tuple[str, object]] = [
    ("default_callback_method", "PUT"),
    ("default_callback_method", 1),
    ("unsigned_verify", 1),
    ("partial_execution", "yes"),
    ("failure_http", 400.0),
    ("failure_http", True),
    ("unauthenticated_action", None),
    ("unauthenticated_tag", "x" * 101),
    ("unauthenticated_tag", "a\nb"),
    ("unauthenticated_tag", "\ud800"),
    ("settle_seconds", float("nan")),
    ("price_fee", 1.0),
]


def test_constructor_takes_every_setting() -> None:
    defaults = Settings().as_dict()
    changes: dict[str, Any] = defaults | {"default_callback_method": "POST"}
    sandbox = Sandbox(1, None, 60.0, **changes)
    assert sandbox.settings.as_dict() == changes
    assert list(DESCRIPTIONS) == list(defaults)


@pytest.mark.parametrize(("name", "value"), WRONG)
async def test_wrong_setting_is_refused_and_nothing_is_set(merchant: Merchant, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Sandbox(**{name: value})
    settings = merchant.sandbox.settings
    before = settings.as_dict()
    with pytest.raises(ConfigurationError, match=name):
        settings.change({"payer_fee": 5, name: value})
    assert settings.as_dict() == before


def test_unknown_setting_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(ConfigurationError, match="there is no setting 'nonsense'") as error:
        Sandbox(nonsense=1)
    assert "default_callback_method" in (error.value.hint or "")


async def test_settings_control_reads_and_sets_all_of_them(merchant: Merchant) -> None:
    url = "http://localhost/_sandbox/settings"
    assert (await merchant.http.get(url)).json() == Settings().as_dict()
    changes: dict[str, object] = {"unsigned_verify": True, "unauthenticated_action": "", "failure_http": 200}
    assert (await merchant.http.post(url, json=changes)).json() == Settings().as_dict() | changes
    answer = await merchant.http.post(url, json={"default_callback_method": "PUT"})
    assert (answer.status_code, answer.json()) == (400, {"error": "default_callback_method is GET or POST, not 'PUT'"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a=1", ("a", 1)), ("a=true", ("a", True)), ("a=POST", ("a", "POST")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c"))],
)
def test_parse_setting_reads_json_or_a_text(text: str, expected: object) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["", "a", "=1"])
def test_parse_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        parse_setting(text)


async def test_dashboard_form_holds_every_setting(merchant: Merchant) -> None:
    page = (await merchant.http.get("http://localhost/_sandbox/", headers={"accept": "text/html"})).text
    for attribute in attrs.fields(Settings):
        assert f'id="set-{attribute.name}"' in page
    assert "<option selected>GET</option><option>POST</option>" in page
    assert "۹۹۹" in page or "999" in page


async def test_unauthenticated_bears_the_action_and_tag_that_are_set(merchant: Merchant) -> None:
    merchant.sandbox.settings.change({"unauthenticated_action": "PardakhtVerify", "unauthenticated_tag": "t"})
    content = envelope(await merchant.send("gateway.inquiry", {"ref_num": "x"}, bearer="Bearer no"))
    assert (content["action"], content["tag"]) == ("PardakhtVerify", "t")


@pytest.mark.parametrize("sign", [..., "", None])
async def test_unsigned_verify_is_taken_only_where_it_is_set(merchant: Merchant, sign: object) -> None:
    fields = {"amount": 10_000, "sign": sign}
    callback = merchant.sandbox.pay((await merchant.created())["token"])
    body = fields | {"ref_num": callback["ref_num"]}
    assert envelope(await send_unsigned(merchant, body))["status"] == -1
    merchant.sandbox.settings.unsigned_verify = True
    assert envelope(await merchant.send("gateway.verify", body | {"sign": "0" * 128}))["status"] == -1
    assert envelope(await send_unsigned(merchant, body))["status"] == 1


async def send_unsigned(merchant: Merchant, fields: dict[str, object]) -> Any:
    headers = {"authorization": f"Bearer {merchant.sandbox.gateway.id.reveal()}"}
    body = {name: value for name, value in fields.items() if value is not ...}
    return await merchant.http.post("/pardakht/verify", json=body, headers=headers)


# The SDK in both worlds of each setting.


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_payment_is_verified_by_either_default_callback_method(tmp_path: Path, method: str) -> None:
    async with open_shop(tmp_path / "orders.db") as shop:
        shop.sandbox.settings.default_callback_method = method
        started = await shop.start()
        callback = shop.sandbox.come_back(token_of(started))
        assert callback.by_get is (method == "GET")
        assert isinstance((await shop.confirm(Callback.parse(callback.fields))).outcome, Verified)


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_payment_is_verified_whether_unsigned_verify_is_allowed(tmp_path: Path, *, is_allowed: bool) -> None:
    async with open_shop(tmp_path / "orders.db") as shop:
        shop.sandbox.settings.unsigned_verify = is_allowed
        assert isinstance((await shop.confirm(shop.pay(await shop.start()))).outcome, Verified)


@pytest.mark.parametrize("price_fee", [0, 1_500])
async def test_payment_with_a_fee_is_never_verified_wrongly_nor_lost(tmp_path: Path, price_fee: int) -> None:
    async with open_shop(tmp_path / "orders.db") as shop:
        shop.sandbox.settings.change({"payer_fee": 1_500, "price_fee": price_fee})
        callback = shop.pay(await shop.start())
        outcome = (await shop.confirm(callback)).outcome
        assert isinstance(outcome, Verified), outcome  # at least what was asked for was paid, whatever verify names
        assert (await shop.confirm(callback)).outcome == outcome


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_expired_key_is_refreshed_with_and_without_its_code(*, is_hidden: bool) -> None:
    clock = QuickClock()
    sandbox = Sandbox(clock=clock, hide_token_codes=is_hidden)
    async with Paystar(
        application=sandbox.application, wallet=sandbox.wallet, engine=sandbox.engine(), clock=clock
    ) as paystar:
        clock.advance(86_401)
        assert (await paystar.wallet.balance()).total_amount
        assert (await paystar.transfers.balance(account_number="0111234567890")).balance
    assert sandbox.stats["refreshes"]["application"] == 1


def transfer(number: int, sandbox: Sandbox) -> Transfer:
    return Transfer(
        amount=10_000,
        deposit="0111234567890",
        destination_account=sandbox.people[0].iban,
        destination_firstname="Ali",
        destination_lastname="Moradi",
        track_id=f"t{number}",
    )


def payout(number: int, sandbox: Sandbox) -> WalletTransfer:
    return WalletTransfer(
        amount=10_000,
        destination_number=sandbox.people[0].iban,
        destination_firstname="Ali",
        destination_lastname="Moradi",
        track_id=f"t{number}",
    )


@pytest.mark.parametrize("make", [transfer, payout])
@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("refusal", ["balance", "fault"])
async def test_refused_batch_pays_nothing_twice(tmp_path: Path, make: Any, *, is_partial: bool, refusal: str) -> None:
    clock = QuickClock()
    # A repeat would pay again: what is counted is what the SDK sends, not what the bank forgives.
    sandbox = Sandbox(clock=clock, partial_execution=is_partial, repeats_execute=True, settle_seconds=0)
    source = "0111234567890" if make is transfer else sandbox.wallet.hashid
    if refusal == "balance":
        sandbox.set_balance(source, 25_000)
    else:
        sandbox.fail("transfers.settle" if make is transfer else "wallet.settle", "ip", times=1)
    async with Paystar(
        application=sandbox.application,
        wallet=sandbox.wallet,
        engine=sandbox.engine(),
        database=tmp_path / "payouts.db",
        clock=clock,
    ) as paystar:
        batch = await paystar.payouts.submit([make(number, sandbox) for number in range(4)], batch_id="b")
        await batch.wait(timeout=600)
        assert len(sandbox.ledger) == (2 if is_partial else 0)
        sandbox.set_balance(source, 1_000_000)
        await paystar.payouts.resume()
        await batch.wait(timeout=600)
        outcomes = [outcome async for outcome in batch.outcomes()]
    assert [type(outcome) for outcome in outcomes] == [Succeeded] * 4, outcomes
    assert {name: line.count for name, line in sandbox.ledger.items()} == {f"t{number}": 1 for number in range(4)}
