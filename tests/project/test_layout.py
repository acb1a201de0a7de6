"""The layout of the package: layers of imports, module sizes, docstrings, and the files at the top."""

import ast
import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "paystar_async"
MAX_MODULE_LINES = 400

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "response", "_version"),
    ("values", "runtime", "outcomes"),
    ("models", "credentials", "storage"),
    ("endpoint", "services", "keys", "waiters", "listing"),
    ("table", "config", "transport", "middleware", "transfers", "payments", "payouts", "key_service", "conform"),
    ("client", "describe"),
    ("blocking", "sandbox"),
    ("contrib", "testing", "cli"),
)
"""Lowest first. A module may import its own subpackage and lower layers; from its own layer types only, from above
nothing."""

LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Return the dotted name of a module below ``paystar_async``; an empty text for the root."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, *, types: bool = True) -> set[str]:
    """Return the package's own modules that a file imports anywhere, functions included.

    Args:
        path: the file.
        types: whether imports for type checkers alone count.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    type_only = {child for node in ast.walk(tree) if is_type_block(node) for child in ast.walk(node)}
    imports: set[str] = set()
    for node in ast.walk(tree):
        if node in type_only and not types:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if is_package(module) else [module]
        imports |= {name.removeprefix("paystar_async.") for name in names if name.startswith("paystar_async.")}
    return imports


def is_type_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_package(module: str) -> bool:
    """Return True if ``from module import name`` may name a module rather than an object in one."""
    return module.startswith("paystar_async") and (ROOT / module.replace(".", "/")).is_dir()


def top_package(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("path", [path for path in MODULES if module_name(path)], ids=module_name)
def test_imports_point_to_lower_layers(path: Path) -> None:
    package = top_package(module_name(path))
    if package == "__main__":
        return  # starts the command line
    assert package in LAYER_OF, f"{package} has no layer: add it to LAYERS"
    runtime_imports = imported_modules(path, types=False)
    for module in imported_modules(path):
        other = top_package(module)
        if other not in LAYER_OF or other == package:
            continue  # an object of the root package, not a module; or its own subpackage
        below = LAYER_OF[other] < LAYER_OF[package]
        type_beside = LAYER_OF[other] == LAYER_OF[package] and module not in runtime_imports
        assert below or type_beside, f"{module_name(path)} imports {module}"


def test_layers_are_eight_at_most() -> None:
    assert len(LAYERS) <= 8


def test_imports_have_no_cycles() -> None:
    graph = {module_name(path): imported_modules(path) - {module_name(path)} for path in MODULES if module_name(path)}
    modules = set(graph)
    TopologicalSorter({name: imports & modules for name, imports in graph.items()}).prepare()


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "services.py"], ids=module_name)
def test_module_length_is_bounded(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


def test_module_docstring_is_present() -> None:
    assert not [module_name(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]


def tracked_files() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_contributing_names_existing_files() -> None:
    files = [f"/{path}" for path in tracked_files()]
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)`", text)
    assert len(named) > 50
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in files)] == []


def test_top_folder_has_only_known_entries() -> None:
    entries = {path.split("/")[0] for path in tracked_files()}
    allowed = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "paystar_async", "tests", "benchmarks"}
    assert {name for name in entries if not name.startswith(".")} <= allowed
