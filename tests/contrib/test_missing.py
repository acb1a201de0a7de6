"""Frameworks that are not installed; tests/project/test_distribution.py has the errors that name their extras."""

import subprocess
import sys

import pytest

MODULES = ("starlette", "fastapi", "aiohttp", "aiogram", "taskiq", "procrastinate", "opentelemetry", "django")
"""The modules of contrib; each has the name of its framework."""

DEPENDENCIES = {"fastapi": ["starlette", "opentelemetry"], "aiogram": ["aiohttp"], "taskiq": ["aiohttp"]}
"""The frameworks that a framework depends on."""


@pytest.mark.parametrize("module", MODULES)
def test_contrib_module_imports_own_framework_only(module: str) -> None:
    forbidden = set(MODULES) - {module, *DEPENDENCIES.get(module, ())}
    code = f"import sys; sys.modules.update(dict.fromkeys({forbidden}))\nimport paystar_async.contrib.{module}"

    subprocess.run([sys.executable, "-c", code], check=True)
