"""``python -m paystar_async.describe``: write what is generated from the table, or say where it has drifted."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from paystar_async.describe import Table, find_undocumented, openapi, reference, services
from paystar_async.errors import ConfigurationError
from paystar_async.table import TABLE

_ABOUT = """\
Write what is generated from the table of endpoints (paystar_async/table.py):

  paystar_async/services.py            the typed methods, one per row
  paystar_async/describe/openapi.json  the OpenAPI 3.1 document
  README.md                            the endpoint reference, between its markers
"""
_EPILOG = """\
Run it after a change to the table or to a model, and check in what it wrote.
With --check it is a test: 0 means everything fits, 1 that a file has drifted (its diff is printed),
2 that nothing can be generated, because a row or field is not documented or the README has no markers.
"""


def generated_files(root: Path, table: Table = TABLE) -> dict[Path, str]:
    """Every generated file and what it must hold. An installed package has no README beside it, and none is made.

    Raises:
        ConfigurationError: a row or a field is not documented, or the README has no markers.
    """
    if missing := find_undocumented(table):
        raise ConfigurationError(
            f"not documented: {', '.join(missing)}",
            hint="give it a docstring, or a Kind or a sentence in its annotation",
        )
    package, readme = root / "paystar_async", root / "README.md"
    files = {
        package / "services.py": services.generate_source(table),
        package / "describe" / "openapi.json": openapi.render_document(table),
    }
    if readme.exists():
        files[readme] = reference.insert_reference(readme.read_text(encoding="utf-8"), table)
    return files


def main(arguments: Sequence[str] | None = None, table: Table = TABLE) -> int:
    """Write or check; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m paystar_async.describe",
        description=_ABOUT,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; print a diff of what has drifted")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parents[2],
        help="the folder that holds paystar_async/ and README.md (default: %(default)s)",
    )
    given = parser.parse_args(arguments)
    try:
        files = generated_files(given.root, table)
    except ConfigurationError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    stale = {path: text for path, text in files.items() if _read_existing(path) != text}
    for path, text in stale.items():
        if given.check:
            sys.stdout.writelines(_diff(path.relative_to(given.root), _read_existing(path), text))
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
            sys.stdout.write(f"wrote {path.relative_to(given.root)}\n")
    if not stale:
        sys.stdout.write(f"{len(files)} files fit the table\n")
    return 1 if given.check and stale else 0


def _read_existing(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _diff(name: Path, held: str, wanted: str) -> list[str]:
    lines = difflib.unified_diff(
        held.splitlines(keepends=True), wanted.splitlines(keepends=True), f"{name} (checked in)", f"{name} (the table)"
    )
    return list(lines)


if __name__ == "__main__":
    sys.exit(main())
