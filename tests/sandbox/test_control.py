"""The controls under ``/_sandbox``."""

import re
import shlex
from typing import Any

import attrs
import pytest

from paystar_async.accounts import Application, Gateway, Wallet
from paystar_async.sandbox import FaultKind, Sandbox, Settings
from paystar_async.sandbox.control import CONTROLS
from paystar_async.sandbox.faults import Fault
from tests.sandbox.merchant import Merchant, envelope


async def get(merchant: Merchant, name: str) -> dict[str, Any]:
    answer = await merchant.http.get(f"http://localhost/_sandbox/{name}")
    assert answer.status_code == 200, answer.text
    return envelope(answer)


async def post(merchant: Merchant, control: str, http: int = 200, **wish: object) -> dict[str, Any]:
    answer = await merchant.http.post(f"http://localhost/_sandbox/{control}", json=wish)
    assert answer.status_code == http, answer.text
    return envelope(answer)


async def test_accounts_are_the_constructors_arguments(merchant: Merchant) -> None:
    accounts = await get(merchant, "accounts")
    assert set(accounts) == {"application", "gateway", "wallet"}
    assert set(accounts["gateway"]) == {"id", "sign_key"}
    assert Application(**accounts["application"]) == merchant.sandbox.application
    assert Gateway(**accounts["gateway"]) == merchant.sandbox.gateway
    assert Wallet(**accounts["wallet"]) == merchant.sandbox.wallet
    merchant.sandbox.settings.gateway_signed = False
    assert (await get(merchant, "accounts"))["gateway"]["sign_key"] is None


async def test_the_ledger_shows_what_was_executed(merchant: Merchant) -> None:
    assert await get(merchant, "ledger") == {"transfers": {}}
    await merchant.settle(merchant.transfer("t", 5_000))
    await merchant.settle(merchant.transfer("t", 5_000))
    await merchant.data("wallet.settle", transfers=[merchant.payout("w")])
    wallet = merchant.sandbox.wallet.hashid
    deposit = "0111234567890"
    assert await get(merchant, "ledger/") == {
        "transfers": {
            "t": {"count": 1, "requests": 2, "amount": 5_000, "account": deposit, "status": "pending"},
            "w": {"count": 1, "requests": 1, "amount": 1_000, "account": wallet, "status": "pending"},
        }
    }


async def test_stats_and_people(merchant: Merchant) -> None:
    await merchant.data("wallet.balance")
    assert await get(merchant, "stats") == merchant.sandbox.stats
    people = (await get(merchant, "people"))["people"]
    assert people == [attrs.asdict(person) for person in merchant.sandbox.people]
    assert {"national_id", "mobile", "card", "iban", "birth_date", "account"} <= set(people[0])


async def test_faults_are_ordered_and_cleared(merchant: Merchant) -> None:
    assert set((await get(merchant, "faults"))["kinds"]) == set(FaultKind)
    ordered = await post(merchant, "faults", endpoint="wallet.balance", kind="ip", times=3)
    assert ordered["faults"][0]["endpoint"] == "wallet.balance"
    assert (await merchant.call("wallet.balance"))["status"] == 7
    assert (await get(merchant, "faults"))["faults"][0]["times"] == 2
    assert (await post(merchant, "faults", clear=True))["faults"] == []
    assert (await merchant.call("wallet.balance"))["status"] == 1
    await post(merchant, "faults", kind="ip")
    (now,) = (await post(merchant, "faults", clear=True, kind="funds"))["faults"]
    assert now["kind"] == "funds"
    answer = await merchant.http.delete("http://localhost/_sandbox/faults")
    assert (answer.status_code, envelope(answer)["faults"]) == (200, [])
    assert not merchant.sandbox.faults.ordered


async def test_one_fault_is_healed_and_the_others_stay(merchant: Merchant) -> None:
    await post(merchant, "faults", kind="ip")
    await post(merchant, "faults", kind="html")
    await post(merchant, "faults", kind="html", endpoint="wallet.settle")
    left = (await post(merchant, "heal", kind="html", endpoint="wallet.settle"))["faults"]
    assert [(one["kind"], one["endpoint"]) for one in left] == [("ip", None), ("html", None)]
    assert [one["kind"] for one in (await post(merchant, "heal", kind="html"))["faults"]] == ["ip"]
    assert "kind" in (await post(merchant, "heal", 400, kind="nonsense"))["error"]
    assert "endpoint" in (await post(merchant, "heal", 400, endpoint="no.where"))["error"]
    assert [one.kind for one in merchant.sandbox.faults.ordered] == ["ip"]


async def test_the_last_requests_are_told_with_secrets_masked(merchant: Merchant) -> None:
    merchant.sandbox.fail("wallet.balance", "truncated", times=1)
    merchant.sandbox.fail("wallet.balance", "html", times=1)
    await merchant.send("wallet.balance")
    await merchant.send("wallet.balance")
    merchant.sandbox.fail("wallet.find", "reset_before", times=1)
    with pytest.raises(ConnectionResetError):
        await merchant.send("wallet.find", {"track_id": "t"})
    await merchant.settle(merchant.transfer("t", 5_000))
    settle, lost, html, truncated = (await get(merchant, "requests"))["requests"]
    assert (settle["endpoint"], settle["http"], settle["answer"]["status"]) == ("transfers.settle", 200, "ok")
    assert settle["fields"]["access_password"] == "••••••••"
    (transfer,) = settle["fields"]["transfers"]
    assert (transfer["amount"], transfer["track_id"]) == (5_000, "t")
    assert transfer["destination_firstname"].startswith("text of")
    assert (lost["http"], lost["answer"], lost["faults"]) == (None, None, ["reset_before"])
    assert (html["http"], html["faults"], "502" in html["answer"]) == (502, ["html"], True)
    assert truncated["answer"].endswith("broken off")
    merchant.sandbox.reset()
    assert await get(merchant, "requests") == {"requests": []}


async def test_what_the_sandbox_has_no_name_for_may_be_a_secret(merchant: Merchant) -> None:
    password = merchant.sandbox.wallet.password.reveal()
    url = "/wallet/settlement-requests"
    for body in ({"pin": password}, {f'{{"password": "{password}"}}': ""}, {"password": password, "pin": [password]}):
        await merchant.http.post("/wallet/create-settlement", data=body)
        await merchant.http.post("/wallet/create-settlement", json=body)
        await merchant.http.get(url, params=body)
    told = await get(merchant, "requests")
    assert len(told["requests"]) == 9
    assert password not in str(told)
    assert "pin" in str(told)


async def test_as_many_requests_are_kept_as_one_can_look_through(merchant: Merchant) -> None:
    for _ in range(55):
        await merchant.send("wallet.balance")
    numbers = [one["number"] for one in (await get(merchant, "requests"))["requests"]]
    assert numbers == list(range(55, 5, -1))


async def test_the_orders_are_told(merchant: Merchant) -> None:
    first = await merchant.created(order_id="1")
    await merchant.created(order_id="2")
    merchant.sandbox.pay(first["token"])
    orders = (await get(merchant, "orders"))["orders"]
    assert [(one["order_id"], one["status"], one["opened"]) for one in orders] == [
        ("2", "INIT", False),
        ("1", "UNVERIFIED", True),
    ]
    assert first["token"] not in str(orders)


@pytest.mark.parametrize(
    "wish", [{"kind": "nonsense"}, {"endpoint": "no.where"}, {"rate": 2}, {"rate": "x"}, {"x": 1}, {"clear": 1}]
)
async def test_a_fault_that_cannot_be_is_refused(merchant: Merchant, wish: dict[str, object]) -> None:
    error = (await post(merchant, "faults", 400, **wish))["error"]
    assert next(iter(wish)) in error
    assert not re.search("__|World|Error", error)
    assert not merchant.sandbox.faults.ordered


async def test_the_clock_is_put_forward(merchant: Merchant) -> None:
    before = merchant.clock.time()
    assert await post(merchant, "clock", advance=90) == {"time": before + 90}
    assert merchant.clock.time() == before + 90
    for wrong in (-1, "soon", None):
        assert (await post(merchant, "clock", 400, advance=wrong))["error"]
    assert merchant.clock.time() == before + 90
    assert "advance is missing" in (await post(merchant, "clock", 400))["error"]


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_a_wish_counts_whatever_content_type_it_claims(merchant: Merchant, media: str) -> None:
    before, url = merchant.clock.time(), "http://localhost/_sandbox/clock"
    answer = await merchant.http.post(url, content=b'{"advance": 10}', headers={"content-type": media})
    assert envelope(answer) == {"time": before + 10}
    answer = await merchant.http.post(url, content=b"advance=10", headers={"content-type": media})
    assert (answer.status_code, envelope(answer)) == (400, {"error": "send a JSON object"})
    assert (await merchant.http.post(f"{url}?advance=10")).status_code == 400


@pytest.mark.parametrize("path", ["/_sandbox", "/_sandbox/"])
async def test_the_index_tells_every_control(merchant: Merchant, path: str) -> None:
    answer = await merchant.http.get(f"http://localhost{path}")
    assert answer.status_code == 200
    told = {(one["method"], one["path"].removeprefix("/_sandbox/")): one for one in envelope(answer)["controls"]}
    assert len(told) == len(CONTROLS)
    assert set(told["POST", "settings"]["fields"]) == {one.name for one in attrs.fields(Settings)}
    assert set(told["POST", "faults"]["fields"]) == {one.name for one in attrs.fields(Fault)} | {"clear"}
    assert "-98" in told["POST", "pay"]["fields"]["choice"]
    for (method, _), one in told.items():
        assert one["does"]
        _, _, shown, *body, url = shlex.split(one["example"])
        assert shown == method
        if "token" not in one["fields"]:
            content = body[1].encode() if body else None
            assert (await merchant.http.request(method, url, content=content)).status_code == 200, one


async def test_what_a_control_does_not_take_is_named(merchant: Merchant) -> None:
    assert "reset has no field 'seed'; it takes none" in (await post(merchant, "reset", 400, seed=1))["error"]
    assert "nothing is asked for" in (await post(merchant, "settings", 400))["error"]
    assert "nothing is asked for" in (await post(merchant, "faults", 400))["error"]
    assert "token is missing" in (await post(merchant, "pay", 400))["error"]
    assert "amount is missing" in (await post(merchant, "balance", 400, account="1"))["error"]
    error = (await post(merchant, "settings", 400, gateway_signed="no"))["error"]
    assert error == "gateway_signed is true or false, not 'no'"


async def test_settings_are_read_and_set_all_or_none(merchant: Merchant) -> None:
    settings = merchant.sandbox.settings
    assert (await get(merchant, "settings"))["settle_seconds"] == 2.0
    changed = await post(merchant, "settings", settle_seconds=0, rotate_refresh_tokens=True)
    assert changed["settle_seconds"] == settings.settle_seconds == 0
    assert changed["rotate_refresh_tokens"] is settings.rotate_refresh_tokens is True
    for wrong in ({"payer_fee": -1}, {"nonsense": 1}, {"failure_http": 500}):
        assert (await post(merchant, "settings", 400, settle_seconds=9, **wrong))["error"]
    assert settings.settle_seconds == 0


async def test_a_payer_pays_and_where_they_come_back(merchant: Merchant) -> None:
    created = await merchant.created(callback="https://shop.example/?a=1")
    paid = await post(merchant, "pay", token=created["token"])
    assert paid["method"] == "GET"
    assert paid["url"].startswith("https://shop.example/?a=1&status=1&")
    assert (await merchant.verify(paid["callback"]))["status"] == 1
    created = await merchant.created(callback="https://shop.example/?a=1", callback_method=2)
    cancelled = await post(merchant, "pay", token=created["token"], choice="cancel")
    assert (cancelled["method"], cancelled["url"]) == ("POST", "https://shop.example/?a=1")
    assert cancelled["callback"]["status"] == "-98"
    for wrong in ({"token": created["token"]}, {"token": "none"}, {}, {"token": created["token"], "choice": "steal"}):
        assert (await post(merchant, "pay", 400, **wrong))["error"]


async def test_an_account_is_filled(merchant: Merchant) -> None:
    await post(merchant, "balance", account="0111234567890", amount=5)
    assert await merchant.balance() == 5
    await post(merchant, "balance", account=merchant.sandbox.wallet.hashid, amount=1_234)
    assert (await merchant.data("wallet.balance"))["total_amount"] == "1,234"
    for wrong in ({"account": 1, "amount": 1}, {"account": "1", "amount": -1}, {"account": "1", "amount": True}, {}):
        assert (await post(merchant, "balance", 400, **wrong))["error"]


async def test_reset(merchant: Merchant) -> None:
    await merchant.settle(merchant.transfer())
    assert await post(merchant, "reset") == {}
    assert not merchant.sandbox.ledger


@pytest.mark.parametrize("body", [b"[]", b"{", b"1"])
async def test_a_wish_that_cannot_be_read_is_refused(merchant: Merchant, body: bytes) -> None:
    answer = await merchant.http.post("http://localhost/_sandbox/clock", content=body)
    assert (answer.status_code, list(envelope(answer))) == (400, ["error"])


def test_the_controls_are_the_same_object_in_process() -> None:
    sandbox = Sandbox()
    assert sandbox.app is sandbox.app
