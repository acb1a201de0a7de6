"""What a terminal is shown: texts from outside cannot steer it, and JSON loses nothing."""

import json

import pytest
from rich.text import Text

from paystar_async.cli.console import complain, grid, output, print_json

HOSTILE = "a\x1b[2J\x07\u202eb\x9b1m\x7fc"


def test_print_json_escapes_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"message": HOSTILE + "نمی\u200cتواند", "lines": "a\nb"}

    print_json(value)

    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert not [one for one in out if one not in "\n\u200c" and not one.isprintable()]


def test_output_cleans_texts_and_cells(capsys: pytest.CaptureFixture[str]) -> None:
    table = grid("Track id", HOSTILE)
    table.add_row(HOSTILE, Text(HOSTILE, "red"))

    output().print(table)
    output().print(f"first {HOSTILE}\nsecond نمی\u200cتواند")
    complain(HOSTILE)

    ran = capsys.readouterr()
    assert not [one for one in ran.out + ran.err if one not in "\n\u200c" and not one.isprintable()]
    assert "\nsecond نمی\u200cتواند\n" in ran.out
