"""The README tells the truth: its examples run, and its tables name what there is."""

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


def texts(account: object, **names: str) -> dict[str, str]:
    held = {variable: getattr(account, name) for name, variable in names.items()}
    return {name: one.reveal() if isinstance(one, Secret) else one for name, one in held.items()}


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Sandbox, dict[str, str]]]:
    """A sandbox on a loopback port, and the environment of a client of it."""
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0
    with running(sandbox) as base_url:
        yield (
            sandbox,
            {"PAYSTAR_BASE_URL": base_url}
            | texts(
                sandbox.application,
                id="PAYSTAR_APPLICATION_ID",
                access_password="PAYSTAR_ACCESS_PASSWORD",
                refresh_token="PAYSTAR_REFRESH_TOKEN",
            )
            | texts(sandbox.gateway, id="PAYSTAR_GATEWAY_ID", sign_key="PAYSTAR_SIGN_KEY"),
        )


async def sell(app: Starlette, sandbox: Sandbox) -> None:
    """Buy in a shop of the README, pay, and come back to it."""
    async with browsing(app) as browser:
        fields = paid(sandbox, (await browser.post("/buy")).headers["location"])
        back = await come_back(browser, "POST", fields)
        assert (back.status_code, back.headers["location"]) == (303, f"/orders/{fields['order_id']}")


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: re.sub(r"\W+", " ", source[:200])[-40:])
def test_an_example_runs_as_it_stands(
    source: str,
    live: tuple[Sandbox, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sandbox, environment = live
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PAYSTAR_DATABASE", str(tmp_path / "paystar.db"))
    executed = len(sandbox.ledger)
    defined: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, "README.md", "exec"), defined)
    if "FastAPI(" in source:
        asyncio.run(sell(defined["app"], sandbox))
    printed = capsys.readouterr().out
    if "match_card" in source:
        assert "Succeeded" in printed
        assert len(sandbox.ledger) == executed + 1
    if "batch(" in source:
        assert printed.count("the bank has it") == 50
        assert len(sandbox.ledger) == executed + 50
    if "def checkout" in source and "asyncio.run(main())" in source:
        assert printed.startswith(environment["PAYSTAR_BASE_URL"] + "/pardakht/payment?token=")
        brought = sandbox.pay(printed.strip().partition("token=")[2])
        assert asyncio.run(defined["come_back"](brought)).startswith("paid, receipt ")
        assert capsys.readouterr().out == "fulfil ORD-45245 50000\n"
    if "payouts.submit" in source and "asyncio.run(main())" in source:
        assert printed.count("arrived 1404-08-") == 30
        assert printed.endswith("salaries-1404-08: 30 success (1,500,004,350 Rial)\n")
    if "hand_over" in source:
        assert printed.startswith("paid: ")
    if "reset_after" in source and "asyncio.run" in source:
        assert printed.startswith("maybe – Succeeded")


def test_every_error_has_its_line() -> None:
    classes = {name for name in errors.__all__ if name[0].isupper() and isinstance(getattr(errors, name), type)}
    said = set(re.findall(r"`(\w+)`", README)) | {"StatusError", "GatewayError", "PaystarError", "BY_STATUS"}
    assert classes - said - {"StorageError"} == set()


def test_every_variable_the_settings_read_is_named() -> None:
    source = (Path(__file__).parents[2] / "paystar_async" / "config.py").read_text(encoding="utf-8")
    client = (Path(__file__).parents[2] / "paystar_async" / "client.py").read_text(encoding="utf-8")
    assert set(ENVIRONMENT.findall(source + client)) <= set(ENVIRONMENT.findall(README))


def test_the_commands_are_marked_for_those_who_run_them() -> None:
    for name in ("demo", "test"):
        assert f"<!-- {name} command -->\n```sh\npython3 -m venv .venv && " in README


def test_every_example_application_is_linked_and_there() -> None:
    root = Path(__file__).parents[2]
    linked = {root / one for one in re.findall(r"\]\((tests/examples/\w+\.py)\)", README)}
    plain = {
        one for one in (root / "tests" / "examples").glob("*.py") if not one.name.startswith(("test_", "__", "conf"))
    }

    assert linked == plain
