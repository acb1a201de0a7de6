"""System checks of the configuration and the deployment."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

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

    def test_deployment_names_keys_and_receiver(self, sandbox: Sandbox) -> None:
        assert self.ids(deploy=True) == ["paystar.W002", "paystar.W003"]

    def test_deployment_of_complete_shop_has_no_message(
        self, sandbox: Sandbox, connected: Callable[[Callable[..., object]], None], tmp_path: Path
    ) -> None:
        from django.conf import settings

        connected(recorder([]))
        with override_settings(PAYSTAR={**settings.PAYSTAR, "keys": str(tmp_path / "keys.db")}):
            assert self.ids(deploy=True) == []

    def test_deployment_leaves_wrong_setting_to_other_check(self) -> None:
        with override_settings(PAYSTAR=3):
            assert self.ids(deploy=True) == ["paystar.E001"]
