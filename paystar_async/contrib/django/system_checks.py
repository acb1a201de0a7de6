"""System checks: ``manage.py check`` reports a wrong configuration before a payer does."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections

from paystar_async.client import Paystar
from paystar_async.contrib.django.clients import payment_verified
from paystar_async.contrib.django.configuration import client_options, option, shared_alias
from paystar_async.errors import PaystarError


def check_settings(**_: Any) -> Sequence[CheckMessage]:
    """Check the setting ``PAYSTAR`` and the environment, without a request.

    Returns:
        paystar.E001 for an error; paystar.W001 if nothing is configured; paystar.W004 for settings that are not read;
        paystar.W005 if ``payment_verified`` has receivers and is never sent; paystar.W006 if requests of a SQLite
        database are transactions.
    """
    try:
        Paystar.from_env(**client_options())
    except PaystarError as error:
        return [Error(str(error.args[0]), hint=error.hint or None, id="paystar.E001"), *_unread_settings()]
    if not any(map(option, ("application", "gateway", "wallet"))):
        return [
            *_unread_settings(),
            CheckWarning(
                "no account of Paystar is configured",
                hint='PAYSTAR = {"gateway": Gateway(…)}, or PAYSTAR_GATEWAY_ID in the environment',
                id="paystar.W001",
            ),
        ]
    return [*_unread_settings(), *_check_order_store()]


def _unread_settings() -> Iterator[CheckMessage]:
    """Yield a warning for settings of Django that have the name of an environment variable."""
    names = [name for name in dir(settings) if name.startswith("PAYSTAR_")]
    if names:
        yield CheckWarning(
            f"not read from the settings: {', '.join(names)}",
            hint='set them in the environment, or give PAYSTAR = {"gateway": Gateway(…), …}',
            id="paystar.W004",
        )


def _check_order_store() -> Iterator[CheckMessage]:
    if option("database") is None and payment_verified.has_listeners():
        yield CheckWarning(
            "payment_verified has a receiver and is never sent, since no database stores the orders",
            hint='PAYSTAR = {"database": "django:default"}',
            id="paystar.W005",
        )
    alias = shared_alias()
    connection = None if alias is None else connections[alias]
    if connection is not None and connection.vendor == "sqlite" and connection.settings_dict["ATOMIC_REQUESTS"]:
        yield CheckWarning(
            f"DATABASES[{alias!r}] has ATOMIC_REQUESTS: a view that writes and then calls payments.start waits for its "
            "own transaction, and fails",
            hint="decorate such a view with transaction.non_atomic_requests; PostgreSQL has no such limit",
            id="paystar.W006",
        )


def check_deployment(**_: Any) -> Sequence[CheckMessage]:
    """Check what matters in production alone: ``manage.py check --deploy``.

    Returns:
        paystar.W002 if keys are in memory, paystar.W003 if verified payments have no receiver.
    """
    names = ("application", "gateway", "wallet", "keys", "database")
    try:
        options = {name: option(name) for name in names}
    except PaystarError:
        return []  # reported by check_settings
    messages: list[CheckMessage] = []
    if options["keys"] is None and (options["application"] or options["wallet"]):
        messages.append(
            CheckWarning(
                "keys are kept in the memory of each process: processes refresh them without knowing of each other",
                hint="set PAYSTAR_KEYS to redis://…, postgresql://… or a file",
                id="paystar.W002",
            )
        )
    if options["gateway"] and options["database"] is not None and not payment_verified.has_listeners():
        messages.append(
            CheckWarning(
                "payment_verified has no receiver: orders whose payer never comes back are not fulfilled",
                hint="connect a receiver in AppConfig.ready (a lambda or nested function with weak=False), and run "
                "manage.py paystar_sweep --forever",
                id="paystar.W003",
            )
        )
    return messages
