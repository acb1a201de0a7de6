"""The guides name everything: arguments, variables, errors, events, fixtures and kinds of fault."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import get_args

import pytest

from paystar_async import Application, Gateway, Paystar, Wallet, errors, testing
from paystar_async.cli.environment import VARIABLES
from paystar_async.runtime.events import EventName
from paystar_async.sandbox.faults import KINDS
from tests.project.guides import DOCS

UNNAMED_ERRORS = {"GatewayError", "PaystarError", "StorageError"}
"""Base classes, which the text names where it explains them."""


def code_words(guide: str) -> set[str]:
    """Return the words in the inline code of a guide, in lower case."""
    text = re.sub(r"```.*?```", "", (DOCS / guide).read_text("utf-8"), flags=re.DOTALL)
    return {term.lower() for code in re.findall(r"`([^`\n]+)`", text) for term in re.findall(r"\w+", code)}


def missing(guide: str, names: Iterable[str]) -> set[str]:
    """Return the names that a guide does not mention in inline code."""
    words = code_words(guide)
    return {name for name in names if name.lower() not in words}


@pytest.mark.parametrize("function", [Paystar, Application, Gateway, Wallet], ids=lambda function: function.__name__)
def test_configuration_names_every_argument(function: Callable[..., object]) -> None:
    assert missing("configuration.md", inspect.signature(function).parameters) == set()


def test_configuration_names_every_variable() -> None:
    assert missing("configuration.md", VARIABLES) == set()


def test_configuration_names_every_event() -> None:
    assert missing("configuration.md", get_args(EventName)) == set()


def test_errors_names_every_error() -> None:
    classes = {name for name in errors.__all__ if inspect.isclass(getattr(errors, name))}
    assert missing("errors.md", classes - UNNAMED_ERRORS) == set()


def test_testing_names_every_fixture() -> None:
    fixtures = re.findall(r"^@pytest\.fixture\ndef (\w+)", inspect.getsource(testing), re.MULTILINE)
    assert "paystar_sandbox" in fixtures
    assert missing("testing.md", fixtures) == set()


def test_testing_names_every_kind_of_fault() -> None:
    assert missing("testing.md", KINDS) == set()
