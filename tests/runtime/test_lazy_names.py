"""Names of packages that are imported at their first use."""

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["keys", "storage", "transport", "payouts"])
def test_lazy_names_are_those_of_all(package: str) -> None:
    module = importlib.import_module(f"paystar_async.{package}")
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
        assert name in dir(module)


@pytest.mark.parametrize("package", ["keys", "storage", "transport", "payouts"])
def test_lazy_names_unknown_name_raises_attribute_error(package: str) -> None:
    module = importlib.import_module(f"paystar_async.{package}")
    with pytest.raises(AttributeError, match=f"module 'paystar_async.{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_lazy_names_are_not_loaded_with_package() -> None:
    code = "import sys, paystar_async.keys, paystar_async.storage; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(process.stdout.split())
    assert "paystar_async.keys" in loaded
    assert not loaded & {"paystar_async.keys.database", "paystar_async.keys.redis", "paystar_async.storage.sqlite"}
