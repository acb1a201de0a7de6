"""``python -m paystar_async.describe``: write the files generated from the endpoint table, or check them."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from paystar_async.describe import Table, assumptions, find_undocumented, llms, reference, services
from paystar_async.errors import ConfigurationError
from paystar_async.table import TABLE

_DESCRIPTION = """\
Write the files generated from the endpoint table (paystar_async/table.py) and the guides' index:

  paystar_async/services.py           the typed methods, one per endpoint
  paystar_async/blocking/services.py  the same methods, blocking
  paystar_async/docs/reference.md     the endpoint reference among the guides
  paystar_async/docs/assumptions.md   the assumptions about the live service
  paystar_async/docs/llms.txt         guides and endpoints, for language models
"""
_EPILOG = """\
Run this after a change to the table, to a model or to the index, and commit the files.
With --check nothing is written. Exit status: 0 all files are up to date; 1 a file is out of date (its diff is
printed); 2 nothing can be generated, because an endpoint or field is not documented.
"""


def generated_files(root: Path, table: Table = TABLE) -> dict[Path, str]:
    """Return every generated file with its content.

    Raises:
        ConfigurationError: an endpoint or a field is not documented.
    """
    if missing := find_undocumented(table):
        raise ConfigurationError(
            f"not documented: {', '.join(missing)}",
            hint="add a docstring, or a FieldType or a sentence in the annotation",
        )
    package = root / "paystar_async"
    index = package / "docs" / "index.md"
    return {
        package / "services.py": services.generate_source(table),
        package / "blocking" / "services.py": services.generate_source(table, blocking=True),
        package / "docs" / "reference.md": reference.render_reference(table),
        package / "docs" / "assumptions.md": assumptions.render_assumptions(),
        package / "docs" / "llms.txt": llms.render_llms(index.read_text(encoding="utf-8"), table),
    }


def main(arguments: Sequence[str] | None = None, table: Table = TABLE) -> int:
    """Write or check the generated files; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m paystar_async.describe",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; print a diff of files that are out of date"
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parents[2],
        help="the folder that contains paystar_async/ (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        files = generated_files(options.root, table)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    outdated = {path: text for path, text in files.items() if _read_existing(path) != text}
    for path, text in outdated.items():
        if options.check:
            sys.stdout.writelines(_diff(path.relative_to(options.root), _read_existing(path), text))
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
            sys.stdout.write(f"wrote {path.relative_to(options.root)}\n")
    if not outdated:
        sys.stdout.write(f"{len(files)} files are up to date\n")
    return 1 if options.check and outdated else 0


def _read_existing(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _diff(name: Path, existing: str, generated: str) -> list[str]:
    lines = difflib.unified_diff(
        existing.splitlines(keepends=True),
        generated.splitlines(keepends=True),
        f"{name} (checked in)",
        f"{name} (generated)",
    )
    return list(lines)


if __name__ == "__main__":
    sys.exit(main())
