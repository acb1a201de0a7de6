"""Names of a package that are imported at their first use, so that its modules load only what they need."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(package: str, home_of: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: the package's ``__name__``.
        home_of: name → module of the package that defines it.
    """

    def import_name(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return import_name, list_names
