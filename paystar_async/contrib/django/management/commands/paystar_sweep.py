"""``manage.py paystar_sweep``: check the payments whose payer never came back."""

import signal
import sys
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError

from paystar_async.contrib.django.clients import get_blocking_paystar, payment_verified
from paystar_async.errors import PaystarError
from paystar_async.payments.service import SWEEP_LIMIT, SWEEP_SECONDS


def end_process(*_: object) -> NoReturn:
    """End the process; the signal's handler raises, which ends the sweep and closes the client."""
    sys.exit(0)


class Command(BaseCommand):
    """Check every stored payment that is due, and send ``payment_verified`` for payments that are paid."""

    help = "Check every stored payment that is due once, and send payment_verified for payments that are paid."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--forever", action="store_true", help="sweep until SIGTERM or Ctrl+C")
        parser.add_argument("--every", type=float, default=SWEEP_SECONDS, help="seconds between two passes")
        parser.add_argument("--limit", type=int, default=SWEEP_LIMIT, help="largest number of orders to check, once")

    def handle(self, *_: Any, forever: bool, every: float, limit: int, **__: Any) -> None:
        """Sweep once, or until the process is asked to end.

        Raises:
            CommandError: there is no receiver of ``payment_verified``, or the configuration or the store fails.
        """
        if not payment_verified.has_listeners():
            raise CommandError(
                "payment_verified has no receiver: a payment that is verified and not fulfilled would keep the payer's "
                "money; connect one in AppConfig.ready (a lambda or nested function with weak=False)"
            )
        try:
            with get_blocking_paystar() as paystar:
                if forever:
                    signal.signal(signal.SIGTERM, end_process)
                    with suppress(KeyboardInterrupt):
                        paystar.payments.run(every=every)
                    return
                for payment in paystar.payments.sweep(limit=limit):
                    self.stdout.write(f"{payment.order_id}: {type(payment.outcome).__name__}")
        except PaystarError as error:
            raise CommandError(str(error)) from error
