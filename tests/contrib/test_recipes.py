"""The recipes in docstrings run unchanged, with a stub for a framework that is not installed."""

import re
import sys
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from paystar_async import Paystar
from paystar_async.contrib import aiogram
from paystar_async.sandbox import Sandbox


def recipe(module: ModuleType, name: str) -> dict[str, Any]:
    """Return the names that a code block of a docstring defines, found by the text before the block."""
    _, _, rest = cleandoc(module.__doc__ or "").partition(name)
    block = re.search(r"::\n\n((?:    .*\n|\n)+)", rest + "\n")
    assert block, f"{module.__name__} has no recipe for {name}"
    defined: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(dedent(block[1]), f"{module.__name__}: {name}", "exec", dont_inherit=True), defined)
    return defined


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    """Replace a framework by a stub, whether or not the framework is installed."""
    module = ModuleType(name)
    module.__dict__.update(attributes)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """Return a sandbox; ``Paystar.from_env`` connects to it."""
    sandbox = Sandbox()
    sandbox.settings.settle_seconds = 0

    def from_env() -> Paystar:
        accounts: dict[str, Any] = {"application": sandbox.application, "gateway": sandbox.gateway}
        return Paystar(**accounts, engine=sandbox.engine(), database=tmp_path / "paystar.db")

    monkeypatch.setattr(Paystar, "from_env", from_env)
    return sandbox


class Builder:
    """A stub of python-telegram-bot's builder for the recipe."""

    def __init__(self) -> None:
        self.bot_data: dict[str, Any] = {}
        self.handlers: list[Any] = []
        self.hooks: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[[Any], "Builder"]:
        def record(value: Any) -> "Builder":
            self.hooks[name] = value
            return self

        return record

    def build(self) -> "Builder":
        return self

    def add_handler(self, handler: Any) -> None:
        self.handlers.append(handler)


def as_tuple(*value: Any, **named: Any) -> tuple[Any, ...]:
    return (*value, *named.values())


async def test_telegram_recipe_sends_payment_button(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        monkeypatch,
        "telegram",
        InlineKeyboardButton=as_tuple,
        InlineKeyboardMarkup=list,
        Update=object,
    )
    stand_in(
        monkeypatch,
        "telegram.ext",
        Application=SimpleNamespace(builder=Builder),
        CommandHandler=as_tuple,
        ContextTypes=SimpleNamespace(DEFAULT_TYPE=object),
    )
    keyboards: list[Any] = []

    async def reply_text(text: str, reply_markup: Any) -> None:
        keyboards.append(reply_markup)

    application: Builder = recipe(aiogram, "python-telegram-bot")["application"]("42:play")
    ((command, buy),) = application.handlers
    update = SimpleNamespace(update_id=7, effective_message=SimpleNamespace(reply_text=reply_text))

    await application.hooks["post_init"](application)
    await buy(update, application)
    await application.hooks["post_shutdown"](application)

    assert command == "buy"
    (((button, page),),) = keyboards[0]
    assert button == "پرداخت"
    assert "/pardakht/payment?token=" in page
