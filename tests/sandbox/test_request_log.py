"""The request log, as the control ``requests`` returns it."""

import pytest

from tests.sandbox.raw_client import RawClient, get_control


async def test_requests_lists_calls_with_secrets_masked(raw_client: RawClient) -> None:
    raw_client.sandbox.fail("wallet.balance", "truncated", times=1)
    raw_client.sandbox.fail("wallet.balance", "html", times=1)
    await raw_client.send("wallet.balance")
    await raw_client.send("wallet.balance")
    raw_client.sandbox.fail("wallet.find", "reset_before", times=1)
    with pytest.raises(ConnectionResetError):
        await raw_client.send("wallet.find", {"track_id": "t"})
    await raw_client.settle(raw_client.transfer("t", 5_000))
    settle, dropped, html, truncated = (await get_control(raw_client, "requests"))["requests"]
    assert (settle["endpoint"], settle["http"], settle["response"]["status"]) == ("transfers.settle", 200, "ok")
    assert settle["fields"]["access_password"] == "••••••••"
    (transfer,) = settle["fields"]["transfers"]
    assert (transfer["amount"], transfer["track_id"]) == (5_000, "t")
    assert transfer["destination_firstname"].startswith("text of")
    assert (dropped["http"], dropped["response"], dropped["faults"]) == (None, None, ["reset_before"])
    assert (html["http"], html["faults"], "502" in html["response"]) == (502, ["html"], True)
    assert truncated["response"].endswith("truncated")
    raw_client.sandbox.reset()
    assert await get_control(raw_client, "requests") == {"requests": []}


async def test_mask_value_hides_fields_with_unknown_names(raw_client: RawClient) -> None:
    password = raw_client.sandbox.wallet.password.reveal()
    url = "/wallet/settlement-requests"
    for body in ({"pin": password}, {f'{{"password": "{password}"}}': ""}, {"password": password, "pin": [password]}):
        await raw_client.http.post("/wallet/create-settlement", data=body)
        await raw_client.http.post("/wallet/create-settlement", json=body)
        await raw_client.http.get(url, params=body)
    logged = await get_control(raw_client, "requests")
    assert len(logged["requests"]) == 9
    assert password not in str(logged)
    assert "pin" in str(logged)


async def test_request_log_keeps_the_last_fifty(raw_client: RawClient) -> None:
    for _ in range(55):
        await raw_client.send("wallet.balance")
    numbers = [request["number"] for request in (await get_control(raw_client, "requests"))["requests"]]
    assert numbers == list(range(55, 5, -1))
