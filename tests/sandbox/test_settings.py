"""Settings: validation, the control and the form, and the client with each value of a setting."""

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
from tests.sandbox.raw_client import RawClient, envelope
from tests.support import QuickClock

INVALID_VALUES: list[tuple[str, object]] = [
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


def test_sandbox_constructor_accepts_every_setting() -> None:
    defaults = Settings().as_dict()
    changes: dict[str, Any] = defaults | {"default_callback_method": "POST"}
    sandbox = Sandbox(1, None, 60.0, **changes)
    assert sandbox.settings.as_dict() == changes
    assert list(DESCRIPTIONS) == list(defaults)


@pytest.mark.parametrize(("name", "value"), INVALID_VALUES)
async def test_change_invalid_value_raises_and_changes_nothing(raw_client: RawClient, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Sandbox(**{name: value})
    settings = raw_client.sandbox.settings
    before = settings.as_dict()
    with pytest.raises(ConfigurationError, match=name):
        settings.change({"payer_fee": 5, name: value})
    assert settings.as_dict() == before


def test_change_unknown_setting_raises_with_known_names() -> None:
    with pytest.raises(ConfigurationError, match="there is no setting 'nonsense'") as error:
        Sandbox(nonsense=1)
    assert "default_callback_method" in (error.value.hint or "")


async def test_settings_control_reads_and_changes_settings(raw_client: RawClient) -> None:
    url = "http://localhost/_sandbox/settings"
    assert (await raw_client.http.get(url)).json() == Settings().as_dict()
    changes: dict[str, object] = {"unsigned_verify": True, "unauthenticated_action": "", "failure_http": 200}
    assert (await raw_client.http.post(url, json=changes)).json() == Settings().as_dict() | changes
    response = await raw_client.http.post(url, json={"default_callback_method": "PUT"})
    assert (response.status_code, response.json()) == (
        400,
        {"error": "default_callback_method is GET or POST, not 'PUT'"},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a=1", ("a", 1)), ("a=true", ("a", True)), ("a=POST", ("a", "POST")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c"))],
)
def test_parse_setting_returns_json_or_text(text: str, expected: object) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["", "a", "=1"])
def test_parse_setting_without_name_and_value_raises(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        parse_setting(text)


async def test_dashboard_form_has_every_setting(raw_client: RawClient) -> None:
    page = (await raw_client.http.get("http://localhost/_sandbox/", headers={"accept": "text/html"})).text
    for attribute in attrs.fields(Settings):
        assert f'id="set-{attribute.name}"' in page
    assert "<option selected>GET</option><option>POST</option>" in page
    assert "۹۹۹" in page or "999" in page


@pytest.mark.parametrize("sign", [..., "", None])
async def test_unsigned_verify_is_accepted_only_if_set(raw_client: RawClient, sign: object) -> None:
    fields = {"amount": 10_000, "sign": sign}
    callback = raw_client.sandbox.pay((await raw_client.create_payment())["token"])
    body = fields | {"ref_num": callback["ref_num"]}
    assert envelope(await send_unsigned(raw_client, body))["status"] == -1
    raw_client.sandbox.settings.unsigned_verify = True
    assert envelope(await raw_client.send("gateway.verify", body | {"sign": "0" * 128}))["status"] == -1
    assert envelope(await send_unsigned(raw_client, body))["status"] == 1


async def send_unsigned(raw_client: RawClient, fields: dict[str, object]) -> Any:
    headers = {"authorization": f"Bearer {raw_client.sandbox.gateway.id.reveal()}"}
    body = {name: value for name, value in fields.items() if value is not ...}
    return await raw_client.http.post("/pardakht/verify", json=body, headers=headers)


# The client with each value of a setting.


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_confirm_works_with_either_default_callback_method(tmp_path: Path, method: str) -> None:
    async with open_shop(tmp_path / "orders.db") as shop:
        shop.sandbox.settings.default_callback_method = method
        started = await shop.start()
        callback = shop.sandbox.return_payer(token_of(started))
        assert callback.uses_get is (method == "GET")
        assert isinstance((await shop.confirm(Callback.parse(callback.fields))).outcome, Verified)


@pytest.mark.parametrize("is_allowed", [False, True])
async def test_confirm_works_with_and_without_unsigned_verify(tmp_path: Path, *, is_allowed: bool) -> None:
    async with open_shop(tmp_path / "orders.db") as shop:
        shop.sandbox.settings.unsigned_verify = is_allowed
        assert isinstance((await shop.confirm(shop.pay(await shop.start()))).outcome, Verified)


@pytest.mark.parametrize("price_fee", [0, 1_500])
async def test_confirm_with_fees_is_verified_once(tmp_path: Path, price_fee: int) -> None:
    async with open_shop(tmp_path / "orders.db") as shop:
        shop.sandbox.settings.change({"payer_fee": 1_500, "price_fee": price_fee})
        callback = shop.pay(await shop.start())
        outcome = (await shop.confirm(callback)).outcome
        assert isinstance(outcome, Verified), (
            outcome
        )  # the payer paid at least the amount, whatever price verify returns
        assert (await shop.confirm(callback)).outcome == outcome


@pytest.mark.parametrize("is_hidden", [False, True])
async def test_client_refreshes_expired_key_with_and_without_code(*, is_hidden: bool) -> None:
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


def wallet_transfer(number: int, sandbox: Sandbox) -> WalletTransfer:
    return WalletTransfer(
        amount=10_000,
        destination_number=sandbox.people[0].iban,
        destination_firstname="Ali",
        destination_lastname="Moradi",
        track_id=f"t{number}",
    )


@pytest.mark.parametrize("make", [transfer, wallet_transfer])
@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("refusal", ["balance", "fault"])
async def test_payouts_refused_batch_pays_nothing_twice(
    tmp_path: Path, make: Any, *, is_partial: bool, refusal: str
) -> None:
    clock = QuickClock()
    # With repeats_execute a repeated transfer pays again: the ledger counts what the client sends.
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


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "2"])
def test_settings_invalid_assignment_raises(value: object) -> None:
    settings = Sandbox().settings
    with pytest.raises(ValueError, match="settle_seconds"):
        settings.settle_seconds = value  # type: ignore[assignment]
    for name, invalid in (("payer_fee", 1.5), ("failure_http", 500)):
        with pytest.raises(ValueError, match=name):
            setattr(settings, name, invalid)
    with pytest.raises(ValueError, match="gateway_signed"):
        settings.gateway_signed = "no"  # type: ignore[assignment]
