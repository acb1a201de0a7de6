"""A framework that is not installed: the module says which extra brings it."""

import subprocess
import sys

import pytest

MODULES = {
    "starlette": ("starlette", "starlette"),
    "fastapi": ("fastapi", "fastapi"),
    "aiohttp": ("aiohttp", "aiohttp"),
    "aiogram": ("aiogram", "aiogram"),
    "taskiq": ("taskiq", "taskiq"),
    "opentelemetry": ("opentelemetry", "otel"),
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_whose_framework_is_missing_names_the_extra(module: str) -> None:
    missing, extra = MODULES[module]
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from paystar_async.errors import ConfigurationError\n"
        f"try: import paystar_async.contrib.{module}\n"
        "except ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"pip install 'paystar-async[{extra}]'" in done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_a_module_brings_in_no_other_framework(module: str) -> None:
    code = f"import sys, paystar_async.contrib.{module}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    beneath = {"fastapi": {"starlette"}, "aiogram": {"aiohttp"}}.get(module, set[str]())

    frameworks = {name for name, _ in MODULES.values()}
    assert frameworks & set(done.stdout.split()) == {MODULES[module][0]} | beneath
