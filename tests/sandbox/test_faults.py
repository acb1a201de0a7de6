"""Every kind of fault: the response, and whether the call is executed."""

from typing import Any

import httpx
import pytest

from paystar_async.credentials import Realm
from paystar_async.errors import ConfigurationError
from paystar_async.runtime.clock import ManualClock
from paystar_async.sandbox import FaultKind, Sandbox
from paystar_async.sandbox.faults import KINDS, MAX_FAULTS
from paystar_async.sandbox.responses import INVALID_ACCESS
from paystar_async.table import BY_ID
from tests.sandbox.raw_client import RawClient, envelope

DROPPING_KINDS = (FaultKind.REFUSED, FaultKind.RESET_BEFORE, FaultKind.RESET_AFTER)


async def settle(raw_client: RawClient) -> httpx.Response:
    return await raw_client.send("transfers.settle", {"transfers": [raw_client.transfer("t")]})


async def test_fault_used_up_is_not_active(raw_client: RawClient) -> None:
    faults = raw_client.sandbox.faults
    for times in (0, 1, 1):
        raw_client.sandbox.fail("transfers.settle", "ip", times=times)
    for remaining in (2, 1, 0):
        assert len(faults.active) == remaining
        assert (envelope(await settle(raw_client))["status"] == 7) is (remaining > 0)


def is_executed(raw_client: RawClient) -> bool:
    return "t" in raw_client.sandbox.ledger


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
@pytest.mark.parametrize("executes", [False, True])
async def test_fault_refusal_executes_call_only_if_set(
    raw_client: RawClient, kind: FaultKind, http: int, status: int, executes: bool
) -> None:
    raw_client.sandbox.fail("transfers.settle", kind, executed=executes)
    response = await settle(raw_client)
    assert (response.status_code, envelope(response)["status"]) == (http, status)
    assert envelope(response)["message"]
    assert is_executed(raw_client) is executes


@pytest.mark.parametrize("status", [2, 8, 12, -2, -16, -99, -106, "blocked", 999])
async def test_fault_status_sends_any_status(raw_client: RawClient, status: int | str) -> None:
    raw_client.sandbox.fail("transfers.settle", "status", status=status)
    response = await settle(raw_client)
    assert (response.status_code, envelope(response)["status"]) == (400, status)
    assert envelope(response)["message"]
    assert not is_executed(raw_client)


@pytest.mark.parametrize("executes", [False, True])
@pytest.mark.parametrize(
    ("kind", "http", "text"),
    [
        (FaultKind.HTML, 502, "<html>"),
        (FaultKind.UNAVAILABLE, 503, "<html>"),
        (FaultKind.TOO_MANY, 429, "Too Many Attempts"),
    ],
)
async def test_fault_without_envelope_executes_call_only_if_set(
    raw_client: RawClient, kind: FaultKind, http: int, text: str, executes: bool
) -> None:
    raw_client.sandbox.fail("transfers.settle", kind, seconds=7, executed=executes)
    response = await settle(raw_client)
    assert response.status_code == http
    assert text in response.text
    assert '"status"' not in response.text
    assert response.headers.get("retry-after") == (None if kind is FaultKind.HTML else "7")
    assert is_executed(raw_client) is executes


async def test_fault_server_error_without_envelope_is_plain_text(raw_client: RawClient) -> None:
    raw_client.sandbox.fail(kind=FaultKind.SERVER_ERROR, envelope=False)
    response = await settle(raw_client)
    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_fault_truncated_executes_call_and_halves_json(raw_client: RawClient) -> None:
    raw_client.sandbox.fail("transfers.settle", FaultKind.TRUNCATED)
    response = await settle(raw_client)
    assert response.status_code == 200
    assert response.text.startswith('{"status":"ok"')
    with pytest.raises(ValueError, match="line 1 column"):
        response.json()
    assert is_executed(raw_client)


@pytest.mark.parametrize("kind", DROPPING_KINDS)
async def test_fault_drop_on_unknown_server_raises(raw_client: RawClient, kind: FaultKind) -> None:
    raw_client.sandbox.fail("transfers.settle", kind)
    with pytest.raises(ConnectionResetError):
        await settle(raw_client)
    assert is_executed(raw_client) is (kind is FaultKind.RESET_AFTER)


async def test_fault_expired_key_is_refused_per_realm(raw_client: RawClient) -> None:
    raw_client.sandbox.fail(kind=FaultKind.EXPIRED_KEY)
    wallet = await raw_client.send("wallet.balance")
    assert (wallet.status_code, envelope(wallet)["message"]) == (400, INVALID_ACCESS)
    gateway = await raw_client.send("gateway.inquiry", {"ref_num": "1"})
    assert (gateway.status_code, envelope(gateway)["status"]) == (401, "unauthenticated")
    assert BY_ID["wallet.balance"].realm is Realm.INQUIRY


async def test_fault_http_status_changes_refusals_only(raw_client: RawClient) -> None:
    sandbox = raw_client.sandbox
    sandbox.fail("transfers.find", FaultKind.HTTP_200)
    assert (await raw_client.send("transfers.find", {"limit": 0})).status_code == 200
    assert (await raw_client.send("transfers.balance")).status_code == 400
    sandbox.fail("transfers.find", FaultKind.STATUS_0)
    response = await raw_client.send("transfers.find")
    assert (response.status_code, envelope(response)["status"]) == (200, 0)
    sandbox.heal()
    sandbox.settings.failure_http = 200
    sandbox.fail("transfers.find", FaultKind.HTTP_400)
    assert (await raw_client.send("transfers.find", {"limit": 0})).status_code == 400


async def test_fault_times_limits_calls_of_its_endpoint(raw_client: RawClient) -> None:
    raw_client.sandbox.fail("wallet.balance", FaultKind.IP, times=2)
    assert (await raw_client.call("transfers.find"))["status"] == "ok"
    statuses = [(await raw_client.call("wallet.balance"))["status"] for _ in range(4)]
    assert statuses == [7, 7, 1, 1]


async def test_faults_apply_in_order_until_healed(raw_client: RawClient) -> None:
    raw_client.sandbox.fail(kind=FaultKind.IP, times=1)
    raw_client.sandbox.fail(kind=FaultKind.FUNDS)
    assert [(await raw_client.call("wallet.balance"))["status"] for _ in range(3)] == [7, 9, 9]
    raw_client.sandbox.heal()
    assert (await raw_client.call("wallet.balance"))["status"] == 1


async def affected_calls(seed: int, rate: float) -> list[bool]:
    raw_client = RawClient(Sandbox(seed=seed, clock=ManualClock()))
    raw_client.sandbox.fail(kind=FaultKind.IP, rate=rate)
    async with raw_client.http:
        return [(await raw_client.call("wallet.balance"))["status"] == 7 for _ in range(100)]


async def test_fault_rate_is_reproducible_by_seed() -> None:
    first = await affected_calls(1, 0.3)
    assert 15 < sum(first) < 45
    assert first == await affected_calls(1, 0.3)
    assert first != await affected_calls(2, 0.3)
    assert not any(await affected_calls(1, 0))
    assert all(await affected_calls(1, 1))


def test_fault_kinds_have_distinct_docs() -> None:
    assert set(KINDS) == {str(kind) for kind in FaultKind}
    assert all(kind.doc for kind in FaultKind)
    assert len({kind.doc for kind in FaultKind}) == len(FaultKind)


def test_add_fault_over_limit_raises() -> None:
    sandbox = Sandbox()
    for _ in range(MAX_FAULTS):
        sandbox.fail(kind="html")

    with pytest.raises(ConfigurationError, match="are active already"):
        sandbox.fail(kind="html")


def test_fail_invalid_fault_raises_with_allowed_values() -> None:
    sandbox = Sandbox(clock=ManualClock())
    with pytest.raises(ConfigurationError, match="reset_after"):
        sandbox.fail(kind="explosion")
    with pytest.raises(ConfigurationError, match=r"transfers\.settle"):
        sandbox.fail("transfers.setle", "ip")
    with pytest.raises(ConfigurationError, match="endpoint"):
        sandbox.fail("gateway.payment_url", FaultKind.HTML)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rate", value) for value in (1.1, -0.1, "x", None, True, float("nan"))),
        *(("times", value) for value in (-1, 1.5, "2", True)),
        *(("seconds", value) for value in (-1, "soon", None, float("inf"))),
        *(("kind", value) for value in (None, {5}, 5)),
        *(("endpoint", value) for value in ({5}, 5)),
        *(("status", value) for value in (None, 1.5, True)),
        ("executed", "no"),
        ("envelope", 1),
    ],
)
def test_fault_invalid_value_raises_with_field_name(name: str, value: Any) -> None:
    sandbox = Sandbox(clock=ManualClock())
    with pytest.raises(ConfigurationError, match=f"^a fault's {name} cannot be"):
        sandbox.fail(**{name: value})
    assert not sandbox.faults.active
