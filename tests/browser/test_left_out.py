"""Where there is no browser, its tests are left out; this one is not one of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests import conftest


def item(*, marked: bool) -> Any:
    return SimpleNamespace(get_closest_marker=lambda name: marked if name == "browser" else None)


@pytest.mark.parametrize("there", [True, False])
def test_the_browsers_tests_are_deselected_where_there_is_none(
    there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conftest, "CHROMIUM", tmp_path if there else tmp_path / "chromium")
    plain, marked = item(marked=False), item(marked=True)
    items, left_out = [plain, marked], list[Any]()
    config = SimpleNamespace(hook=SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items)))

    conftest.pytest_collection_modifyitems(cast("pytest.Config", config), items)

    assert (items, left_out) == (([plain, marked], []) if there else ([plain], [marked]))
