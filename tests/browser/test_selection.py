"""Deselection of the browser tests on machines without a browser."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests import conftest


class Item:
    """A test item with or without the ``browser`` marker."""

    def __init__(self, *, marked: bool) -> None:
        self._marked = marked

    def get_closest_marker(self, name: str) -> bool:
        return self._marked and name == "browser"


class Hook:
    """A pytest hook that records the deselected items."""

    def __init__(self) -> None:
        self.deselected: list[Any] = []

    def pytest_deselected(self, items: list[Any]) -> None:
        self.deselected += items


@pytest.mark.parametrize("has_browser", [True, False])
def test_browser_tests_are_deselected_without_browser(
    has_browser: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conftest, "CHROMIUM", tmp_path if has_browser else tmp_path / "chromium")
    plain, marked, hook = Item(marked=False), Item(marked=True), Hook()
    items: list[Any] = [plain, marked]

    conftest.pytest_collection_modifyitems(cast("pytest.Config", SimpleNamespace(hook=hook)), items)

    assert (items, hook.deselected) == (([plain, marked], []) if has_browser else ([plain], [marked]))
