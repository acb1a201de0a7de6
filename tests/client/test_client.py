"""The client: calls, realms, user middleware, closing, arguments, environment, errors and repr."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from unittest.mock import create_autospec

import anyio
import httpx
import pytest
import respx

from paystar_async import (
    Application,
    Gateway,
    InquireIban,
    MatchMobile,
    Middleware,
    PaymentPage,
    Paystar,
    Request,
    Response,
    Send,
    Wallet,
)
from paystar_async.errors import (
    ConfigurationError,
    InvalidResponse,
    InvalidValue,
    IpNotAllowed,
    NotSent,
    PaystarError,
    StatusError,
)
from paystar_async.models.identity import Match
from tests.support import (
    APPLICATION,
    GATEWAY,
    MATCH,
    RESPONSE,
    SECRETS,
    WALLET,
    Engine,
    KeyServer,
    QuickClock,
    Sent,
    client,
    html_page,
    in_turn,
    ok,
    refused,
    transfer,
    wait_all_tasks_blocked,
)

YES = ok({"is_matched": True})


# --- one call ---------------------------------------------------------------------------------------------------------


async def test_send_returns_complete_response() -> None:
    raw = (200, {"date": "today"}, b'{"status": "ok", "message": "\xd8\xaa", "data": {"is_matched": true, "new": 1}}')

    response = await client(Engine(in_turn(raw))).send(MATCH)

    assert response == Response(
        value=Match(is_matched=True, extra={"new": 1}),
        status="ok",
        message="ت",
        http_status=200,
        headers={"date": "today"},
        body=raw[2],
    )


@pytest.mark.parametrize("value", ["MatchMobile", None, object(), transfer("t"), MatchMobile])
async def test_send_other_than_request_is_refused(value: Any) -> None:
    engine = Engine(in_turn(YES))

    with pytest.raises(InvalidValue, match="value: expected the request of a call"):
        await client(engine).send(value)

    assert engine.sent == []


async def test_page_returns_url_and_sends_nothing() -> None:
    engine = Engine(in_turn(ok("page")))
    paystar = client(engine)

    with pytest.raises(InvalidValue, match=r"gateway\.payment_url is a page"):
        await paystar.send(PaymentPage(token="tok"))

    assert paystar.gateway.payment_url(token="a b") == "https://core.paystar.ir/api/pardakht/payment?token=a+b"
    assert engine.sent == []
    with pytest.raises(InvalidValue, match="request of a page"):
        paystar.page(MATCH)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_direct_gateway_uses_direct_paths() -> None:
    engine = Engine(in_turn(ok({"token": "t", "ref_num": "r"})))
    paystar = client(engine, gateway=Gateway(id="g", direct=True))

    await paystar.gateway.create(amount=5000, order_id="o", callback="https://merchant.example/back")

    assert engine.sent[0].path == "/direct/create"
    assert paystar.gateway.payment_url(token="t") == "https://core.paystar.ir/api/direct/payment?token=t"


async def test_deadline_covers_queue_refresh_attempts_and_sleeps() -> None:
    clock = QuickClock()

    async def slow(sent: Sent) -> Any:
        clock.advance(4)
        return refused(4) if sent.bearer == "key-0" else html_page(503)

    server = KeyServer(clock)

    async def script(sent: Sent) -> Any:
        return await (server(sent) if "refresh" in sent.path else slow(sent))

    engine = Engine(script)

    with pytest.raises(PaystarError):
        await client(engine, clock=clock, max_retries=50).transfers.balance(account_number="0100000000001", timeout=20)

    timeouts = [sent.timeout for sent in engine.sent_to("service/balance")]
    assert timeouts == sorted(timeouts, reverse=True)
    assert timeouts[0] == 20
    assert clock.monotonic() <= 24
    assert all(timeout > 0 for timeout in timeouts)


async def test_send_deadline_includes_queueing() -> None:
    release = asyncio.Event()

    async def hold(_: Sent) -> Any:
        await release.wait()
        return YES

    paystar = client(Engine(hold), concurrency=1)
    busy = asyncio.create_task(paystar.send(MATCH))
    await wait_all_tasks_blocked()

    with pytest.raises(NotSent, match="in flight"):
        await paystar.send(MATCH, timeout=0.01)

    release.set()
    assert (await busy).value.is_matched


@pytest.mark.parametrize("timeout", [0, -1])
async def test_send_timeout_not_above_zero_is_refused(timeout: float) -> None:
    with pytest.raises(InvalidValue, match="timeout"):
        await client(Engine(in_turn(YES))).send(MATCH, timeout=timeout)


async def test_strict_checks_verify_checksums_before_sending() -> None:
    wrong = MatchMobile(national_id="0012345678", mobile_number="09121234567")
    for checks, sent in (("shape", 1), ("strict", 0)):
        engine = Engine(in_turn(YES))
        try:
            await client(engine, checks=checks).send(wrong)
        except InvalidValue as refusal:
            assert refusal.field == "national_id"  # noqa: PT017 - only the strict client raises
        assert len(engine.sent) == sent

    engine = Engine(in_turn(ok({"iban": "IR" + "0" * 24})))
    with pytest.raises(InvalidValue, match="iban"):
        await client(engine, checks="strict").send(InquireIban(iban="IR" + "1" * 24))


# --- realms -----------------------------------------------------------------------------------------------------------

MISSING: dict[str, tuple[Callable[[Paystar], Awaitable[object]], str, str]] = {
    "application": (lambda paystar: paystar.transfers.find(), "application=Application(", "PAYSTAR_APPLICATION_ID"),
    "identity": (lambda paystar: paystar.send(MATCH), "application=Application(", "PAYSTAR_ACCESS_PASSWORD"),
    "gateway": (lambda paystar: paystar.gateway.inquiry(ref_num="r"), "gateway=Gateway(", "PAYSTAR_GATEWAY_ID"),
    "wallet": (lambda paystar: paystar.keys.refresh_wallet_key(), "wallet=Wallet(", "PAYSTAR_WALLET_HASHID"),
    "inquiry": (lambda paystar: paystar.wallet.balance(), "refresh_inquiry_key", "PAYSTAR_REFRESH_INQUIRY_KEY"),
    "page": (lambda paystar: _payment_url(paystar), "gateway=Gateway(", "PAYSTAR_GATEWAY_ID"),
    "wait": (lambda paystar: paystar.wallet.wait(track_id="t"), "wallet=Wallet(", "PAYSTAR_WALLET_HASHID"),
    "replace": (
        lambda paystar: paystar.keys.replace("application", token="k"),
        "application=",
        "PAYSTAR_APPLICATION_ID",
    ),
}


async def _payment_url(paystar: Paystar) -> str:
    return paystar.gateway.payment_url(token="t")


@pytest.mark.parametrize("name", MISSING)
async def test_call_of_unconfigured_realm_names_its_variables(name: str) -> None:
    call, argument, variable = MISSING[name]
    engine = Engine(in_turn(YES))
    paystar = Paystar(engine=engine)

    with pytest.raises(ConfigurationError) as error:
        await call(paystar)

    assert argument in str(error.value)
    assert variable in str(error.value)
    assert error.value.executed == "no"
    assert engine.sent == []


async def test_send_works_with_one_configured_account() -> None:
    paystar = Paystar(Application(id="a", access_password="p", api_key="k"), engine=Engine(in_turn(YES)))

    assert (await paystar.send(MATCH)).value.is_matched


# --- user middleware --------------------------------------------------------------------------------------------------


async def test_user_middleware_is_outermost_and_in_order() -> None:
    events: list[str] = []

    class RecordingMiddleware:
        async def __call__(self, request: Any, next: Any, /) -> Any:  # noqa: A002
            events.append(f"class in, attempt {request.attempt}, deadline {request.deadline}, key {request.key}")
            try:
                return await next(request)
            finally:
                events.append("class out")

    async def recording_middleware(request: Any, next: Any, /) -> Any:  # noqa: A002
        events.append(f"function in {request.endpoint.id}")
        return await next(request)

    paystar = client(
        Engine(in_turn(html_page(503), YES)),
        clock=QuickClock(),
        middleware=[RecordingMiddleware(), recording_middleware],
    )
    await paystar.send(MATCH)

    assert events == [
        "class in, attempt 1, deadline None, key None",
        "function in identity.match_mobile",
        "class out",
    ]


async def test_user_middleware_may_respond_or_change_request() -> None:
    async def cached(request: Any, next: Any, /) -> Any:  # noqa: A002
        return RESPONSE if request.value == MATCH else await next(request)

    engine = Engine(in_turn(ok({"iban": "x"})))
    paystar = client(engine, middleware=[cached])

    assert await paystar.send(MATCH) is RESPONSE
    assert engine.sent == []
    assert (await paystar.inquiry.iban(iban="IR" + "1" * 24)).iban == "x"


async def test_user_middleware_error_is_raised() -> None:
    async def broken(request: Any, next: Any, /) -> Any:  # noqa: A002
        raise LookupError("a bug of the user")

    with pytest.raises(LookupError):
        await client(Engine(in_turn(YES)), middleware=[broken]).send(MATCH)


# --- opening and closing ----------------------------------------------------------------------------------------------


async def test_client_works_again_after_aclose() -> None:
    engine = Engine(in_turn(YES))
    paystar = client(engine)

    for _ in range(3):
        async with paystar as same:
            assert same is paystar
            await paystar.send(MATCH)
        await paystar.aclose()
    await paystar.send(MATCH)

    assert len(engine.sent) == 4
    assert engine.closed == 0


class Transport(httpx.AsyncBaseTransport):
    """A transport of the caller that counts requests."""

    def __init__(self) -> None:
        self.requests = self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(200, json={"status": 1, "data": {"is_matched": True}})

    async def aclose(self) -> None:
        self.closed += 1


async def test_handed_in_engine_is_used_and_never_closed() -> None:
    engine, transport = Engine(in_turn(YES)), Transport()
    inner = Transport()
    httpx_client = httpx.AsyncClient(transport=inner)

    for option in (engine, transport, httpx_client):
        async with client(option) as paystar:
            await paystar.send(MATCH)

    assert engine.closed == transport.closed == inner.closed == 0
    assert len(engine.sent) == transport.requests == inner.requests == 1
    assert not httpx_client.is_closed
    await httpx_client.aclose()


async def test_default_engine_with_httpx_mocked_reaches_no_network() -> None:
    with respx.mock(base_url="https://core.paystar.ir/api") as mock:
        route = mock.post("/open-banking/service/info-matching/mobile-national-id")
        route.respond(json={"status": 1, "data": {"is_matched": True}})
        async with client("auto") as paystar:
            assert (await paystar.send(MATCH)).value.is_matched

    assert route.called


async def test_aclose_cancelled_still_waits_for_refresh() -> None:
    release, clock = asyncio.Event(), QuickClock()

    async def wait() -> None:
        await release.wait()

    server = KeyServer(clock, after_refresh=wait)
    paystar = client(Engine(server), clock=clock)
    refreshing = asyncio.create_task(paystar.keys.refresh_application_key())
    await wait_all_tasks_blocked()
    refreshing.cancel()
    with anyio.CancelScope() as scope:
        scope.cancel()
        asyncio.get_running_loop().call_later(0, release.set)
        await paystar.aclose()

    await paystar.transfers.balance(account_number="0100000000001")
    assert server.refreshes == 1


async def test_user_middleware_without_response_is_named() -> None:
    async def without_response(request: Request[Any], next: Send) -> Any:  # noqa: A002
        await next(request)

    async with client(Engine(lambda _: YES), middleware=[without_response]) as paystar:
        with pytest.raises(ConfigurationError, match="returned None") as caught:
            await paystar.send(MATCH)

    assert caught.value.executed == "no"


async def test_user_middleware_that_is_not_async_is_named() -> None:
    def not_async(request: Request[Any], next: Send) -> None: ...  # noqa: A002

    engine = Engine(lambda _: YES)
    async with client(engine, middleware=[cast("Middleware", not_async)]) as paystar:
        with pytest.raises(ConfigurationError, match="returned None – a middleware is an async function") as caught:
            await paystar.send(MATCH)

    assert (caught.value.executed, engine.sent) == ("no", [])


class _Repeating:
    async def __call__(self, request: Request[Any], next: Send) -> Response[Any]:  # noqa: A002
        return await next(request)


def _takes_no_next(request: object) -> object:
    raise AssertionError(request)


@pytest.mark.parametrize("middleware", [_Repeating, 5, _takes_no_next])
def test_user_middleware_of_wrong_shape_is_refused(middleware: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"middleware\[1\] .*– async def middleware"):
        Paystar(middleware=[_Repeating(), middleware])


async def test_user_middleware_sees_endpoint_id() -> None:
    events: list[str] = []

    async def recording(request: Request[Any], next: Send) -> Response[Any]:  # noqa: A002
        events.append(f"{request.endpoint}")
        return await next(request)

    async with client(Engine(lambda _: YES), middleware=[recording]) as paystar:
        await paystar.send(MATCH)

    assert events == ["identity.match_mobile"]


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", "30"),
        ("base_url", None),
        ("middleware", 3),
        ("middleware", ["not a middleware"]),
        ("on_event", 3),
        ("timeout", None),
        ("timeout", True),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("max_retries", "3"),
        ("concurrency", 0),
        ("concurrency", 2.5),
        ("concurrency", True),
        ("concurrency", None),
        ("checks", "none"),
        ("base_url", "http://core.paystar.ir/api"),
        ("base_url", "core.paystar.ir"),
        ("engine", "curl"),
        ("application", GATEWAY),
        ("application", "app-1"),
        ("gateway", APPLICATION),
        ("wallet", GATEWAY),
    ],
)
def test_client_invalid_argument_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        client("auto", **{name: value}) if name != "engine" else client(value)

    assert error.value.executed == "no"


def test_client_accepts_positional_accounts_and_minimal_limits() -> None:
    Paystar(APPLICATION, GATEWAY, WALLET, timeout=0.001, max_retries=0, concurrency=1)


# --- from the environment ---------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "PAYSTAR_BASE_URL": "https://api.paystar.shop/api",
    "PAYSTAR_APPLICATION_ID": "env-app",
    "PAYSTAR_ACCESS_PASSWORD": "env-pass",
    "PAYSTAR_API_KEY": "env-key",
    "PAYSTAR_GATEWAY_ID": "env-gateway",
    "PAYSTAR_GATEWAY_DIRECT": "1",
    "PAYSTAR_WALLET_HASHID": "env-wallet",
    "PAYSTAR_WALLET_PASSWORD": "env-wallet-pass",
    "PAYSTAR_WALLET_SIGN_KEY": "env-sign",
    "PAYSTAR_INQUIRY_KEY": "env-inquiry-key",
    "PAYSTAR_TIMEOUT": "7.5",
    "PAYSTAR_MAX_RETRIES": "0",
    "PAYSTAR_CONCURRENCY": "2",
    "PAYSTAR_ENGINE": "httpx",
}


@pytest.fixture(name="environment")
def full_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


async def test_from_env_reads_every_variable(environment: pytest.MonkeyPatch) -> None:
    engine = Engine(in_turn(html_page(503)))
    paystar = Paystar.from_env(engine=engine)

    for call in (paystar.wallet.balance, paystar.transfers.find):
        with pytest.raises(InvalidResponse):
            await call()

    assert [sent.bearer for sent in engine.sent] == ["env-inquiry-key", "env-key"]
    assert 7 < engine.sent[0].timeout <= 7.5
    assert engine.sent[0].fields["wallet_hashid"] == "env-wallet"
    assert paystar.gateway.payment_url(token="t") == "https://api.paystar.shop/api/direct/payment?token=t"


async def test_from_env_argument_wins_over_invalid_variable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PAYSTAR_TIMEOUT", "soon")
    environment.delenv("PAYSTAR_ACCESS_PASSWORD")
    engine = Engine(in_turn(YES))

    paystar = Paystar.from_env(
        engine=engine,
        timeout=3.0,
        application=Application(id="mine", access_password="p", api_key="my-key"),
        wallet=None,
        gateway=Gateway(id="my-gateway"),
    )
    await paystar.send(MATCH)

    assert engine.sent[0].bearer == "my-key"
    assert engine.sent[0].timeout <= 3
    with pytest.raises(ConfigurationError, match="wallet"):
        await paystar.wallet.balance()


@pytest.mark.parametrize(
    ("name", "value", "error_text"),
    [
        ("PAYSTAR_TIMEOUT", "soon", "PAYSTAR_TIMEOUT"),
        ("PAYSTAR_TIMEOUT", "-1", "timeout"),
        ("PAYSTAR_CONCURRENCY", "1.5", "PAYSTAR_CONCURRENCY"),
        ("PAYSTAR_CONCURRENCY", "0", "concurrency"),
        ("PAYSTAR_ENGINE", "curl", "curl"),
        ("PAYSTAR_BASE_URL", "http://evil.example", "base_url"),
        ("PAYSTAR_WALLET_SIGN_KEY", "", "PAYSTAR_WALLET_SIGN_KEY"),
    ],
)
def test_from_env_invalid_variable_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str, error_text: str
) -> None:
    environment.setenv(name, value)

    with pytest.raises(ConfigurationError, match=error_text):
        Paystar.from_env()


async def test_from_env_reads_variable_from_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key-from-file\n")
    environment.delenv("PAYSTAR_API_KEY")
    environment.setenv("PAYSTAR_API_KEY_FILE", str(tmp_path / "key"))
    engine = Engine(in_turn(YES))

    await Paystar.from_env(engine=engine).send(MATCH)

    assert engine.sent[0].bearer == "key-from-file"


def test_from_env_without_variables_has_no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)

    assert isinstance(Paystar.from_env(), Paystar)


# --- errors -----------------------------------------------------------------------------------------------------------


async def test_status_error_names_endpoint_and_hides_secrets() -> None:
    paystar = client(Engine(in_turn(refused(7, "10.0.0.1 of pass-app is not allowed", http=400))))

    with pytest.raises(IpNotAllowed) as error:
        await paystar.transfers.find()

    assert error.value.endpoint == "transfers.find"
    assert "pass-app" not in repr(error.value.__dict__) + str(error.value)
    assert isinstance(error.value, StatusError)
    assert isinstance(WALLET, Wallet)


@pytest.mark.parametrize("instance", [False, True])
async def test_autospec_of_client_knows_its_services(instance: bool) -> None:
    client: Any = create_autospec(Paystar, instance=instance)
    client.transfers.settle.return_value = ["settled"]

    assert await client.transfers.settle(transfers=[]) == ["settled"]
    assert {name: inspect.iscoroutinefunction(getattr(getattr(client, name), method)) for name, method in SERVICES} == (
        dict.fromkeys(dict(SERVICES), True)
    )
    with pytest.raises(TypeError, match="transfers"):
        client.transfers.settle(transfer=[])
    with pytest.raises(AttributeError):
        _ = client.transfers.nothing


SERVICES = [
    *(("identity", "match_card"), ("inquiry", "iban"), ("transfers", "wait"), ("gateway", "create")),
    *(("wallet", "settle"), ("keys", "replace"), ("payments", "confirm"), ("payouts", "submit")),
]


class TestRepr:
    def test_repr_of_client_names_accounts_and_base_url(self) -> None:
        url = "https://core.paystar.ir/api"
        assert repr(Paystar(APPLICATION, GATEWAY)) == f"<Paystar application, gateway at {url}>"
        assert repr(Paystar(wallet=WALLET)) == f"<Paystar wallet at {url}>"
        assert repr(Paystar()) == f"<Paystar without accounts at {url}>"

    @pytest.mark.parametrize(
        ("service", "name"),
        [
            ("identity", "IdentityCalls"),
            ("inquiry", "InquiryCalls"),
            ("transfers", "Transfers"),
            ("gateway", "GatewayCalls"),
            ("wallet", "Wallets"),
            ("keys", "Keys"),
            ("payments", "Payments"),
            ("payouts", "Payouts"),
        ],
    )
    def test_repr_of_service_names_its_client(self, service: str, name: str) -> None:
        paystar = Paystar(APPLICATION, GATEWAY, WALLET)
        assert repr(getattr(paystar, service)) == f"<{name} of {paystar!r}>"
        assert not [secret for secret in SECRETS if secret in repr(getattr(paystar, service))]

    def test_repr_of_client_without_constructor_is_safe(self) -> None:
        assert repr(Paystar.__new__(Paystar)) == "<Paystar without accounts at no base URL>"
