"""The house stands: imports point down, files have one job, and nothing lies around at the top."""

import ast
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "paystar_async"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "_version"),
    ("values", "outcomes"),
    ("models", "runtime", "credentials"),
    ("endpoint", "storage", "listing"),
    ("table", "services", "transport", "keys", "waiters"),
    ("config", "middleware", "key_service", "payments", "payouts", "describe"),
    ("transfers", "session"),
    ("client", "sandbox"),
    ("contrib", "testing", "cli"),
    ("__main__",),
)
"""Lowest first. A room may use its own package and the floors below, nothing beside it and nothing above."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_by(path: Path) -> set[str]:
    """The package's own modules a file imports, wherever in it, named from the package down."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if is_package(module) else [module]
        found |= {name.removeprefix("paystar_async.") for name in names if name.startswith("paystar_async.")}
    return found


def is_package(module: str) -> bool:
    """Whether ``from module import name`` may name a module rather than something in one."""
    return module.startswith("paystar_async") and (ROOT / module.replace(".", "/")).is_dir()


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("path", [one for one in MODULES if name_of(one)], ids=name_of)
def test_imports_point_down(path: Path) -> None:
    here = room(name_of(path))
    assert here in FLOOR_OF, f"{here} has no floor yet: give it one in FLOORS"
    for other in imported_by(path):
        if room(other) not in FLOOR_OF:
            continue  # a name of the root package, not a module
        assert room(other) == here or FLOOR_OF[room(other)] < FLOOR_OF[here], f"{name_of(path)} looks up to {other}"


def test_no_two_modules_need_each_other() -> None:
    graph = {name_of(path): imported_by(path) - {name_of(path)} for path in MODULES if name_of(path)}
    modules = set(graph)
    TopologicalSorter({name: needs & modules for name, needs in graph.items()}).prepare()


@pytest.mark.parametrize("path", [one for one in MODULES if one.name != "services.py"], ids=name_of)
def test_a_module_has_one_job(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


def test_nothing_lies_around_at_the_top() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}
    agreed = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "paystar_async", "tests", "benchmarks"}
    assert {name for name in top if not name.startswith(".")} <= agreed


def test_every_module_says_what_it_is_for() -> None:
    assert not [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
