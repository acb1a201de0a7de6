"""``manage.py paystar_doctor``."""

import asyncio
from io import StringIO

import pytest
from attrs import evolve
from django.core.management import CommandError, call_command
from django.test import override_settings

from paystar_async.contrib.django.management.commands.paystar_doctor import make_client
from paystar_async.errors import InvalidToken
from paystar_async.keys.memory import MemoryKeyStore
from paystar_async.keys.store import KeyId, KeyRecord
from paystar_async.sandbox import Sandbox
from paystar_async.values.secret import Secret


class TestDoctor:
    def test_doctor_reports_each_account(self, sandbox: Sandbox) -> None:
        out = StringIO()
        call_command("paystar_doctor", stdout=out)
        for name in ("application", "wallet, reading", "gateway", "order store"):
            assert f"{name}: ok" in out.getvalue()
        assert "paystar.W002" in out.getvalue()

    def test_doctor_failed_check_is_error(self, sandbox: Sandbox) -> None:
        sandbox.fail("gateway.inquiry", "ip")
        out = StringIO()
        with pytest.raises(CommandError, match="1 checks failed"):
            call_command("paystar_doctor", stdout=out)
        assert "wallet, reading: ok" in out.getvalue()

    def test_doctor_other_payment_is_error(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        with override_settings(PAYSTAR={"timeout": -1}), pytest.raises(CommandError, match="configuration is wrong"):
            call_command("paystar_doctor")

    def test_doctor_refreshes_no_key(self, sandbox: Sandbox) -> None:
        from django.conf import settings

        application = evolve(sandbox.application, api_key="expired")
        setting = {**settings.PAYSTAR, "application": application}
        with override_settings(PAYSTAR=setting), make_client() as paystar, pytest.raises(InvalidToken):
            paystar.transfers.find(limit=1)
        assert not any(sandbox.stats["refreshes"].values())

    def test_doctor_refreshes_no_stored_key(self, sandbox: Sandbox) -> None:
        """The store has the refresh token of a running service, and stays unchanged."""
        from django.conf import settings

        key, store = KeyId("application", sandbox.application.id), MemoryKeyStore()
        expired = KeyRecord(token=Secret("expired"), refresh_token=sandbox.application.refresh_token)
        stored = asyncio.run(store.commit(key, 0, "", expired))
        with (
            override_settings(PAYSTAR={**settings.PAYSTAR, "keys": store}),
            make_client() as paystar,
            pytest.raises(InvalidToken),
        ):
            paystar.transfers.find(limit=1)
        assert not any(sandbox.stats["refreshes"].values())
        assert asyncio.run(store.load(key)) == stored
