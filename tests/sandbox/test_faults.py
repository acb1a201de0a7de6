"""Every fault there is, one by one: how it shows itself, and whether the call was carried out."""

import httpx
import pytest

from paystar_async.clock import ManualClock
from paystar_async.endpoint import Realm
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.sandbox.faults import KINDS
from paystar_async.sandbox.responses import INVALID_ACCESS
from paystar_async.table import BY_ID
from tests.sandbox.merchant import Merchant, envelope

BREAKS = (FaultKind.REFUSED, FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER)


async def settle(merchant: Merchant) -> httpx.Response:
    return await merchant.send("transfers.settle", {"transfers": [merchant.transfer("t")]})


async def test_a_fault_that_is_used_up_is_no_longer_listed(merchant: Merchant) -> None:
    faults = merchant.sandbox.faults
    for times in (0, 1, 1):
        merchant.sandbox.fail("transfers.settle", "ip", times=times)
    for left in (2, 1, 0):
        assert len(faults.ordered) == left
        assert (envelope(await settle(merchant))["status"] == 7) is (left > 0)


def executed(merchant: Merchant) -> bool:
    return "t" in merchant.sandbox.ledger


@pytest.mark.parametrize(
    ("kind", "http", "status"),
    [
        (FaultKind.SERVER_ERROR, 500, 0),
        (FaultKind.STATUS_0, 400, 0),
        (FaultKind.STATUS_11, 400, 11),
        (FaultKind.EXPIRED_KEY, 400, 5),
        (FaultKind.IP, 400, 7),
        (FaultKind.FUNDS, 400, 9),
        (FaultKind.ALREADY_VERIFIED, 400, -6),
    ],
)
@pytest.mark.parametrize("carried_out", [False, True])
async def test_refusals_with_and_without_the_call_carried_out(
    merchant: Merchant, kind: FaultKind, http: int, status: int, carried_out: bool
) -> None:
    merchant.sandbox.fail("transfers.settle", kind, executed=carried_out)
    answer = await settle(merchant)
    assert (answer.status_code, envelope(answer)["status"]) == (http, status)
    assert envelope(answer)["message"]
    assert executed(merchant) is carried_out


@pytest.mark.parametrize("status", [2, 8, 12, -2, -16, -99, -106, "blocked", 999])
async def test_any_status_at_all(merchant: Merchant, status: int | str) -> None:
    merchant.sandbox.fail("transfers.settle", "status", status=status)
    answer = await settle(merchant)
    assert (answer.status_code, envelope(answer)["status"]) == (400, status)
    assert envelope(answer)["message"]
    assert not executed(merchant)


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize(
    ("kind", "http", "text"),
    [
        (FaultKind.HTML, 502, "<html>"),
        (FaultKind.UNAVAILABLE, 503, "<html>"),
        (FaultKind.TOO_MANY, 429, "Too Many Attempts"),
    ],
)
async def test_answers_without_an_envelope(
    merchant: Merchant, kind: FaultKind, http: int, text: str, carried_out: bool
) -> None:
    merchant.sandbox.fail("transfers.settle", kind, seconds=7, executed=carried_out)
    answer = await settle(merchant)
    assert answer.status_code == http
    assert text in answer.text
    assert '"status"' not in answer.text
    assert answer.headers.get("retry-after") == (None if kind is FaultKind.HTML else "7")
    assert executed(merchant) is carried_out


async def test_a_server_error_without_an_envelope(merchant: Merchant) -> None:
    merchant.sandbox.fail(kind=FaultKind.SERVER_ERROR, envelope=False)
    answer = await settle(merchant)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_half_of_the_json_arrives_and_the_call_was_carried_out(merchant: Merchant) -> None:
    merchant.sandbox.fail("transfers.settle", FaultKind.TRUNCATED)
    answer = await settle(merchant)
    assert answer.status_code == 200
    assert answer.text.startswith('{"status":"ok"')
    with pytest.raises(ValueError, match="line 1 column"):
        answer.json()
    assert executed(merchant)


@pytest.mark.parametrize("kind", BREAKS)
async def test_a_server_nobody_knows_breaks_by_an_exception(merchant: Merchant, kind: FaultKind) -> None:
    merchant.sandbox.fail("transfers.settle", kind)
    with pytest.raises(ConnectionResetError):
        await settle(merchant)
    assert executed(merchant) is (kind is FaultKind.RESET_AFTER)


async def test_a_key_is_refused_in_the_realms_own_words(merchant: Merchant) -> None:
    merchant.sandbox.fail(kind=FaultKind.EXPIRED_KEY)
    wallet = await merchant.send("wallet.balance")
    assert (wallet.status_code, envelope(wallet)["message"]) == (400, INVALID_ACCESS)
    gateway = await merchant.send("gateway.inquiry", {"ref_num": "1"})
    assert (gateway.status_code, envelope(gateway)["status"]) == (401, "unauthenticated")
    assert BY_ID["wallet.balance"].realm is Realm.INQUIRY


async def test_the_style_of_refusals(merchant: Merchant) -> None:
    sandbox = merchant.sandbox
    sandbox.fail("transfers.find", FaultKind.HTTP_200)
    assert (await merchant.send("transfers.find", {"limit": 0})).status_code == 200
    assert (await merchant.send("transfers.balance")).status_code == 400
    sandbox.fail("transfers.find", FaultKind.STATUS_0)
    answer = await merchant.send("transfers.find")
    assert (answer.status_code, envelope(answer)["status"]) == (200, 0)
    sandbox.heal()
    sandbox.settings.failure_http = 200
    sandbox.fail("transfers.find", FaultKind.HTTP_400)
    assert (await merchant.send("transfers.find", {"limit": 0})).status_code == 400


async def test_a_fault_hits_its_endpoint_so_many_times(merchant: Merchant) -> None:
    merchant.sandbox.fail("wallet.balance", FaultKind.IP, times=2)
    assert (await merchant.call("transfers.find"))["status"] == "ok"
    statuses = [(await merchant.call("wallet.balance"))["status"] for _ in range(4)]
    assert statuses == [7, 7, 1, 1]


async def test_faults_follow_each_other_and_are_healed(merchant: Merchant) -> None:
    merchant.sandbox.fail(kind=FaultKind.IP, times=1)
    merchant.sandbox.fail(kind=FaultKind.FUNDS)
    assert [(await merchant.call("wallet.balance"))["status"] for _ in range(3)] == [7, 9, 9]
    merchant.sandbox.heal()
    assert (await merchant.call("wallet.balance"))["status"] == 1


async def hits(seed: int, rate: float) -> list[bool]:
    merchant = Merchant(Sandbox(seed=seed, clock=ManualClock()))
    merchant.sandbox.fail(kind=FaultKind.IP, rate=rate)
    async with merchant.http:
        return [(await merchant.call("wallet.balance"))["status"] == 7 for _ in range(100)]


async def test_chance_follows_from_the_seed() -> None:
    first = await hits(1, 0.3)
    assert 15 < sum(first) < 45
    assert first == await hits(1, 0.3)
    assert first != await hits(2, 0.3)
    assert not any(await hits(1, 0))
    assert all(await hits(1, 1))


def test_every_kind_is_explained() -> None:
    assert set(KINDS) == {str(kind) for kind in FaultKind}
    assert all(kind.doc for kind in FaultKind)
    assert len({kind.doc for kind in FaultKind}) == len(FaultKind)
