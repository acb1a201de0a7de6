"""Fail unless all that the package and its extras need is installed at the lowest version that pyproject.toml allows.

Without this check a bound could be lower than any version that the tests ran with.
"""

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

TOOLS = {"bench", "dev", "docs"}  # extras for work on the package, not for its users

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
requirements = [Requirement(line) for name in extras.keys() - TOOLS for line in extras[name]]
requirements += [Requirement(line) for line in project["dependencies"]]
bounds = {
    (requirement.name, specifier.version)
    for requirement in requirements
    for specifier in requirement.specifier
    if specifier.operator == ">="
}
for name, bound in sorted(bounds):
    if Version(version(name)) != Version(bound):
        sys.exit(f"{name}>={bound} is allowed, but {version(name)} is the lowest that can be installed with the rest")
sys.stdout.write(f"{len(bounds)} lower bounds are installed\n")
