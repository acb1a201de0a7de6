"""Where there is no browser, its tests are left out; this one is not one of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests import conftest


class Item:
    """A test, with the marker or without."""

    def __init__(self, *, marked: bool) -> None:
        self._marked = marked

    def get_closest_marker(self, name: str) -> bool:
        return self._marked and name == "browser"


class Hook:
    """Keeps what is said to be deselected."""

    def __init__(self) -> None:
        self.left_out: list[Any] = []

    def pytest_deselected(self, items: list[Any]) -> None:
        self.left_out += items


@pytest.mark.parametrize("there", [True, False])
def test_the_browsers_tests_are_deselected_where_there_is_none(
    there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conftest, "CHROMIUM", tmp_path if there else tmp_path / "chromium")
    plain, marked, hook = Item(marked=False), Item(marked=True), Hook()
    items: list[Any] = [plain, marked]

    conftest.pytest_collection_modifyitems(cast("pytest.Config", SimpleNamespace(hook=hook)), items)

    assert (items, hook.left_out) == (([plain, marked], []) if there else ([plain], [marked]))
