"""System checks: ``manage.py check`` reports a wrong configuration before a payer does."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from paystar_async.client import Paystar
from paystar_async.config import read_application, read_gateway, read_setting, read_wallet
from paystar_async.contrib.django.clients import payment_verified
from paystar_async.contrib.django.configuration import client_options
from paystar_async.errors import PaystarError


def check_settings(**_: Any) -> Sequence[CheckMessage]:
    """Check the setting ``PAYSTAR`` and the environment, without a request.

    Returns:
        paystar.E001 for an error; paystar.W001 if nothing is configured.
    """
    try:
        options = client_options()
        Paystar.from_env(**options)
    except PaystarError as error:
        return [Error(str(error.args[0]), hint=error.hint or None, id="paystar.E001")]
    if not any(_account(options, name) for name in _READERS):
        return [
            CheckWarning(
                "no account of Paystar is configured",
                hint='PAYSTAR = {"gateway": Gateway(…)}, or PAYSTAR_GATEWAY_ID in the environment',
                id="paystar.W001",
            )
        ]
    return []


def check_deployment(**_: Any) -> Sequence[CheckMessage]:
    """Check what matters in production alone: ``manage.py check --deploy``.

    Returns:
        paystar.W002 if keys are in memory, paystar.W003 if verified payments have no receiver.
    """
    try:
        options = client_options()
        accounts = {name: _account(options, name) for name in _READERS}
    except PaystarError:
        return []  # reported by check_settings
    messages: list[CheckMessage] = []
    keys = options["keys"] if "keys" in options else read_setting("PAYSTAR_KEYS")
    if keys is None and (accounts["application"] or accounts["wallet"]):
        messages.append(
            CheckWarning(
                "keys are kept in the memory of each process: processes refresh them without knowing of each other",
                hint="set PAYSTAR_KEYS to redis://…, postgresql://… or a file",
                id="paystar.W002",
            )
        )
    database = options["database"] if "database" in options else read_setting("PAYSTAR_DATABASE")
    if accounts["gateway"] and database is not None and not payment_verified.has_listeners():
        messages.append(
            CheckWarning(
                "payment_verified has no receiver: orders whose payer never comes back are not fulfilled",
                hint="connect a receiver in AppConfig.ready, and run manage.py paystar_sweep --forever",
                id="paystar.W003",
            )
        )
    return messages


_READERS = {"application": read_application, "gateway": read_gateway, "wallet": read_wallet}


def _account(options: Any, name: str) -> object:
    """Return a configured account, or None."""
    return options[name] if name in options else _READERS[name]()
