"""Responses: the envelope and the HTTP status of refusals."""

import pytest

from tests.sandbox.raw_client import RawClient, envelope


@pytest.mark.parametrize("http", [400, 200])
async def test_refusal_http_status_follows_setting(raw_client: RawClient, http: int) -> None:
    raw_client.sandbox.settings.failure_http = http
    response = await raw_client.send("transfers.find", {"limit": 0})
    assert (response.status_code, envelope(response)["status"]) == (http, 10)
    assert set(envelope(response)) == {"status", "message", "data"}


async def test_unauthenticated_response_has_action_and_tag_settings(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.change({"unauthenticated_action": "PardakhtVerify", "unauthenticated_tag": "t"})
    content = envelope(await raw_client.send("gateway.inquiry", {"ref_num": "x"}, bearer="Bearer no"))
    assert (content["action"], content["tag"]) == ("PardakhtVerify", "t")
