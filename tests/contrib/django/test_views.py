"""The view of the callback."""

import asyncio
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views import View

from paystar_async.contrib.django import PaymentCallbackView, get_paystar
from paystar_async.errors import ConfigurationError
from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox
from tests.contrib.django.support import address, pay

FORM = "application/x-www-form-urlencoded"


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

    def test_async_lookup_of_plain_handler_is_refused(self) -> None:
        async def amount_of(order_id: str) -> int | None:
            raise AssertionError

        with pytest.raises(ConfigurationError, match="cannot await amount_of"):
            PaymentCallbackView.as_view(on_payment=address, amount_of=amount_of)

        class Callback(PaymentCallbackView):
            pass

        Callback.amount_of = staticmethod(amount_of)
        with pytest.raises(ConfigurationError, match="cannot await amount_of"):
            Callback.as_view()

    def test_wrong_handler_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot be called with a request and a payment"):
            PaymentCallbackView.as_view(on_payment=lambda: "/")
        for amount_of in (50_000, lambda: 50_000):
            with pytest.raises(ConfigurationError, match="amount_of"):
                PaymentCallbackView.as_view(amount_of=amount_of)


def _encoded(fields: dict[str, str]) -> bytes:
    from urllib.parse import urlencode

    return urlencode(fields).encode()
