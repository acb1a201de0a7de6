"""The README: its examples run, and its tables name every error, variable and example application."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from paystar_async import errors
from paystar_async.sandbox import Sandbox
from paystar_async.sandbox.server import running
from paystar_async.values.secret import Secret
from tests.contrib.browsing import browsing, come_back, paid

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ENVIRONMENT = re.compile(r"PAYSTAR_[A-Z_]+")


def variables(credentials: object, **names: str) -> dict[str, str]:
    """Return attributes of credentials as environment variables, secrets in the clear."""
    values = {variable: getattr(credentials, attribute) for attribute, variable in names.items()}
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in values.items()}


@pytest.fixture(scope="module")
def served_sandbox() -> Iterator[tuple[Sandbox, dict[str, str]]]:
    """Serve a sandbox on a loopback port; yield it with the environment of its client."""
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    with running(sandbox) as base_url:
        yield (
            sandbox,
            {"PAYSTAR_BASE_URL": base_url}
            | variables(
                sandbox.application,
                id="PAYSTAR_APPLICATION_ID",
                access_password="PAYSTAR_ACCESS_PASSWORD",
                refresh_token="PAYSTAR_REFRESH_TOKEN",
            )
            | variables(sandbox.gateway, id="PAYSTAR_GATEWAY_ID", sign_key="PAYSTAR_SIGN_KEY"),
        )


async def buy_and_pay(app: Starlette, sandbox: Sandbox) -> None:
    """Buy in a shop of the README, pay, and follow the callback."""
    async with browsing(app) as browser:
        fields = paid(sandbox, (await browser.post("/buy")).headers["location"])
        response = await come_back(browser, "POST", fields)
        assert (response.status_code, response.headers["location"]) == (303, f"/orders/{fields['order_id']}")


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: re.sub(r"\W+", " ", source[:200])[-40:])
def test_readme_example_runs_unchanged(
    source: str,
    served_sandbox: tuple[Sandbox, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sandbox, environment = served_sandbox
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PAYSTAR_DATABASE", str(tmp_path / "paystar.db"))
    transfers_before = len(sandbox.ledger)
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, "README.md", "exec"), namespace)
    if "FastAPI(" in source:
        asyncio.run(buy_and_pay(namespace["app"], sandbox))
    printed = capsys.readouterr().out
    if "match_card" in source:
        assert "Succeeded" in printed
        assert len(sandbox.ledger) == transfers_before + 1
    if "batch(" in source:
        assert printed.count("the bank has it") == 50
        assert len(sandbox.ledger) == transfers_before + 50
    if "def checkout" in source and "asyncio.run(main())" in source:
        assert printed.startswith(environment["PAYSTAR_BASE_URL"] + "/pardakht/payment?token=")
        callback_fields = sandbox.pay(printed.strip().partition("token=")[2])
        assert asyncio.run(namespace["come_back"](callback_fields)).startswith("paid, receipt ")
        assert capsys.readouterr().out == "fulfil ORD-45245 50000\n"
    if "payouts.submit" in source and "asyncio.run(main())" in source:
        assert printed.count("arrived 1404-08-") == 30
        assert printed.endswith("salaries-1404-08: 30 success (1,500,004,350 Rial)\n")
    if "hand_over" in source:
        assert printed.startswith("paid: ")
    if "reset_after" in source and "asyncio.run" in source:
        assert printed.startswith("maybe – Succeeded")


def test_readme_errors_table_names_every_error() -> None:
    classes = {name for name in errors.__all__ if name[0].isupper() and isinstance(getattr(errors, name), type)}
    named = set(re.findall(r"`(\w+)`", README)) | {"StatusError", "GatewayError", "PaystarError", "BY_STATUS"}
    assert classes - named - {"StorageError"} == set()


def test_readme_configuration_names_every_variable() -> None:
    source = (Path(__file__).parents[2] / "paystar_async" / "config.py").read_text(encoding="utf-8")
    client = (Path(__file__).parents[2] / "paystar_async" / "client.py").read_text(encoding="utf-8")
    assert set(ENVIRONMENT.findall(source + client)) <= set(ENVIRONMENT.findall(README))


def test_readme_commands_are_marked() -> None:
    for name in ("demo", "test"):
        assert f"<!-- {name} command -->\n```sh\npython3 -m venv .venv && " in README


def test_readme_links_every_example_application() -> None:
    root = Path(__file__).parents[2]
    linked = {root / path for path in re.findall(r"\]\((tests/examples/\w+\.py)\)", README)}
    applications = {
        path for path in (root / "tests" / "examples").glob("*.py") if not path.name.startswith(("test_", "__", "conf"))
    }

    assert linked == applications
