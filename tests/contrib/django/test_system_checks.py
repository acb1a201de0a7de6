"""System checks of the configuration and the deployment."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db.utils import ConnectionHandler
from django.test import override_settings

from paystar_async import Gateway
from paystar_async.contrib.django import configuration, system_checks
from paystar_async.sandbox import Sandbox
from tests.contrib.django.support import recorder


class TestChecks:
    def ids(self, *, deploy: bool = False) -> list[str | None]:
        messages: list[CheckMessage] = run_checks(include_deployment_checks=deploy)
        return [message.id for message in messages if (message.id or "").startswith("paystar")]

    def test_nothing_configured_is_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with override_settings(PAYSTAR={}):
            assert self.ids() == ["paystar.W001"]

    def test_configured_has_no_message(self, sandbox: Sandbox) -> None:
        assert self.ids() == []

    @pytest.mark.parametrize("setting", [{}, 3, {"gateway": Gateway(id="g-2", sign_key="s")}])
    def test_setting_named_like_variable_is_warning(self, setting: object) -> None:
        with override_settings(PAYSTAR=setting, PAYSTAR_GATEWAY_ID="g-1"):
            [warning] = [message for message in run_checks() if message.id == "paystar.W004"]
        assert "PAYSTAR_GATEWAY_ID" in warning.msg

    def test_receiver_without_order_store_is_warning(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None]
    ) -> None:
        connected(recorder([]))
        with override_settings(PAYSTAR={"gateway": sandbox.gateway}):
            assert self.ids() == ["paystar.W005"]

    def test_no_receiver_and_no_order_store_has_no_message(self, sandbox: Sandbox) -> None:
        with override_settings(PAYSTAR={"gateway": sandbox.gateway}):
            assert self.ids() == []

    @pytest.mark.parametrize(
        ("engine", "is_atomic", "expected"),
        [("sqlite3", True, ["paystar.W006"]), ("sqlite3", False, []), ("postgresql", True, [])],
    )
    def test_atomic_requests_of_sqlite_are_warning(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, engine: str, is_atomic: bool, expected: list[str]
    ) -> None:
        database = {"ENGINE": f"django.db.backends.{engine}", "NAME": "shop.db", "ATOMIC_REQUESTS": is_atomic}
        for module in (configuration, system_checks):
            monkeypatch.setattr(module, "connections", ConnectionHandler({"default": database}))
        with override_settings(PAYSTAR={"gateway": sandbox.gateway, "database": "django:default"}):
            assert self.ids() == expected

    def test_deployment_names_keys_and_receiver(self, sandbox: Sandbox) -> None:
        assert self.ids(deploy=True) == ["paystar.W002", "paystar.W003"]

    def test_deployment_of_complete_shop_has_no_message(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None], tmp_path: Path
    ) -> None:
        from django.conf import settings

        connected(recorder([]))
        with override_settings(PAYSTAR={**settings.PAYSTAR, "keys": str(tmp_path / "keys.db")}):
            assert self.ids(deploy=True) == []

    def test_deployment_without_what_a_message_needs_has_none(self, sandbox: Sandbox, tmp_path: Path) -> None:
        keys, orders = str(tmp_path / "keys.db"), tmp_path / "orders.db"
        for options in ({"gateway": sandbox.gateway}, {"wallet": sandbox.wallet, "keys": keys, "database": orders}):
            with override_settings(PAYSTAR=options):
                assert self.ids(deploy=True) == []

    def test_deployment_leaves_wrong_setting_to_other_check(self) -> None:
        with override_settings(PAYSTAR=3):
            assert self.ids(deploy=True) == ["paystar.E001"]
