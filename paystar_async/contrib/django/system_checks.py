"""System checks: ``manage.py check`` reports a wrong configuration before a payer does."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from paystar_async.client import Paystar
from paystar_async.contrib.django.clients import payment_verified
from paystar_async.contrib.django.configuration import client_options, option
from paystar_async.errors import PaystarError


def check_settings(**_: Any) -> Sequence[CheckMessage]:
    """Check the setting ``PAYSTAR`` and the environment, without a request.

    Returns:
        paystar.E001 for an error; paystar.W001 if nothing is configured.
    """
    try:
        Paystar.from_env(**client_options())
    except PaystarError as error:
        return [Error(str(error.args[0]), hint=error.hint or None, id="paystar.E001")]
    if not any(map(option, ("application", "gateway", "wallet"))):
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
                hint="connect a receiver in AppConfig.ready, and run manage.py paystar_sweep --forever",
                id="paystar.W003",
            )
        )
    return messages
