"""The application: paths, methods, hostile values, and a direct gateway's payment under ``/api/direct``."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from paystar_async import Callback, Gateway, Paystar
from paystar_async.endpoint import Endpoint
from paystar_async.payments import Verified
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running
from paystar_async.table import TABLE
from tests.sandbox.raw_client import FORM_TYPE, RawClient, envelope, example_fields, reveal

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
async def test_direct_payment_uses_only_api_direct_paths(tmp_path: Path, as_server: bool) -> None:
    sandbox = Sandbox()
    async with browser_and_client(sandbox, tmp_path / "p.db", as_server=as_server) as (browser, paystar):
        started = await paystar.payments.start(amount=50_000, order_id="o-1", callback=CALLBACK, callback_method=1)
        assert urlsplit(started.url).path == "/api/direct/payment"
        page = await browser.get(started.url)
        assert page.status_code == 200
        fields = {"token": dict(parse_qsl(urlsplit(started.url).query))["token"], "choice": "pay"}
        redirect = await browser.post(started.url.partition("?")[0], data=fields)
        callback = Callback.parse(dict(parse_qsl(urlsplit(redirect.headers["location"]).query)))
        payment = await paystar.payments.confirm(callback)
        transaction = await paystar.gateway.inquiry(ref_num=started.ref_num)

    assert isinstance(payment.outcome, Verified)
    assert transaction.status == "SUCCEED"
    assert set(sandbox.stats["requests"]) == {"gateway.create", "gateway.verify", "gateway.inquiry"}


@pytest.mark.parametrize("name", ["create", "verify", "inquiry", "payment"])
async def test_direct_paths_below_pardakht_are_404(name: str) -> None:
    sandbox = Sandbox()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app), base_url="http://localhost") as http:
        assert (await http.post(f"/api/pardakht/direct/{name}")).status_code == 404
        assert (await http.post(f"/api/direct/{name}")).status_code != 404


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in TABLE if endpoint.kind == "call"], ids=lambda endpoint: endpoint.id
)
async def test_app_every_path_responds_with_and_without_slash(raw_client: RawClient, endpoint: Endpoint) -> None:
    fields = example_fields(endpoint.id)
    if endpoint.id in ("gateway.verify", "gateway.inquiry"):
        fields["ref_num"] = "none"
    for path in endpoint.paths:
        for slash in ("", "/"):
            response = await raw_client.send(endpoint.id, fields, path=path + slash)
            assert envelope(response)["status"] in (1, "ok", -5), (path, response.text)


def test_table_paths_are_unique_with_direct_variants() -> None:
    paths = [path for endpoint in TABLE for path in endpoint.paths]
    assert len(paths) == len(set(paths)) == len(TABLE) + 4 + 1
    assert "/direct/create" in paths
    assert "/application/refresh-api-key" in paths


async def test_app_unknown_path_is_404_and_wrong_method_405(raw_client: RawClient) -> None:
    assert (await raw_client.http.post("/pardakht/refund")).status_code == 404
    assert (await raw_client.http.get("/pardakht/create")).status_code == 405


EXTRA_FIELDS = ("sign", "password", "wallet_hashid", "callback_method", "allotment", "\ud800", "refresh_token")
HOSTILE_VALUES: list[object] = [
    "\ud800", "x\udc00", "\x00", "a\x00b", "\u202e", "", " ", 10**400, -(10**30), 1e308, True, [], {}, [[]], {"a": {}},
    [None] * 3, "9" * 5_000, {"\ud800": 1}, {"": ""}, 0.1, -1,
]  # fmt: skip


@pytest.mark.parametrize(
    "endpoint", [endpoint for endpoint in TABLE if endpoint.kind == "call"], ids=lambda endpoint: endpoint.id
)
async def test_app_hostile_value_is_never_a_server_error(raw_client: RawClient, endpoint: Endpoint) -> None:
    fields = example_fields(endpoint.id)
    for name in [*fields, *EXTRA_FIELDS]:
        for value in HOSTILE_VALUES:
            credentials = raw_client.credentials
            body: dict[str, object] = {**credentials.identification_fields(endpoint.realm, endpoint.method), **fields}
            body = {field: reveal(item) for field, item in body.items()}
            token = credentials.initial_token(endpoint.realm)[0]
            headers = {"authorization": f"Bearer {token.reveal() if token else ''}"}
            content = json.dumps(body | {name: value})
            if endpoint.method == "GET":
                query = urlencode(body | {name: value}, errors="surrogatepass")
                response = await raw_client.http.get(f"{endpoint.paths[0]}?{query}", headers=headers)
            else:
                response = await raw_client.http.post(endpoint.paths[0], content=content, headers=headers)
                form = urlencode(body | {name: value}, errors="surrogatepass")
                headers["content-type"] = FORM_TYPE
                assert (await raw_client.http.post(endpoint.paths[0], content=form, headers=headers)).status_code < 500
            assert response.status_code < 500, (name, value)
            response.json()


@pytest.mark.parametrize("path", ["/wallet/wallets-balance", "/pardakht/create", "/pardakht/payment"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
async def test_app_wrong_method_is_405_with_allow_header(raw_client: RawClient, path: str, method: str) -> None:
    response = await raw_client.http.request(method, path)
    assert response.status_code == 405
    allowed = {"GET"} if "balance" in path else {"POST"} if "create" in path else {"GET", "POST"}
    assert {name.strip() for name in response.headers["allow"].split(",")} == allowed


def test_sandbox_app_is_created_once() -> None:
    sandbox = Sandbox()
    assert sandbox.app is sandbox.app
