"""The clients of a process: one ``Paystar``, used by asynchronous and synchronous code alike."""

from threading import Lock, Thread
from typing import Any

from attrs import define, field
from django.core.signals import setting_changed
from django.db import close_old_connections
from django.dispatch import Signal

from paystar_async.blocking import BlockingPaystar
from paystar_async.client import Paystar
from paystar_async.contrib.django.configuration import client_options
from paystar_async.payments import Payment

payment_verified = Signal()
"""Sent with ``payment`` for each verified payment of a stored order, at least once.

If a receiver raises, or the process ends before all receivers return, the signal is sent again by a later sweep, maybe
in another process. Make a receiver's work unique by ``payment.id``, in the transaction that fulfils the order.
Receivers run in another thread, on database connections of that thread, and have 60 seconds.
"""


@define(eq=False)
class _Clients:
    lock: Lock = field(factory=Lock)
    client: Paystar | None = None
    blocking: BlockingPaystar | None = None

    def get(self) -> tuple[Paystar, BlockingPaystar]:
        with self.lock:
            if self.client is None or self.blocking is None:
                self.client = Paystar.from_env(**client_options())
                self.blocking = BlockingPaystar.from_client(self.client)
            if payment_verified.has_listeners():
                # Without a receiver nothing is verified in the background: the money of an order that is not fulfilled
                # goes back by itself.
                self.client.payments.on_verified(send_payment_verified)
            return self.client, self.blocking

    def reset(self) -> None:
        with self.lock:
            blocking, self.client, self.blocking = self.blocking, None, None
        if blocking is not None:
            # In another thread, since tests change settings in an event loop, too.
            closing = Thread(target=blocking.close)
            closing.start()
            closing.join()


_clients = _Clients()


def get_paystar() -> Paystar:
    """Return the process's client for asynchronous code; it is opened at its first call in each event loop.

    Raises:
        ConfigurationError: the setting ``PAYSTAR`` or a variable of the environment is wrong.
    """
    return _clients.get()[0]


def get_blocking_paystar() -> BlockingPaystar:
    """Return the process's client for synchronous code, for any number of threads.

    Raises:
        ConfigurationError: the setting ``PAYSTAR`` or a variable of the environment is wrong.
    """
    return _clients.get()[1]


def reset_clients() -> None:
    """Close the blocking client; the next call creates both clients from the then current configuration.

    Called when a test overrides ``PAYSTAR``. Close the asynchronous client yourself, in its event loop.
    """
    _clients.reset()


def send_payment_verified(payment: Payment) -> None:
    """Send ``payment_verified`` to all receivers, and raise the first error of a receiver."""
    close_old_connections()
    try:
        results = payment_verified.send_robust(sender=Paystar, payment=payment)
    finally:
        close_old_connections()
    for _, result in results:
        if isinstance(result, Exception):
            raise result


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    if setting in ("PAYSTAR", "DATABASES"):
        reset_clients()


setting_changed.connect(_on_setting_changed, dispatch_uid="paystar_async")
