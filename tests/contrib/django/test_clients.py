"""The clients of a process, and the signal ``payment_verified``."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import RequestFactory, override_settings

from paystar_async.blocking import BlockingPaystar
from paystar_async.client import Paystar
from paystar_async.contrib.django import PaymentCallbackView, get_blocking_paystar, get_paystar
from paystar_async.contrib.django.clients import reset_clients
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment, Verified
from paystar_async.sandbox import Sandbox
from tests.contrib.django.support import address, pay, recorder


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
            ({"database": "default"}, "must be named by its alias, after 'django:'"),
            ({"database": {"ENGINE": "django.db.backends.sqlite3"}}, "must be named by its alias, after 'django:'"),
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
