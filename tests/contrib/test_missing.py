"""Missing frameworks: the error of each module names its extra."""

import subprocess
import sys

import pytest

MODULES = {
    "starlette": ("starlette", "starlette"),
    "fastapi": ("fastapi", "fastapi"),
    "aiohttp": ("aiohttp", "aiohttp"),
    "aiogram": ("aiogram", "aiogram"),
    "taskiq": ("taskiq", "taskiq"),
    "procrastinate": ("procrastinate", "procrastinate"),
    "opentelemetry": ("opentelemetry", "otel"),
}

DEPENDENCIES = {"fastapi": ["starlette", "opentelemetry"], "aiogram": ["aiohttp"], "taskiq": ["aiohttp"]}
"""The frameworks that a framework depends on."""


@pytest.mark.parametrize("module", MODULES)
def test_contrib_missing_framework_names_extra(module: str) -> None:
    missing, extra = MODULES[module]
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from paystar_async.errors import ConfigurationError\n"
        f"try: import paystar_async.contrib.{module}\n"
        "except ConfigurationError as error: print(error)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"pip install 'paystar-async[{extra}]'" in process.stdout


@pytest.mark.parametrize("module", MODULES)
def test_contrib_module_imports_own_framework_only(module: str) -> None:
    allowed = {MODULES[module][0], *DEPENDENCIES.get(module, ())}
    forbidden = {name for name, _ in MODULES.values()} - allowed
    code = f"import sys; sys.modules.update(dict.fromkeys({forbidden}))\nimport paystar_async.contrib.{module}"

    subprocess.run([sys.executable, "-c", code], check=True)
