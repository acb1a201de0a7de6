"""The sandbox that the examples run against, in place of the environment's settings."""

from pathlib import Path
from typing import Any

import pytest

from paystar_async import Paystar
from paystar_async.sandbox import Sandbox


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """Return a sandbox; ``Paystar.from_env`` connects to it."""
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0

    def from_env(**overrides: Any) -> Paystar:
        options: dict[str, Any] = {name: getattr(sandbox, name) for name in ("application", "gateway", "wallet")}
        options |= {"engine": sandbox.engine(), "database": tmp_path / "paystar.db"}
        return Paystar(**{**options, **overrides})

    monkeypatch.setattr(Paystar, "from_env", from_env)
    return sandbox
