"""The search over the logged requests."""

import pytest

from paystar_async.sandbox.pages.request_search import find_requests
from tests.sandbox.raw_client import CREATE_FIELDS, RawClient


def found_calls(raw_client: RawClient, text: str = "", result: str = "") -> list[str]:
    requests = raw_client.sandbox.request_log.newest()
    return [request.endpoint.id for request in find_requests(requests, text, result)]


async def test_find_requests_searches_masked_texts(raw_client: RawClient) -> None:
    person = raw_client.sandbox.people[0]
    await raw_client.data("identity.match_mobile", national_id=person.national_id, mobile_number=person.mobile)
    created = await raw_client.create_payment(order_id="ORD-77")
    await raw_client.settle(raw_client.transfer("t-15", 5_000))
    assert found_calls(raw_client) == ["transfers.settle", "gateway.create", "identity.match_mobile"]
    for text in ("ord-77", "۷۷", created["ref_num"], "GATEWAY ord", "/pardakht/create"):
        assert found_calls(raw_client, text) == ["gateway.create"]
    assert found_calls(raw_client, "t-15") == ["transfers.settle"]
    sign_key = raw_client.sandbox.gateway.sign_key
    assert sign_key is not None
    for hidden in (person.national_id, created["token"], sign_key.reveal(), "ord-77 t-15"):
        assert found_calls(raw_client, hidden) == []


@pytest.mark.parametrize(
    ("result", "text", "expected"),
    [
        ("succeeded", "", ["wallet.balance", "wallet.balance"]),
        ("refused", "", ["gateway.inquiry"]),
        ("failed", "", ["gateway.create"]),
        ("fault", "", ["wallet.balance", "gateway.create"]),
        ("fault", "502", ["gateway.create"]),
        ("other", "", ["wallet.balance", "gateway.create", "gateway.inquiry", "wallet.balance"]),
    ],
)
async def test_find_requests_filters_by_result(
    raw_client: RawClient, result: str, text: str, expected: list[str]
) -> None:
    await raw_client.data("wallet.balance")
    await raw_client.call("gateway.inquiry", ref_num="none")
    raw_client.sandbox.fail("gateway.create", "html", times=1)
    await raw_client.send("gateway.create", CREATE_FIELDS)
    raw_client.sandbox.fail("wallet.balance", "latency", times=1, seconds=0)
    await raw_client.data("wallet.balance")
    assert found_calls(raw_client, text, result) == expected
