"""Django: clients, settings, the signal, the callback's view, system checks and commands."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.contrib.shops import set_up_django

set_up_django()

from django.core.checks import CheckMessage, run_checks  # noqa: E402
from django.core.exceptions import PermissionDenied  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.db.utils import ConnectionHandler  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from django.views import View  # noqa: E402

from paystar_async.blocking import BlockingPaystar  # noqa: E402
from paystar_async.client import Paystar  # noqa: E402
from paystar_async.contrib.django import (  # noqa: E402
    PaymentCallbackView,
    configuration,
    get_blocking_paystar,
    get_paystar,
    payment_verified,
)
from paystar_async.contrib.django.clients import reset_clients  # noqa: E402
from paystar_async.contrib.django.management.commands.paystar_doctor import make_client  # noqa: E402
from paystar_async.contrib.django.middleware import PaystarErrorsMiddleware  # noqa: E402
from paystar_async.errors import ConfigurationError, InvalidToken, InvalidValue  # noqa: E402
from paystar_async.payments import Payment, Verified  # noqa: E402
from paystar_async.sandbox import Sandbox  # noqa: E402
from paystar_async.storage.postgres import PostgresDatabase  # noqa: E402
from paystar_async.storage.sqlite import SqliteDatabase  # noqa: E402
from tests.blocking.support import loop_threads  # noqa: E402

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox()
    options = {
        "application": sandbox.application,
        "gateway": sandbox.gateway,
        "wallet": sandbox.wallet,
        "engine": sandbox.engine(),
        "database": tmp_path / "orders.db",
    }
    with override_settings(PAYSTAR=options):
        yield sandbox
    assert not loop_threads()


def pay(sandbox: Sandbox, order_id: str = "o-1") -> dict[str, str]:
    started = get_blocking_paystar().payments.start(
        amount=50_000, order_id=order_id, callback="https://shop.example/pay/callback"
    )
    return sandbox.pay(started.url)


def recorder(received: list[Payment]) -> Callable[..., None]:
    """Return a receiver that appends the payments to a list."""

    def record(payment: Payment, **_: Any) -> None:
        received.append(payment)

    return record


def address(request: HttpRequest, payment: Payment) -> str:
    return f"/orders/{payment.order_id}"


@pytest.fixture
def connected() -> Iterator[Callable[[Callable[..., object]], None]]:
    """Return a function that connects a receiver of ``payment_verified`` for the test."""
    receivers: list[Callable[..., object]] = []

    def connect(receiver: Callable[..., object]) -> None:
        payment_verified.connect(receiver, weak=False)
        receivers.append(receiver)

    yield connect
    for receiver in receivers:
        payment_verified.disconnect(receiver)


class TestClients:
    def test_clients_are_the_same_for_all_threads(self, sandbox: Sandbox) -> None:
        clients: set[tuple[Paystar, BlockingPaystar]] = set()

        def get() -> None:
            clients.add((get_paystar(), get_blocking_paystar()))

        threads = [threading.Thread(target=get) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(clients) == 1

    def test_setting_goes_before_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAYSTAR_GATEWAY_ID", "g-1")
        monkeypatch.setenv("PAYSTAR_BASE_URL", "https://environment.example/api")
        with override_settings(PAYSTAR={"base_url": "https://setting.example/api"}):
            assert "gateway" in repr(get_paystar())
            assert "https://setting.example/api" in repr(get_paystar())

    def test_overridden_setting_makes_new_client(self, sandbox: Sandbox) -> None:
        before = get_paystar()
        with override_settings(PAYSTAR={}):
            assert get_paystar() is not before

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (["gateway"], "PAYSTAR must be a dict"),
            ({"gatway": None}, "unknown keys: gatway"),
            ({"database": "django:other"}, "DATABASES has no 'other'"),
            ({"timeout": -1}, "timeout"),
        ],
    )
    def test_wrong_setting_is_error_and_check(self, value: object, message: str) -> None:
        with override_settings(PAYSTAR=value):
            with pytest.raises(ConfigurationError, match=message):
                get_paystar()
            assert [error.id for error in run_checks()] == ["paystar.E001"]

    async def test_async_client_is_awaited(self, sandbox: Sandbox) -> None:
        async with get_paystar() as paystar:
            assert (await paystar.wallet.balance()).total_amount >= 0
        with pytest.raises(ConfigurationError, match="use Paystar there"):
            get_blocking_paystar().wallet.balance()


class TestDatabase:
    def use(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Any:
        monkeypatch.setattr(configuration, "connections", ConnectionHandler({"default": settings}))
        return configuration.django_database("default")

    def test_sqlite_file_is_shared(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        database = self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=tmp_path / "shop.db")
        assert isinstance(database, SqliteDatabase)
        assert "shop.db" in repr(database)

    def test_sqlite_in_memory_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (":memory:", "file:memorydb_default?mode=memory&cache=shared"):
            with pytest.raises(ConfigurationError, match="in memory"):
                self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=name)

    def test_other_database_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError, match="does not support"):
            self.use(monkeypatch, ENGINE="django.db.backends.dummy")

    async def test_postgres_is_shared(self, monkeypatch: pytest.MonkeyPatch, postgres_schema: str) -> None:
        from psycopg.conninfo import conninfo_to_dict

        parts = conninfo_to_dict(postgres_schema)
        database = self.use(
            monkeypatch,
            ENGINE="django.db.backends.postgresql",
            NAME=parts["dbname"],
            USER=parts.get("user", ""),
            HOST=parts["host"],
            OPTIONS={"options": parts["options"], "pool": True},
        )
        assert isinstance(database, PostgresDatabase)
        assert await database.fetch("SELECT 1 AS answer") == [{"answer": 1}]
        await database.aclose()

    def test_variable_names_django_database(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PAYSTAR_DATABASE", "django:default")
        self.use(monkeypatch, ENGINE="django.db.backends.sqlite3", NAME=tmp_path / "shop.db")
        assert isinstance(configuration.client_options().get("database"), SqliteDatabase)


class TestSignal:
    def test_receiver_is_sent_payment_once(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None]
    ) -> None:
        received: list[Payment] = []
        connected(recorder(received))
        view = PaymentCallbackView.as_view(on_payment=address)
        fields = pay(sandbox)
        assert [view(RequestFactory().get("/", fields)).status_code for _ in range(2)] == [303, 303]
        assert [(payment.order_id, type(payment.outcome)) for payment in received] == [("o-1", Verified)]

    def test_raising_receiver_is_sent_again(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        received: list[str] = []

        def failing(payment: Payment, **_: Any) -> None:
            received.append("failing")
            if len(received) < 3:
                raise OSError("the shop's own")

        connected(failing)

        def other(payment: Payment, **_: Any) -> None:
            received.append("other")

        connected(other)
        fields = pay(sandbox)
        view = PaymentCallbackView.as_view(on_payment=address)
        assert view(RequestFactory().get("/", fields)).status_code == 303
        assert sorted(received) == ["failing", "other"]  # an error keeps no other receiver from its payment
        assert "is called again later" in caplog.text

        reset_clients()  # as in the next process
        order = get_blocking_paystar().payments.find(order_id="o-1")
        assert order is not None
        assert order.verified is not None
        assert order.notified_at is None

    def test_without_receiver_nothing_is_notified(self, sandbox: Sandbox) -> None:
        PaymentCallbackView.as_view(on_payment=address)(RequestFactory().get("/", pay(sandbox)))
        order = get_blocking_paystar().payments.find(order_id="o-1")
        assert order is not None
        assert order.notified_at is None


class TestView:
    @pytest.mark.parametrize(
        "read",
        [attrgetter("POST"), attrgetter("body"), attrgetter("path")],
        ids=["POST", "body", "not read"],
    )
    def test_body_read_before_is_found(self, sandbox: Sandbox, read: Callable[[HttpRequest], object]) -> None:
        request = RequestFactory().generic("POST", "/", _encoded(pay(sandbox)), FORM)
        read(request)
        assert PaymentCallbackView.as_view(on_payment=address)(request).status_code == 303

    @pytest.mark.parametrize("read", [attrgetter("POST"), attrgetter("path")], ids=["parsed before", "not read"])
    def test_form_of_test_client_is_read(self, sandbox: Sandbox, read: Callable[[HttpRequest], object]) -> None:
        request = RequestFactory().post("/", pay(sandbox))  # multipart
        read(request)
        assert PaymentCallbackView.as_view(on_payment=address)(request).status_code == 303

    @pytest.mark.parametrize("is_async", [False, True])
    def test_body_read_as_stream_is_503(
        self, sandbox: Sandbox, is_async: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def asynchronous(request: HttpRequest, payment: Payment) -> str:
            return "/"

        request = RequestFactory().generic("POST", "/", _encoded(pay(sandbox)), FORM)
        request.read()
        view: Any = PaymentCallbackView.as_view(on_payment=asynchronous if is_async else address)
        response = asyncio.run(view(request)) if is_async else view(request)
        assert response.status_code == 503
        assert "request.body in Django" in caplog.text

    def test_subclass_overrides_handler(self, sandbox: Sandbox) -> None:
        class Callback(PaymentCallbackView):
            def on_payment(self, request: HttpRequest, payment: Payment) -> HttpResponse:
                return HttpResponse(self.kwargs["shop"])

        class AsyncCallback(PaymentCallbackView):
            async def on_payment(self, request: HttpRequest, payment: Payment) -> None:
                return None

        request = RequestFactory().get("/", pay(sandbox))
        assert Callback.as_view()(request, shop="tea").content == b"tea"

        async def call() -> HttpResponse:
            view: Any = AsyncCallback.as_view()
            response: HttpResponse = await view(request)
            await get_paystar().aclose()
            return response

        assert "The payment was made" in asyncio.run(call()).content.decode()

    def test_default_shows_result(self, sandbox: Sandbox) -> None:
        response = PaymentCallbackView.as_view()(RequestFactory().get("/", pay(sandbox)))
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")

    def test_permission_denied_is_left_to_django(self, sandbox: Sandbox) -> None:
        def deny(request: HttpRequest, payment: Payment) -> str:
            raise PermissionDenied

        with pytest.raises(PermissionDenied):
            PaymentCallbackView.as_view(on_payment=deny)(RequestFactory().get("/", pay(sandbox)))

    def test_view_is_exempt_from_csrf_login_and_transactions(self) -> None:
        view: Any = PaymentCallbackView.as_view(on_payment=address)
        assert view.csrf_exempt
        assert not view.login_required
        assert view._non_atomic_requests == {"default"}
        assert issubclass(PaymentCallbackView, View)

    def test_wrong_handler_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot be called with a request and a payment"):
            PaymentCallbackView.as_view(on_payment=lambda: "/")


def _encoded(fields: dict[str, str]) -> bytes:
    from urllib.parse import urlencode

    return urlencode(fields).encode()


def test_middleware_leaves_other_errors_to_django() -> None:
    middleware = PaystarErrorsMiddleware(lambda _: HttpResponse())
    assert middleware.process_exception(RequestFactory().get("/"), KeyError()) is None
    response = middleware.process_exception(RequestFactory().get("/"), InvalidValue("a", expected="b", got="c"))
    assert response is not None
    assert response.status_code == 422


class TestChecks:
    def ids(self, *, deploy: bool = False) -> list[str | None]:
        messages: list[CheckMessage] = run_checks(include_deployment_checks=deploy)
        return [message.id for message in messages if (message.id or "").startswith("paystar")]

    def test_nothing_configured_is_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with override_settings(PAYSTAR={}):
            assert self.ids() == ["paystar.W001"]

    def test_configured_has_no_message(self, sandbox: Sandbox) -> None:
        assert self.ids() == []

    def test_deployment_names_keys_and_receiver(self, sandbox: Sandbox) -> None:
        assert self.ids(deploy=True) == ["paystar.W002", "paystar.W003"]

    def test_deployment_of_complete_shop_has_no_message(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None], tmp_path: Path
    ) -> None:
        from django.conf import settings

        connected(recorder([]))
        with override_settings(PAYSTAR={**settings.PAYSTAR, "keys": str(tmp_path / "keys.db")}):
            assert self.ids(deploy=True) == []

    def test_deployment_leaves_wrong_setting_to_other_check(self) -> None:
        with override_settings(PAYSTAR=3):
            assert self.ids(deploy=True) == ["paystar.E001"]


class TestCommands:
    def test_sweep_without_receiver_is_refused(self, sandbox: Sandbox) -> None:
        with pytest.raises(CommandError, match="no receiver"):
            call_command("paystar_sweep")

    def test_sweep_prints_what_was_decided(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.conf import settings

        from paystar_async import ManualClock

        clock = ManualClock()
        received: list[Payment] = []
        connected(recorder(received))
        with override_settings(PAYSTAR={**settings.PAYSTAR, "clock": clock}):
            pay(sandbox)  # and the payer never comes back
            clock.advance(61)
            out = StringIO()
            call_command("paystar_sweep", stdout=out)
        assert out.getvalue() == "o-1: Verified\n"
        assert len(received) == 1

    def test_sweep_error_is_command_error(self, connected: Callable[[Callable[..., object]], None]) -> None:
        connected(recorder([]))
        with override_settings(PAYSTAR={}), pytest.raises(CommandError, match="gateway"):
            call_command("paystar_sweep")

    def test_doctor_reports_each_account(self, sandbox: Sandbox) -> None:
        out = StringIO()
        call_command("paystar_doctor", stdout=out)
        for name in ("application", "wallet, reading", "gateway", "order store"):
            assert f"{name}: ok" in out.getvalue()
        assert "paystar.W002" in out.getvalue()

    def test_doctor_failed_check_is_error(self, sandbox: Sandbox) -> None:
        sandbox.fail("gateway.inquiry", "ip")
        out = StringIO()
        with pytest.raises(CommandError, match="1 checks failed"):
            call_command("paystar_doctor", stdout=out)
        assert "wallet, reading: ok" in out.getvalue()

    def test_doctor_other_payment_is_error(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        with override_settings(PAYSTAR={"timeout": -1}), pytest.raises(CommandError, match="configuration is wrong"):
            call_command("paystar_doctor")

    def test_doctor_refreshes_no_key(self, sandbox: Sandbox) -> None:
        from django.conf import settings

        application = evolve(sandbox.application, api_key="expired")
        setting = {**settings.PAYSTAR, "application": application}
        with override_settings(PAYSTAR=setting), make_client() as paystar, pytest.raises(InvalidToken):
            paystar.transfers.find(limit=1)
        assert not any(sandbox.stats["refreshes"].values())
