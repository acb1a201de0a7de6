"""The controls under ``/_sandbox``."""

import re
import shlex

import attrs
import pytest

from paystar_async.credentials import Application, Gateway, Wallet
from paystar_async.sandbox import FaultKind, Settings
from paystar_async.sandbox.control import CONTROLS
from paystar_async.sandbox.faults import Fault
from tests.sandbox.raw_client import RawClient, envelope, get_control, post_control


async def test_accounts_returns_constructor_arguments(raw_client: RawClient) -> None:
    accounts = await get_control(raw_client, "accounts")
    assert set(accounts) == {"application", "gateway", "wallet"}
    assert set(accounts["gateway"]) == {"id", "sign_key"}
    assert Application(**accounts["application"]) == raw_client.sandbox.application
    assert Gateway(**accounts["gateway"]) == raw_client.sandbox.gateway
    assert Wallet(**accounts["wallet"]) == raw_client.sandbox.wallet
    raw_client.sandbox.settings.gateway_signed = False
    assert (await get_control(raw_client, "accounts"))["gateway"]["sign_key"] is None


async def test_ledger_lists_executed_transfers(raw_client: RawClient) -> None:
    assert await get_control(raw_client, "ledger") == {"transfers": {}}
    await raw_client.settle(raw_client.transfer("t", 5_000))
    await raw_client.settle(raw_client.transfer("t", 5_000))
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("w")])
    wallet = raw_client.sandbox.wallet.hashid
    deposit = "0111234567890"
    assert await get_control(raw_client, "ledger/") == {
        "transfers": {
            "t": {"count": 1, "requests": 2, "amount": 5_000, "account": deposit, "status": "pending"},
            "w": {"count": 1, "requests": 1, "amount": 1_000, "account": wallet, "status": "pending"},
        }
    }


async def test_stats_and_people_match_the_sandbox(raw_client: RawClient) -> None:
    await raw_client.data("wallet.balance")
    assert await get_control(raw_client, "stats") == raw_client.sandbox.stats
    people = (await get_control(raw_client, "people"))["people"]
    assert people == [attrs.asdict(person) for person in raw_client.sandbox.people]
    assert {"national_id", "mobile", "card", "iban", "birth_date", "account"} <= set(people[0])


async def test_faults_adds_and_clears(raw_client: RawClient) -> None:
    assert set((await get_control(raw_client, "faults"))["kinds"]) == set(FaultKind)
    added = await post_control(raw_client, "faults", endpoint="wallet.balance", kind="ip", times=3)
    assert added["faults"][0]["endpoint"] == "wallet.balance"
    assert (await raw_client.call("wallet.balance"))["status"] == 7
    assert (await get_control(raw_client, "faults"))["faults"][0]["times"] == 2
    assert (await post_control(raw_client, "faults", clear=True))["faults"] == []
    assert (await raw_client.call("wallet.balance"))["status"] == 1
    await post_control(raw_client, "faults", kind="ip")
    (fault,) = (await post_control(raw_client, "faults", clear=True, kind="funds"))["faults"]
    assert fault["kind"] == "funds"
    response = await raw_client.http.delete("http://localhost/_sandbox/faults")
    assert (response.status_code, envelope(response)["faults"]) == (200, [])
    assert not raw_client.sandbox.faults.active


async def test_heal_removes_only_selected_faults(raw_client: RawClient) -> None:
    await post_control(raw_client, "faults", kind="ip")
    await post_control(raw_client, "faults", kind="html")
    await post_control(raw_client, "faults", kind="html", endpoint="wallet.settle")
    remaining = (await post_control(raw_client, "heal", kind="html", endpoint="wallet.settle"))["faults"]
    assert [(fault["kind"], fault["endpoint"]) for fault in remaining] == [("ip", None), ("html", None)]
    assert [fault["kind"] for fault in (await post_control(raw_client, "heal", kind="html"))["faults"]] == ["ip"]
    assert "kind" in (await post_control(raw_client, "heal", 400, kind="nonsense"))["error"]
    assert "endpoint" in (await post_control(raw_client, "heal", 400, endpoint="no.where"))["error"]
    assert [fault.kind for fault in raw_client.sandbox.faults.active] == ["ip"]


async def test_orders_lists_payments_newest_first(raw_client: RawClient) -> None:
    first = await raw_client.create_payment(order_id="1")
    await raw_client.create_payment(order_id="2")
    raw_client.sandbox.pay(first["token"])
    orders = (await get_control(raw_client, "orders"))["orders"]
    assert [(order["order_id"], order["status"], order["opened"]) for order in orders] == [
        ("2", "INIT", False),
        ("1", "UNVERIFIED", True),
    ]
    assert first["token"] not in str(orders)


@pytest.mark.parametrize(
    "fields", [{"kind": "nonsense"}, {"endpoint": "no.where"}, {"rate": 2}, {"rate": "x"}, {"x": 1}, {"clear": 1}]
)
async def test_faults_invalid_fault_is_400(raw_client: RawClient, fields: dict[str, object]) -> None:
    error = (await post_control(raw_client, "faults", 400, **fields))["error"]
    assert next(iter(fields)) in error
    assert not re.search("__|SandboxState|Error", error)
    assert not raw_client.sandbox.faults.active


async def test_clock_advances_or_is_400(raw_client: RawClient) -> None:
    before = raw_client.clock.time()
    assert await post_control(raw_client, "clock", advance=90) == {"time": before + 90}
    assert raw_client.clock.time() == before + 90
    for invalid in (-1, "soon", None):
        assert (await post_control(raw_client, "clock", 400, advance=invalid))["error"]
    assert raw_client.clock.time() == before + 90
    assert "advance is missing" in (await post_control(raw_client, "clock", 400))["error"]


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_read_body_parses_json_of_any_content_type(raw_client: RawClient, media: str) -> None:
    before, url = raw_client.clock.time(), "http://localhost/_sandbox/clock"
    response = await raw_client.http.post(url, content=b'{"advance": 10}', headers={"content-type": media})
    assert envelope(response) == {"time": before + 10}
    response = await raw_client.http.post(url, content=b"advance=10", headers={"content-type": media})
    assert (response.status_code, envelope(response)) == (400, {"error": "send a JSON object"})
    assert (await raw_client.http.post(f"{url}?advance=10")).status_code == 400


@pytest.mark.parametrize("path", ["/_sandbox", "/_sandbox/"])
async def test_index_lists_every_control(raw_client: RawClient, path: str) -> None:
    response = await raw_client.http.get(f"http://localhost{path}")
    assert response.status_code == 200
    controls = {
        (control["method"], control["path"].removeprefix("/_sandbox/")): control
        for control in envelope(response)["controls"]
    }
    assert len(controls) == len(CONTROLS)
    assert set(controls["POST", "settings"]["fields"]) == {attribute.name for attribute in attrs.fields(Settings)}
    assert set(controls["POST", "faults"]["fields"]) == {attribute.name for attribute in attrs.fields(Fault)} | {
        "clear"
    }
    assert "-98" in controls["POST", "pay"]["fields"]["choice"]
    for (method, _), control in controls.items():
        assert control["does"]
        _, _, example_method, *body, url = shlex.split(control["example"])
        assert example_method == method
        if not {"token", "track_id"} & set(control["fields"]):
            content = body[1].encode() if body else None
            assert (await raw_client.http.request(method, url, content=content)).status_code == 200, control


async def test_control_check_names_unknown_or_missing_field(raw_client: RawClient) -> None:
    assert (
        "reset has no field 'seed'; it has no fields" in (await post_control(raw_client, "reset", 400, seed=1))["error"]
    )
    assert "the body has no fields" in (await post_control(raw_client, "settings", 400))["error"]
    assert "the body has no fields" in (await post_control(raw_client, "faults", 400))["error"]
    assert "token is missing" in (await post_control(raw_client, "pay", 400))["error"]
    assert "amount is missing" in (await post_control(raw_client, "balance", 400, account="1"))["error"]
    error = (await post_control(raw_client, "settings", 400, gateway_signed="no"))["error"]
    assert error == "gateway_signed is true or false, not 'no'"


async def test_settings_changes_all_or_none(raw_client: RawClient) -> None:
    settings = raw_client.sandbox.settings
    assert (await get_control(raw_client, "settings"))["settle_seconds"] == 2.0
    changed = await post_control(raw_client, "settings", settle_seconds=0, rotate_refresh_tokens=True)
    assert changed["settle_seconds"] == settings.settle_seconds == 0
    assert changed["rotate_refresh_tokens"] is settings.rotate_refresh_tokens is True
    for invalid in ({"payer_fee": -1}, {"nonsense": 1}, {"failure_http": 500}):
        assert (await post_control(raw_client, "settings", 400, settle_seconds=9, **invalid))["error"]
    assert settings.settle_seconds == 0


async def test_pay_returns_callback_method_and_url(raw_client: RawClient) -> None:
    created = await raw_client.create_payment(callback="https://shop.example/?a=1")
    paid = await post_control(raw_client, "pay", token=created["token"])
    assert paid["method"] == "GET"
    assert paid["url"].startswith("https://shop.example/?a=1&status=1&")
    assert (await raw_client.verify(paid["callback"]))["status"] == 1
    created = await raw_client.create_payment(callback="https://shop.example/?a=1", callback_method=2)
    cancelled = await post_control(raw_client, "pay", token=created["token"], choice="cancel")
    assert (cancelled["method"], cancelled["url"]) == ("POST", "https://shop.example/?a=1")
    assert cancelled["callback"]["status"] == "-98"
    for invalid in ({"token": created["token"]}, {"token": "none"}, {}, {"token": created["token"], "choice": "steal"}):
        assert (await post_control(raw_client, "pay", 400, **invalid))["error"]


async def test_balance_sets_balance_of_account(raw_client: RawClient) -> None:
    await post_control(raw_client, "balance", account="0111234567890", amount=5)
    assert await raw_client.balance() == 5
    await post_control(raw_client, "balance", account=raw_client.sandbox.wallet.hashid, amount=1_234)
    assert (await raw_client.data("wallet.balance"))["total_amount"] == "1,234"
    for invalid in ({"account": 1, "amount": 1}, {"account": "1", "amount": -1}, {"account": "1", "amount": True}, {}):
        assert (await post_control(raw_client, "balance", 400, **invalid))["error"]


async def test_reset_empties_ledger(raw_client: RawClient) -> None:
    await raw_client.settle(raw_client.transfer())
    assert await post_control(raw_client, "reset") == {}
    assert not raw_client.sandbox.ledger


@pytest.mark.parametrize("body", [b"[]", b"{", b"1"])
async def test_read_body_invalid_json_is_400(raw_client: RawClient, body: bytes) -> None:
    response = await raw_client.http.post("http://localhost/_sandbox/clock", content=body)
    assert (response.status_code, list(envelope(response))) == (400, ["error"])


async def test_control_wrong_method_is_405_with_allow_header(raw_client: RawClient) -> None:
    response = await raw_client.http.request("PUT", "http://localhost/_sandbox/faults")
    assert response.status_code == 405
    assert {name.strip() for name in response.headers["allow"].split(",")} == {"GET", "POST", "DELETE"}


INVALID_NUMBERS = {
    "clock": ["1e400", "NaN", "Infinity", "-1", "true", "1e12", "9" * 400, '"1"'],
    "settings": ["1e400", "NaN", "-1", "1e12", "9" * 400],
    "seconds": ["1e400", "NaN", "-1", "1e12", "9" * 400],
    "rate": ["1.1", "NaN", "-1", "9" * 400],
    "times": ["1.5", "-1", "9" * 400],
    "status": ["9" * 400, f'"{"x" * 101}"', "[]"],
    "amount": ["1e400", "NaN", "-1", "9" * 400, "1.5"],
    "fee": ["9" * 400, "-1"],
    "http": ["400.0", "[]", "500", "true"],
}
BODIES = {
    "clock": ("clock", '{"advance": %s}'),
    "settings": ("settings", '{"settle_seconds": %s}'),
    "fee": ("settings", '{"payer_fee": %s}'),
    "http": ("settings", '{"failure_http": %s}'),
    "seconds": ("faults", '{"kind": "latency", "seconds": %s}'),
    "rate": ("faults", '{"kind": "latency", "rate": %s}'),
    "times": ("faults", '{"kind": "latency", "times": %s}'),
    "status": ("faults", '{"kind": "status", "status": %s}'),
    "amount": ("balance", '{"account": "1", "amount": %s}'),
}


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, numbers in INVALID_NUMBERS.items() for number in numbers]
)
async def test_control_number_out_of_bounds_is_400(raw_client: RawClient, name: str, number: str) -> None:
    control, body = BODIES[name]

    response = await raw_client.http.post(f"http://localhost/_sandbox/{control}", content=(body % number).encode())

    assert response.status_code == 400, response.text
    assert len(response.text) < 1000
    assert (await raw_client.http.get("http://localhost/_sandbox/")).status_code == 200


@pytest.mark.parametrize("control", ["clock", "settings", "faults", "heal", "pay", "balance"])
@pytest.mark.parametrize(
    "body", ['{"a":' * 5000 + "1" + "}" * 5000, "[" * 500_000, '{"advance":' + "[" * 40 + "]" * 40 + "}"]
)
async def test_control_deep_body_is_400(raw_client: RawClient, control: str, body: str) -> None:
    response = await raw_client.http.post(f"http://localhost/_sandbox/{control}", content=body.encode())

    assert response.status_code == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:81"])
async def test_control_cross_origin_request_is_403(raw_client: RawClient, origin: str) -> None:
    before = raw_client.clock.time()
    for method, name in (("POST", "clock"), ("POST", "faults"), ("POST", "reset"), ("DELETE", "faults")):
        response = await raw_client.http.request(
            method, f"http://localhost/_sandbox/{name}", content=b'{"advance": 5}', headers={"origin": origin}
        )
        assert response.status_code == 403
    assert raw_client.clock.time() == before
    same_origin = {"origin": "http://localhost"}
    response = await raw_client.http.post(
        "http://localhost/_sandbox/clock", content=b'{"advance": 5}', headers=same_origin
    )
    assert response.status_code == 200


async def test_transfer_settles_now_and_returns_money(raw_client: RawClient) -> None:
    sandbox, account = raw_client.sandbox, "0111234567890"
    opening = sandbox.settings.deposit_opening
    await raw_client.settle(raw_client.transfer("t", 5_000))
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("w")])
    for status, balance in (("failed", opening), ("success", opening - 5_000), ("failed", opening)):
        body = await post_control(raw_client, "transfer", track_id="t", status=status)
        assert body["transfers"]["t"]["status"] == status
        assert (await raw_client.data("transfers.balance", account_number=account))["balance"] == balance
    await post_control(raw_client, "transfer", track_id="w", status="success")
    sandbox.advance(86_000)
    assert {track_id: line.status for track_id, line in sandbox.ledger.items()} == {"t": "failed", "w": "success"}
    assert (await raw_client.data("transfers.balance", account_number=account))["balance"] == opening


async def test_expire_expires_keys_and_not_refresh_tokens(raw_client: RawClient) -> None:
    await post_control(raw_client, "expire", realm="application")
    assert (await raw_client.call("transfers.find"))["status"] == 5
    assert (await raw_client.call("wallet.balance"))["status"] == 1
    assert (await raw_client.call("keys.refresh_application_key"))["status"] in (1, "ok")
    await post_control(raw_client, "expire", realm=None)
    assert (await raw_client.call("wallet.balance"))["status"] == 5


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("transfer", {"track_id": "none", "status": "failed"}, "no transfer has the track_id"),
        ("transfer", {"track_id": "t", "status": "pending"}, "success or failed"),
        ("expire", {"realm": "gateway"}, "one of application, wallet, inquiry"),
        ("pay", {"token": "none"}, "no payment has the token, order_id or ref_num 'none'"),
        ("pay", {"token": "newest"}, "no payment is unpaid"),
    ],
)
async def test_trigger_without_target_is_400(
    raw_client: RawClient, name: str, fields: dict[str, object], message: str
) -> None:
    assert message in (await post_control(raw_client, name, http=400, **fields))["error"]


async def test_pay_finds_payment_by_order_ref_num_or_newest(raw_client: RawClient) -> None:
    payments = [await raw_client.create_payment(order_id=order_id) for order_id in ("a", "a", "b", "c")]
    first, second, third, fourth = (payment["ref_num"] for payment in payments)
    for name, ref_num in (("newest", fourth), ("newest", third), (first, first), ("a", second)):
        assert (await post_control(raw_client, "pay", token=name))["callback"]["ref_num"] == ref_num
    assert "one payment" in (await post_control(raw_client, "pay", http=400, token="a"))["error"]
