"""Test data: people, and sample values by which a new endpoint responds."""

from collections.abc import Mapping

import httpx
import pytest
from attrs import field
from starlette.applications import Starlette

from paystar_async.credentials import Realm
from paystar_async.endpoint import Endpoint, Safety
from paystar_async.models.base import Call, no_extra, request_model, response_model, response_type
from paystar_async.runtime.clock import ManualClock
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.app import table_routes
from paystar_async.sandbox.bank import Bank
from paystar_async.sandbox.test_data import sample_value
from paystar_async.table import TABLE
from paystar_async.transport.structuring import structure_response
from paystar_async.values.bank_accounts import bank_of_iban, is_valid_card, is_valid_iban
from paystar_async.values.banks import bank_by_card
from paystar_async.values.identity import is_valid_national_id
from paystar_async.values.text import Hashid


@response_model
class Refund:
    """A refund."""

    hashid: str
    done: bool
    parts: tuple[int, ...] = ()
    note: str | None = None
    extra: Mapping[str, object] = field(factory=no_extra)


@request_model
class RequestRefund(Call[Refund]):
    """Refund a payment."""

    hashid: Hashid


REFUND = Endpoint(
    service="gateway",
    name="refund",
    method="POST",
    path="{gateway}/refund",
    request=RequestRefund,
    realm=Realm.GATEWAY,
    safety=Safety.ONCE,
)


async def test_table_routes_new_endpoint_validates_and_responds() -> None:
    sandbox = Sandbox(clock=ManualClock())
    app = Starlette(routes=list(table_routes(sandbox, [REFUND])))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/api") as http:
        headers = {"authorization": f"Bearer {sandbox.gateway.id.reveal()}"}
        valid = await http.post("/pardakht/refund", json={"hashid": "h"}, headers=headers)
        invalid = await http.post("/direct/refund", json={}, headers=headers)
        unauthenticated = await http.post("/pardakht/refund", json={"hashid": "h"})
    data = {"hashid": "sample", "done": True, "parts": [10_000], "note": "sample"}
    assert valid.json()["data"] == data
    assert invalid.json()["status"] == -1
    assert unauthenticated.status_code == 401


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in TABLE if endpoint.kind == "call"], ids=lambda endpoint: endpoint.id
)
def test_sample_value_parses_as_response_type(endpoint: Endpoint) -> None:
    structure_response(response_type(endpoint.request), sample_value(response_type(endpoint.request)))


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in TABLE if endpoint.kind == "call"], ids=lambda endpoint: endpoint.id
)
def test_bank_has_method_for_every_endpoint(endpoint: Endpoint) -> None:
    assert endpoint.refresh_token_field or hasattr(Bank, endpoint.id.replace(".", "_"))


@pytest.mark.parametrize("seed", range(20))
def test_make_people_numbers_have_valid_check_digits(seed: int) -> None:
    for person in Sandbox(seed=seed).people:
        assert is_valid_national_id(person.national_id)
        assert is_valid_card(person.card)
        assert is_valid_iban(person.iban)
        bank = bank_of_iban(person.iban)
        assert bank is not None
        assert bank == bank_by_card(person.card)
        assert bank.id == person.bank_id
