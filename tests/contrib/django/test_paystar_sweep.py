"""``manage.py paystar_sweep``."""

from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from paystar_async.payments import Payment
from paystar_async.sandbox import Sandbox
from tests.contrib.django.support import pay, recorder


class TestSweep:
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
