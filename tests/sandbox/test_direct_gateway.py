"""A direct gateway from create to inquiry: every path under ``/api/direct``, in process and over a connection."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from paystar_async import Callback, Gateway, Paystar
from paystar_async.payments import Verified
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running

CALLBACK = "https://shop.example/back"


@asynccontextmanager
async def browser_and_client(
    sandbox: Sandbox, path: Path, *, as_server: bool
) -> AsyncGenerator[tuple[httpx.AsyncClient, Paystar]]:
    gateway = Gateway(id=sandbox.gateway.id, sign_key=sandbox.gateway.sign_key, direct=True)
    if as_server:
        with running(sandbox) as base_url:
            async with (
                httpx.AsyncClient(trust_env=False) as browser,
                Paystar(gateway=gateway, base_url=base_url, database=path) as paystar,
            ):
                yield browser, paystar
        return
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)) as browser,
        Paystar(gateway=gateway, base_url="http://localhost/api", engine=sandbox.engine(), database=path) as paystar,
    ):
        yield browser, paystar


@pytest.mark.parametrize("as_server", [False, True])
async def test_direct_gateway_whole_payment_stays_under_api_direct(tmp_path: Path, as_server: bool) -> None:
    sandbox = Sandbox()
    async with browser_and_client(sandbox, tmp_path / "p.db", as_server=as_server) as (browser, paystar):
        started = await paystar.payments.start(amount=50_000, order_id="o-1", callback=CALLBACK, callback_method=1)
        assert urlsplit(started.url).path == "/api/direct/payment"
        page = await browser.get(started.url)
        assert page.status_code == 200
        fields = {"token": dict(parse_qsl(urlsplit(started.url).query))["token"], "choice": "pay"}
        back = await browser.post(started.url.partition("?")[0], data=fields)
        callback = Callback.parse(dict(parse_qsl(urlsplit(back.headers["location"]).query)))
        payment = await paystar.payments.confirm(callback)
        transaction = await paystar.gateway.inquiry(ref_num=started.ref_num)

    assert isinstance(payment.outcome, Verified)
    assert transaction.status == "SUCCEED"
    assert set(sandbox.stats["requests"]) == {"gateway.create", "gateway.verify", "gateway.inquiry"}


@pytest.mark.parametrize("name", ["create", "verify", "inquiry", "payment"])
async def test_direct_paths_below_pardakht_are_not_found(name: str) -> None:
    sandbox = Sandbox()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app), base_url="http://localhost") as http:
        assert (await http.post(f"/api/pardakht/direct/{name}")).status_code == 404
        assert (await http.post(f"/api/direct/{name}")).status_code != 404
