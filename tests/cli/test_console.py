"""Terminal output: control characters in texts are escaped, and JSON loses nothing."""

import json

import pytest
from rich.text import Text

from paystar_async.cli.console import make_table, print_error, print_json, stdout_console

HOSTILE = "a\x1b[2J\x07\u202eb\x9b1m\x7fc"


def test_print_json_escapes_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"message": HOSTILE + "نمی\u200cتواند", "lines": "a\nb"}

    print_json(value)

    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert not [char for char in out if char not in "\n\u200c" and not char.isprintable()]


def test_stdout_console_escapes_texts_and_cells(capsys: pytest.CaptureFixture[str]) -> None:
    table = make_table("Track id", HOSTILE)
    table.add_row(HOSTILE, Text(HOSTILE, "red"))

    stdout_console().print(table)
    stdout_console().print(f"first {HOSTILE}\nsecond نمی\u200cتواند")
    print_error(HOSTILE)

    captured = capsys.readouterr()
    assert not [char for char in captured.out + captured.err if char not in "\n\u200c" and not char.isprintable()]
    assert "\nsecond نمی\u200cتواند\n" in captured.out
