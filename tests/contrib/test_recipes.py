"""The recipes in docstrings run unchanged, with a stub for a framework that is not installed."""

import asyncio
import re
import sys
from collections.abc import Callable
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from paystar_async import Paystar, Transfer
from paystar_async.contrib import aiogram, taskiq
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


async def send(track_id: str) -> None:
    transfer = Transfer(
        amount=1_000,
        deposit="011123456789",
        destination_account="IR570790000000850774361353",
        destination_firstname="علی",
        destination_lastname="احمدی",
        track_id=track_id,
    )
    async with Paystar.from_env() as paystar:
        await paystar.transfers.settle(transfers=[transfer])


async def test_arq_recipe_has_one_client_per_worker(sandbox: Sandbox) -> None:
    objects = recipe(taskiq, "arq")
    settings, ctx = objects["WorkerSettings"], dict[str, Any]()
    await send("t-1")

    await settings.on_startup(ctx)
    assert await settings.functions[0](ctx, "t-1") == "Succeeded"
    await settings.on_shutdown(ctx)


class Celery:
    """A stub of Celery for the recipe."""

    def __init__(self, name: str, *, broker: str) -> None:
        self.tasks: list[Callable[..., Any]] = []

    def task(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self.tasks.append(function)
        return function


class Signal:
    """A stub of a Celery signal."""

    def __init__(self) -> None:
        self.receivers: list[Callable[..., Any]] = []

    def connect(self, receiver: Callable[..., Any]) -> Callable[..., Any]:
        self.receivers.append(receiver)
        return receiver

    def send(self) -> None:
        for receiver in self.receivers:
            receiver(sender=None)


def test_celery_recipe_has_one_client_and_loop_per_process(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    process_started, process_ends = Signal(), Signal()
    stand_in(monkeypatch, "celery", Celery=Celery)
    stand_in(monkeypatch, "celery.signals", worker_process_init=process_started, worker_process_shutdown=process_ends)
    objects = recipe(taskiq, "Celery")
    asyncio.run(send("t-1"))

    process_started.send()
    assert [objects["wait_for_transfer"]("t-1") for _ in range(2)] == ["Succeeded", "Succeeded"]
    process_ends.send()


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
