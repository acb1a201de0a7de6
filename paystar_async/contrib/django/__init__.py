"""Django: a client for each process, the callback's view, a signal for verified payments, and commands.

    INSTALLED_APPS = [..., "paystar_async.contrib.django"]
    PAYSTAR = {"database": "django:default"}  # any argument of Paystar; the rest comes from the environment

    path("pay/callback", PaymentCallbackView.as_view(on_payment=on_payment), name="paystar_callback")

Synchronous views use ``get_blocking_paystar()``, asynchronous views await ``get_paystar()``, under WSGI and ASGI alike.
``manage.py paystar_sweep --forever`` checks the orders whose payer never came back. The middleware
``paystar_async.contrib.django.middleware.PaystarErrorsMiddleware`` responds to errors of the SDK with JSON.
"""

from paystar_async.errors import MissingExtra

try:
    import django  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError:
    raise MissingExtra("paystar_async.contrib.django", "django") from None

from paystar_async.contrib.django.clients import get_blocking_paystar, get_paystar, payment_verified
from paystar_async.contrib.django.views import PaymentCallbackView

__all__ = ["PaymentCallbackView", "get_blocking_paystar", "get_paystar", "payment_verified"]
