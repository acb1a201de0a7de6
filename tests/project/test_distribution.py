"""The built packages: their contents, and the wheel in clean environments, without and with each extra."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from paystar_async import __version__

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"].keys() - {"all", "bench", "dev", "docs"})
MAX_CORE_PACKAGES = 12
MAX_CORE_BYTES = 13 * 2**19
"""6.5 MiB with the guides, without what Python compiles itself. httptools' parser alone has 1.6 MB on Python 3.11 and
1.9 on 3.12."""

USES = {
    "cli": "import paystar_async.cli.app",
    "crypto": "from paystar_async import Crypto; Crypto(['A' * 43 + '='])",
    "aiohttp": "from paystar_async import Paystar; Paystar(engine='aiohttp'); import paystar_async.contrib.aiohttp",
    "http2": "import httpx; httpx.AsyncClient(http2=True)",
    "httpx2": "from paystar_async import Paystar; Paystar(engine='httpx2')",
    "jalali": "from persiantools.jdatetime import JalaliDate",
    "otel": "import paystar_async.contrib.opentelemetry",
    "postgres": "from paystar_async import Paystar; Paystar(database='postgresql://localhost/shop')",
    "redis": "from paystar_async import Paystar; Paystar(keys='redis://localhost')",
    "sandbox": "from paystar_async.sandbox import Sandbox; Sandbox(); import paystar_async.sandbox.server",
    "testing": "import paystar_async.testing",
}
"""What needs an extra; by default the framework's module in ``contrib``."""

OTHER_ERRORS = {"cli": "ModuleNotFoundError", "http2": "ImportError", "jalali": "ModuleNotFoundError"}
"""Extras whose absence the package does not notice; the command ``paystar`` names its own."""


@dataclass(frozen=True)
class Packages:
    """The built sdist and wheel."""

    sdist: Path
    wheel: Path


class Environment:
    """A virtual environment with nothing but the wheel, one of its extras, and what they need."""

    def __init__(self, path: Path, wheel: Path, extra: str = "") -> None:
        self.path, self.python = path, path / "bin" / "python"
        uv("venv", "-q", "--no-python-downloads", "--python", sys.executable, path)
        target = f"{wheel}[{extra}]" if extra else wheel
        uv("pip", "install", "-q", "-c", ROOT / ".ci/constraints.txt", "--python", self.python, target)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python from its own folder, where the sources cannot be imported."""
        command = [self.python, "-I", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True, timeout=60)


def uv(*arguments: str | Path) -> str:
    """Run uv and return its output."""
    command = [sys.executable, "-m", "uv", "--system-certs", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return process.stdout


def source_files(folder: str) -> set[str]:
    """Return the files of a folder that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line for line in lines if (ROOT / line).exists()}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Build the sdist, and the wheel from it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "-q", "--no-create-gitignore", "-o", folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Packages(sdist, wheel)


@pytest.fixture(scope="module")
def core(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the wheel without extras."""
    return Environment(tmp_path_factory.mktemp("core") / "venv", packages.wheel)


def test_packages_pass_twine_check(packages: Packages) -> None:
    command: list[str | Path] = [sys.executable, "-m", "twine", "check", "--strict", packages.sdist, packages.wheel]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_wheel_contains_package_and_license_only(packages: Packages) -> None:
    files = set(zipfile.ZipFile(packages.wheel).namelist())
    metadata = {name for name in files if name.startswith(f"paystar_async-{__version__}.dist-info/")}
    assert files - metadata == source_files("paystar_async")
    for license_file in ("LICENSE", "paystar_async/sandbox/pages/assets/vazirmatn-OFL.txt"):
        assert f"paystar_async-{__version__}.dist-info/licenses/{license_file}" in metadata
    for data in ("py.typed", "docs/versioning.md", "sandbox/pages/assets/vazirmatn.woff2"):
        assert f"paystar_async/{data}" in files


def test_sdist_contains_sources_tests_and_license(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as archive:
        files = {name.split("/", 1)[1] for name in archive.getnames()}
    expected = source_files("paystar_async") | source_files("tests") | source_files("benchmarks")
    expected |= {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
    assert files == expected | {"PKG-INFO", ".gitignore"}


def test_core_environment_is_small(core: Environment) -> None:
    names = {line.split("==")[0] for line in uv("pip", "freeze", "--python", core.python).splitlines()}
    others = {name for name in names if not name.startswith("paystar-async")}
    assert len(others) <= MAX_CORE_PACKAGES, sorted(others)

    (folder,) = core.path.glob("lib/python*/site-packages")
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) <= MAX_CORE_BYTES


@pytest.mark.parametrize("extra", EXTRAS)
def test_missing_extra_is_import_error_with_command(core: Environment, extra: str) -> None:
    process = core.run("-c", USES.get(extra, f"import paystar_async.contrib.{extra}"))

    error = process.stderr.strip().splitlines()[-1]
    if extra in OTHER_ERRORS:
        assert error.startswith(OTHER_ERRORS[extra])
    else:
        assert error.startswith("paystar_async.errors.base.MissingExtra: ")
        assert error.endswith(f" needs the {extra} extra – pip install 'paystar-async[{extra}]'")


def test_command_without_cli_extra_names_it(core: Environment) -> None:
    process = core.run("-m", "paystar_async", "--help")

    assert process.returncode == 2
    assert process.stderr.endswith("pip install 'paystar-async[cli]'\n")


@pytest.mark.parametrize("extra", EXTRAS)
def test_extra_installs_all_it_needs(packages: Packages, tmp_path: Path, extra: str) -> None:
    environment = Environment(tmp_path / "venv", packages.wheel, extra)

    process = environment.run("-W", "error", "-c", USES.get(extra, f"import paystar_async.contrib.{extra}"))

    assert process.returncode == 0, process.stderr


def test_importorskip_missing_extra_skips(packages: Packages, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", packages.wheel, "testing")
    (environment.path / "test_shop.py").write_text(
        "import pytest\n"
        "async def test_client(paystar): assert (await paystar.wallet.balance()).total_amount\n"
        "@pytest.mark.parametrize('name', ['fastapi', 'aiogram', 'opentelemetry', 'procrastinate'])\n"
        "def test_contrib(name): pytest.importorskip(f'paystar_async.contrib.{name}')\n"
    )

    (environment.path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )

    process = environment.run("-m", "pytest", "-rs", "test_shop.py")

    assert "1 passed, 4 skipped" in process.stdout, process.stdout
    assert "pip install 'paystar-async[fastapi]'" in process.stdout
