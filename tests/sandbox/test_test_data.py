"""A row the bank knows nothing of answers all the same, with what its type says."""

from collections.abc import Mapping

import httpx
import pytest
from attrs import field
from starlette.applications import Starlette

from paystar_async.clock import ManualClock
from paystar_async.endpoint import Endpoint, Realm, Safety
from paystar_async.models.base import Call, answer_type, answered, no_extra, sent
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.app import table_routes
from paystar_async.sandbox.bank import Bank
from paystar_async.sandbox.test_data import sample
from paystar_async.table import TABLE
from paystar_async.transport.structure import structure
from paystar_async.values.text import Hashid


@answered
class Refund:
    """What became of a refund."""

    hashid: str
    done: bool
    parts: tuple[int, ...] = ()
    note: str | None = None
    extra: Mapping[str, object] = field(factory=no_extra)


@sent
class AskForRefund(Call[Refund]):
    """Give a payment back."""

    hashid: Hashid


REFUND = Endpoint(
    service="gateway",
    name="refund",
    method="POST",
    path="{gateway}/refund",
    request=AskForRefund,
    realm=Realm.GATEWAY,
    safety=Safety.ONCE,
)


async def test_a_new_row_has_a_route_that_checks_and_answers() -> None:
    sandbox = Sandbox(clock=ManualClock())
    app = Starlette(routes=list(table_routes(sandbox, [REFUND])))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/api") as http:
        headers = {"authorization": f"Bearer {sandbox.gateway.id.reveal()}"}
        good = await http.post("/pardakht/refund", json={"hashid": "h"}, headers=headers)
        wrong = await http.post("/direct/refund", json={}, headers=headers)
        stranger = await http.post("/pardakht/refund", json={"hashid": "h"})
    data = {"hashid": "sample", "done": True, "parts": [10_000], "note": "sample"}
    assert good.json()["data"] == data
    assert wrong.json()["status"] == -1
    assert stranger.status_code == 401


@pytest.mark.parametrize("row", [row for row in TABLE if row.kind == "call"], ids=lambda row: row.id)
def test_every_answers_sample_reads_as_the_answer(row: Endpoint) -> None:
    structure(answer_type(row.request), sample(answer_type(row.request)))


@pytest.mark.parametrize("row", [row for row in TABLE if row.kind == "call"], ids=lambda row: row.id)
def test_every_row_has_a_method_of_its_own_or_renews(row: Endpoint) -> None:
    assert row.renews or hasattr(Bank, row.id.replace(".", "_"))
