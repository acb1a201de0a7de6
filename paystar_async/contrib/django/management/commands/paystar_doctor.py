"""``manage.py paystar_doctor``: check the configuration and the connection; no money moves."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from paystar_async.blocking import BlockingPaystar
from paystar_async.contrib.django.configuration import client_options, option
from paystar_async.contrib.django.system_checks import check_deployment, check_settings
from paystar_async.credentials import without_refresh_tokens
from paystar_async.errors import ConfigurationError, PaystarError, UnknownRefNum
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.read_only import ReadOnlyKeyStore
from paystar_async.runtime.clock import SystemClock

Check = tuple[str, Callable[[], object]]


class Command(BaseCommand):
    """Check the configuration, the order store and each account by one read-only request."""

    help = "Check the configuration, the order store and each account by one read-only request; no money moves."
    requires_system_checks = ()

    def handle(self, *_: Any, **__: Any) -> None:
        """Print the result of each check.

        Raises:
            CommandError: a check failed.
        """
        messages = [*check_settings(), *check_deployment()]
        for message in messages:
            self.stdout.write(f"{message.id}: {message.msg} – {message.hint}")
        if any(message.is_serious() for message in messages):
            raise CommandError("the configuration is wrong")
        failed = 0
        with make_client() as paystar:
            self.stdout.write(repr(paystar))
            for name, check in checks(paystar):
                try:
                    check()
                except PaystarError as error:
                    failed += 1
                    self.stdout.write(self.style.ERROR(f"{name}: {error}"))
                else:
                    self.stdout.write(self.style.SUCCESS(f"{name}: ok"))
        if failed:
            raise CommandError(f"{failed} checks failed")


def make_client() -> BlockingPaystar:
    """Return a client that refreshes no key, and changes nothing in the key store."""
    application, wallet = without_refresh_tokens(option("application"), option("wallet"))
    keys = ReadOnlyKeyStore(make_key_store(option("keys"), SystemClock(), option("crypto")))
    return BlockingPaystar.from_env(**client_options() | {"application": application, "wallet": wallet, "keys": keys})


def checks(paystar: BlockingPaystar) -> Iterator[Check]:
    """Yield a check for each configured account and for the order store."""
    if option("application") is not None:
        yield "application", lambda: paystar.transfers.find(limit=1)
    if option("wallet") is not None:
        yield "wallet, reading", paystar.wallet.balance
    if option("gateway") is not None:
        yield "gateway", lambda: check_gateway(paystar)
    if option("database"):
        yield "order store", lambda: paystar.payments.find(order_id="doctor")


def check_gateway(paystar: BlockingPaystar) -> None:
    """Ask for a payment that does not exist; raise an error if the gateway refuses its id."""
    try:
        paystar.gateway.inquiry(ref_num=f"doctor-{uuid.uuid4().hex[:12]}")
    except UnknownRefNum:
        return
    raise ConfigurationError("the gateway returns a payment that was never created: is this Paystar?")
